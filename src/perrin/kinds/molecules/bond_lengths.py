"""Bonds from distances: two atoms are bonded where they are no further apart than a typical bond is long.

With the typical length `l_k` of a bond of order k between two elements and its margin `m_k`, in picometres,

    order = number of k in (1, 2, 3) with  distance < l_k + m_k,   m = (10, 5, 3)

as the stability figures of molecules count bonds (Hoogeboom et al. 2022, arXiv:2203.17003, appendix C). The limits of
a higher order are shorter, so what is within one is within all before it. An aromatic bond is too long for a double
one and counts as single; for the structure that a chemist would draw see `perceiving`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.molecules.elements import NUMBERS, atomic_numbers

MARGINS = (10.0, 5.0, 3.0)  # pm, of single, double and triple bonds
_LENGTHS = (  # pm
    "H-H 74, H-B 119, H-C 109, H-N 101, H-O 96, H-F 92, H-Si 148, H-P 144, H-S 134, H-Cl 127, H-As 152, "
    "H-Br 141, H-I 161, B-Cl 175, C-C 154, C-N 147, C-O 143, C-F 135, C-Si 185, C-P 184, C-S 182, C-Cl "
    "177, C-Br 194, C-I 214, N-N 145, N-O 140, N-F 136, N-P 177, N-S 168, N-Cl 175, N-Br 214, N-I 222, "
    "O-O 148, O-F 142, O-Si 163, O-P 163, O-S 151, O-Cl 164, O-Br 172, O-I 194, F-F 142, F-Si 160, F-P "
    "156, F-S 158, F-Cl 166, F-Br 178, F-I 187, Si-Si 233, Si-S 200, Si-Cl 202, Si-Br 215, Si-I 243, P-P "
    "221, P-S 210, P-Cl 203, P-Br 222, S-S 204, S-Cl 207, S-Br 225, S-I 234, Cl-Cl 199, Cl-Br 214, Br-Br "
    "228, I-I 266",
    "C-C 134, C-N 129, C-O 120, C-S 160, N-N 125, N-O 121, O-O 121, O-P 150, P-S 186",
    "C-C 120, C-N 116, C-O 113, N-N 110",
)
_BLOCK = 1 << 24  # distances that are held at a time


def bond_orders(elements: Sequence[str] | np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The order of the bond between every two atoms, 0 for none.

    Args:
        elements: symbols of n atoms, or atomic numbers [..., n] where 0 says that there is no atom.
        positions: [..., n, 3] in angstrom.

    Returns:
        int8 [..., n, n], symmetric; elements without typical lengths have no bonds.

    Raises:
        PerrinError: an unknown symbol, or shapes that do not fit.
    """
    numbers = np.asarray(elements)
    if numbers.dtype.kind not in "iu":
        numbers = atomic_numbers(numbers.tolist())
    positions = np.asarray(positions, np.float64)
    if positions.shape != (*numbers.shape, 3):
        raise PerrinError(
            f"{list(numbers.shape)} elements need positions {[*numbers.shape, 3]}, not {list(positions.shape)}"
        )
    count = numbers.shape[-1]
    flat, points = numbers.reshape(-1, count), positions.reshape(-1, count, 3)
    found = np.zeros((len(flat), count, count), np.int8)
    step = max(1, _BLOCK // max(1, count * count))
    for start in range(0, len(flat), step):
        part = slice(start, start + step)
        found[part] = _orders(flat[part], points[part])
    return found.reshape(*numbers.shape, count)


def _orders(numbers: np.ndarray, points: np.ndarray) -> np.ndarray:
    apart = points[:, :, None] - points[:, None]
    distance = np.sqrt((apart**2).sum(-1))
    distance[:, *np.diag_indices(numbers.shape[1])] = np.inf  # an atom is not bonded to itself
    row, column = numbers[:, :, None], numbers[:, None]
    return sum((distance < limit[row, column] for limit in limits()), np.zeros(distance.shape, np.int8))


@cache
def limits() -> np.ndarray:
    """The longest bonds in angstrom, float64 [3, 119, 119] by order and two atomic numbers; 0 where there is none."""
    found = np.zeros((3, len(NUMBERS) + 1, len(NUMBERS) + 1))
    for lengths, margin, limit in zip(_LENGTHS, MARGINS, found, strict=True):
        for entry in lengths.split(", "):
            pair, length = entry.split()
            i, j = (NUMBERS[symbol] for symbol in pair.split("-"))
            limit[i, j] = limit[j, i] = (float(length) + margin) / 100
    return found

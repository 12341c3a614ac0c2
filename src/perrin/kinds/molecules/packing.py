"""Bonds <-> one number a pair of atoms: the lower triangle of the bond matrix, row by row.

The pairs are in the order (1,0), (2,0), (2,1), (3,0), ...: pair (i, j), i > j, stands at `i (i - 1) / 2 + j`, whatever
the number of atoms, so that a molecule's pairs come first however much padding follows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.molecules.molecule import Bond
from perrin.process.categorical import ABSENT


def pair_count(atoms: int) -> int:
    """How many pairs there are among so many atoms."""
    return atoms * (atoms - 1) // 2


def packed(bonds: Iterable[Bond], atoms: int, room: int) -> np.ndarray:
    """Orders of all pairs, int64 [room (room - 1) / 2]: 0 where two atoms have no bond, -1 for pairs beyond `atoms`."""
    row = np.full(pair_count(room), ABSENT, np.int64)
    row[: pair_count(atoms)] = 0
    for i, j, order in bonds:
        low, high = min(i, j), max(i, j)
        row[pair_count(high) + low] = order
    return row


def unpacked(row: np.ndarray, atoms: int) -> tuple[Bond, ...]:
    """The bonds among the first `atoms` atoms of a packed row; orders that are not 1, 2 or 3 are none."""
    if pair_count(atoms) > len(row):
        most = (1 + math.isqrt(1 + 8 * len(row))) // 2
        raise PerrinError(f"bonds of {most} atoms do not say what those of {atoms} are")
    high, low = np.tril_indices(atoms, -1)
    orders = row[: pair_count(atoms)]
    return tuple(
        sorted(
            (int(low[k]), int(high[k]), int(orders[k])) for k in np.flatnonzero((orders >= 1) & (orders <= 3))
        )
    )

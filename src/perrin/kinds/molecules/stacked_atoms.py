"""Molecules in one `.npz`: arrays padded to the largest, and any number of values for each molecule.

atomic_numbers  whole numbers [M, N], 0 where there is no atom
positions       [M, N, 3] in angstrom
num_atoms       [M], optional: how many of the N there are
smiles, names   [M] strings, optional (also `ids`)
charges         [M, N] formal charges, optional
anything else   [M] of numbers: a property
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.molecules.elements import SYMBOLS, symbol_of
from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.molecules.records import Record

_NAMES = ("names", "name", "ids", "id")


@dataclass(frozen=True)
class StackedAtoms:
    """The molecules of an `.npz`."""

    path: Path
    numbers: np.ndarray
    positions: np.ndarray
    counts: np.ndarray
    others: Mapping[str, np.ndarray]
    files: Sequence[Path]

    def __len__(self) -> int:
        return len(self.numbers)

    def name(self, index: int) -> str:
        """The file and the item, counted from 0 as the arrays are."""
        return f"{self.path.name} item {index}"

    def read(self, index: int) -> Record:
        """The molecule and its numbers."""
        count = int(self.counts[index])
        numbers = self.numbers[index, :count].tolist()
        if not count or min(numbers) < 1 or max(numbers) > len(SYMBOLS):
            raise PerrinError(
                f"its {count} atoms have atomic numbers {numbers[:8]}, outside 1 .. {len(SYMBOLS)}"
            )
        positions = self.positions[index, :count]
        if not np.isfinite(positions).all():
            raise PerrinError("a position is not finite")
        fields = {key: values[index].item() for key, values in self.others.items() if values.ndim == 1}
        charges = self.others.get("charges")
        molecule = Molecule(
            tuple(symbol_of(number) for number in numbers),
            () if charges is None else tuple(charges[index, :count].tolist()),
            positions,
            smiles=str(fields.get("smiles", "")) or None,
            name=str(next((fields[key] for key in _NAMES if key in fields), "")),
        )
        return Record(molecule, fields)


def stacked_atoms(path: Path) -> StackedAtoms:
    """Read an `.npz`.

    Raises:
        PerrinError: no such arrays, or of other shapes.
    """
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {key: held[key] for key in held.files}
    except (OSError, ValueError, zipfile.BadZipFile, KeyError) as error:
        raise PerrinError(f"cannot read '{path}': {error}") from error
    for key in ("atomic_numbers", "positions"):
        if key not in arrays:
            raise PerrinError(f"'{path}' has no array {key!r} but {', '.join(arrays)}")
    numbers, positions = arrays.pop("atomic_numbers"), arrays.pop("positions")
    if numbers.ndim != 2 or numbers.dtype.kind not in "iu" or not len(numbers):
        raise PerrinError(f"'{path}': atomic_numbers are whole numbers [M, N], not {_shown(numbers)}")
    if positions.shape != (*numbers.shape, 3):
        if positions.shape == (*numbers.shape, 2):
            raise PerrinError(
                f"'{path}': positions {list(positions.shape)} are flat, and three dimensions are needed"
            )
        raise PerrinError(f"'{path}': positions are {[*numbers.shape, 3]}, not {_shown(positions)}")
    counts = arrays.pop("num_atoms", (numbers > 0).sum(1))
    if counts.shape != (len(numbers),) or counts.min() < 0 or counts.max() > numbers.shape[1]:
        raise PerrinError(f"'{path}': num_atoms are {len(numbers)} numbers up to {numbers.shape[1]}")
    others = {key: values for key, values in arrays.items() if values.shape[:1] == (len(numbers),)}
    return StackedAtoms(path, numbers, positions.astype(np.float64), counts, others, [path])


def _shown(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"

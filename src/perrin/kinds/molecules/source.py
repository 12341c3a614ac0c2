"""The molecules of a file as training asks for them: hydrogens, properties and positions as the options say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.molecules.chemistry import to_rdkit, with_hydrogens, without_hydrogens
from perrin.kinds.molecules.content import as_number
from perrin.kinds.molecules.describing import COMPUTED, describe
from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.molecules.records import Record, Records

REMEMBERED = 1_000_000  # atoms: about 200 MB; more are read again each time


@dataclass(frozen=True)
class Molecules:
    """Molecules of a file: a `selection.Source`.

    Args:
        records: what the file holds.
        hydrogens: True adds those that valences imply, False removes all.
        properties: fields of the file, or names that RDKit computes.
        values: [molecules, properties], once they are known.
        placed: positions that were given to molecules without, by index; None: as the file has them.
    """

    records: Records
    hydrogens: bool
    properties: Sequence[str]
    values: np.ndarray | None = None
    placed: Mapping[int, np.ndarray] | None = None
    labels: np.ndarray | None = None
    classes: list[str] | None = None
    _remembered: dict[int, Molecule] = field(default_factory=dict, init=False, compare=False, repr=False)
    _atoms: list[int] = field(default_factory=lambda: [0], init=False, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.records)

    def name(self, index: int) -> str:
        """The file and which of its records."""
        return self.records.name(index)

    def read(self, index: int) -> Molecule:
        """The molecule, with the properties that were asked for."""
        if index in self._remembered:
            return self._remembered[index]
        record = self.records.read(index)
        molecule = self.made(record)
        values = self.described(record) if self.values is None else self.values[index].tolist()
        molecule = replace(molecule, properties=dict(zip(self.properties, values, strict=True)))
        if self.placed is not None and index in self.placed:
            molecule = replace(molecule, positions=self.placed[index])
        if self._atoms[0] + len(molecule) <= REMEMBERED:
            self._atoms[0] += len(molecule)
            self._remembered[index] = molecule
        return molecule

    def made(self, record: Record) -> Molecule:
        """The molecule of a record as `hydrogens` says.

        Raises:
            PerrinError: hydrogens that nothing implies, or nothing but hydrogens.
        """
        return (with_hydrogens if self.hydrogens else without_hydrogens)(record.molecule)

    def described(self, record: Record) -> list[float]:
        """The properties of a record; NaN where a field is blank or missing, or an unsound molecule has none.

        Raises:
            PerrinError: a field that is no number.
        """
        return [self._property(name, record) for name in self.properties]

    def _property(self, name: str, record: Record) -> float:
        if name in record.fields:
            number = as_number(record.fields[name])
            if number is None:
                raise PerrinError(f"its {name} is {record.fields[name]!r}, no number")
            return number
        if name not in COMPUTED:
            return math.nan
        try:
            mol = to_rdkit(record.molecule)
        except PerrinError:
            return math.nan
        return describe(mol, [name])[name]

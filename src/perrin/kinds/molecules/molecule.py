"""One molecule as values: its atoms, and what is known of their places, bonds and properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from perrin.errors import PerrinError

Bond = tuple[int, int, int]
"""(i, j, order) with i < j; orders are 1, 2 and 3 of a Kekule structure."""


@dataclass(frozen=True, eq=False)
class Molecule:
    """Atoms in an order that everything else keeps.

    Args:
        elements: the symbol of each of n atoms; "*" for one that is not known yet.
        charges: the formal charge of each; default: none has any.
        positions: float64 [n, 3] in angstrom; None: there are none in three dimensions.
        bonds: sorted; None: not known, which is not the same as none.
        smiles: as the source wrote it or as RDKit does, with stereo; None: not known.
        properties: numbers by name.
        hydrogens: whether every hydrogen is one of the atoms; False: some follow from valences.
        name: as the source calls it.

    Raises:
        PerrinError: parts of different lengths, or bonds of atoms that are not there.
    """

    elements: tuple[str, ...]
    charges: tuple[int, ...] = ()
    positions: np.ndarray | None = None
    bonds: tuple[Bond, ...] | None = None
    smiles: str | None = None
    properties: dict[str, float] = field(default_factory=dict)
    hydrogens: bool = True
    name: str = ""

    def __post_init__(self) -> None:
        count = len(self.elements)
        charges = self.charges or (0,) * count
        if len(charges) != count:
            raise PerrinError(f"{count} atoms with {len(charges)} charges")
        object.__setattr__(self, "charges", tuple(int(charge) for charge in charges))
        if self.positions is not None:
            positions = np.asarray(self.positions, np.float64)
            if positions.shape != (count, 3):
                raise PerrinError(f"{count} atoms with positions {list(positions.shape)}, not {[count, 3]}")
            object.__setattr__(self, "positions", positions)
        if self.bonds is not None:
            object.__setattr__(self, "bonds", _in_order(self.bonds, count))

    def __len__(self) -> int:
        return len(self.elements)

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, Molecule):
            return NotImplemented
        here, there = self.positions, other.positions
        placed = here is there if here is None or there is None else np.array_equal(here, there)
        return placed and self._facts() == other._facts()

    __hash__ = None  # type: ignore[assignment]  # positions and properties can be changed

    def _facts(self) -> tuple[Any, ...]:
        return (
            self.elements,
            self.charges,
            self.bonds,
            self.smiles,
            self.properties,
            self.hydrogens,
            self.name,
        )

    @property
    def charge(self) -> int:
        """The sum of the formal charges."""
        return sum(self.charges)


def _in_order(bonds: Sequence[Bond], count: int) -> tuple[Bond, ...]:
    found = sorted((min(i, j), max(i, j), int(order)) for i, j, order in bonds)
    for i, j, _ in found:
        if not 0 <= i < j < count:
            raise PerrinError(f"a bond of atoms {i} and {j} in a molecule of {count} atoms 0 .. {count - 1}")
    if len({(i, j) for i, j, _ in found}) < len(found):
        raise PerrinError("two bonds between the same two atoms")
    return tuple(found)

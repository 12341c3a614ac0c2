"""Molecules <-> arrays of a fixed number of places: what a codec's states are made of.

positions  [N, 3] angstrom, 0 where there is no atom
atoms      [N]    index of the element, -1 where there is no atom
charges    [N]    index of the formal charge, likewise; only where there are several
bonds      [N (N - 1) / 2]  0 none, 1 to 3 the order, -1 where there is no pair; only where asked for
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.molecules.packing import packed, pair_count, unpacked
from perrin.process.categorical import ABSENT

UNKNOWN = "*"


@dataclass(frozen=True)
class Layout:
    """What a model's molecules may be.

    Args:
        elements: symbols; charges: formal charges, ascending. Their order is that of the states' numbers.
        bonds: whether states hold bonds.
    """

    elements: tuple[str, ...]
    charges: tuple[int, ...]
    bonds: bool

    @property
    def categories(self) -> dict[str, int]:
        """How many values each leaf of tokens has."""
        found = {"atoms": len(self.elements)}
        if len(self.charges) > 1:
            found["charges"] = len(self.charges)
        return {**found, "bonds": 4} if self.bonds else found

    def shape(self, atoms: int) -> dict[str, tuple[int, ...]]:
        """Of the leaves of molecules of up to so many atoms."""
        sizes = {
            "positions": (atoms, 3),
            "atoms": (atoms,),
            "charges": (atoms,),
            "bonds": (pair_count(atoms),),
        }
        return {leaf: size for leaf, size in sizes.items() if leaf == "positions" or leaf in self.categories}

    def fault(self, molecule: Molecule) -> str | None:
        """Why a molecule is none of these; None for one that is."""
        for atom, element in enumerate(molecule.elements):
            if element not in self.elements:
                return (
                    f"holds {element} (atom {atom + 1}); this model's elements are {', '.join(self.elements)}"
                )
        for atom, charge in enumerate(molecule.charges):
            if charge not in self.charges:
                known = ", ".join(f"{value:+d}" if value else "0" for value in self.charges)
                what = f"{molecule.elements[atom]} of charge {charge:+d} (atom {atom + 1})"
                return f"holds {what}; this model's charges are {known}"
        return None

    def rows(self, molecule: Molecule, room: int, name: str) -> dict[str, np.ndarray]:
        """The arrays of one molecule; its positions, if any, as they are.

        Raises:
            PerrinError: elements or charges that the layout lacks, or bonds that are needed and not known.
        """
        fault = self.fault(molecule)
        if fault is not None:
            raise PerrinError(f"{name} {fault}")
        count = len(molecule)
        positions = np.zeros((room, 3))
        if molecule.positions is not None:
            positions[:count] = molecule.positions
        found = {"positions": positions, "atoms": np.full(room, ABSENT, np.int64)}
        found["atoms"][:count] = [self.elements.index(element) for element in molecule.elements]
        if "charges" in self.categories:
            found["charges"] = np.full(room, ABSENT, np.int64)
            found["charges"][:count] = [self.charges.index(charge) for charge in molecule.charges]
        if self.bonds:
            if molecule.bonds is None:
                raise PerrinError(f"{name} says nothing of its bonds")
            found["bonds"] = packed(molecule.bonds, count, room)
        return found

    def molecule(self, rows: Mapping[str, np.ndarray]) -> Molecule:
        """The molecule of a state's arrays; atoms that are not known yet are `*`."""
        present = rows["atoms"] != ABSENT
        count = int(present.sum())
        if not present[:count].all():
            raise PerrinError("a state has atoms behind places without")
        symbols = (*self.elements, UNKNOWN)
        charges = ()
        if "charges" in rows:
            known = (*self.charges, 0)
            charges = tuple(known[index] for index in rows["charges"][:count])
        return Molecule(
            elements=tuple(symbols[index] for index in rows["atoms"][:count]),
            charges=charges,
            positions=rows["positions"][:count],
            bonds=unpacked(rows["bonds"], count) if "bonds" in rows else None,
            hydrogens="H" in self.elements,
        )


def placed(bits: np.ndarray) -> np.ndarray:
    """Which pairs are of two atoms of a set, bool [N (N - 1) / 2] of bool [N]."""
    high, low = np.tril_indices(len(bits), -1)
    return bits[high] & bits[low]

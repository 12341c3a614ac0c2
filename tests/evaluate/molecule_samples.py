"""Small molecules made by hand, with right and with wrong geometry, for the tests of figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.selection import Selection

DATA = Path(os.environ.get("PERRIN_DATA", "../shared/data")) / "molecules"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no molecules at {DATA}; set PERRIN_DATA")

TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
METHANE = Molecule(("C", "H", "H", "H", "H"), positions=np.r_[[[0, 0, 0]], 1.09 * TETRAHEDRON])
WATER = Molecule(("O", "H", "H"), positions=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
AMMONIUM = Molecule(
    ("N", "H", "H", "H", "H"), (1, 0, 0, 0, 0), np.r_[[[0, 0, 0]], 1.02 * TETRAHEDRON],
    ((0, 1, 1), (0, 2, 1), (0, 3, 1), (0, 4, 1)),
)  # fmt: skip


def benzene(carbons: float = 1.39) -> Molecule:
    """A ring with the bonds of a Kekule structure; perceived by length, its own would all be single or double."""
    turn = np.arange(6) * np.pi / 3
    ring = np.c_[np.cos(turn), np.sin(turn), 0 * turn]
    bonds = [(i, (i + 1) % 6, 1 + i % 2) for i in range(6)] + [(i, i + 6, 1) for i in range(6)]
    return Molecule(
        ("C",) * 6 + ("H",) * 6,
        positions=np.r_[carbons * ring, (carbons + 1.09) * ring],
        bonds=tuple(bonds),  # type: ignore[arg-type]
    )


def moved(molecule: Molecule, atom: int, by: tuple[float, float, float]) -> Molecule:
    """The molecule with one atom elsewhere, its bonds to be perceived."""
    assert molecule.positions is not None
    places = molecule.positions.copy()
    places[atom] += by
    return replace(molecule, positions=places, bonds=None)


BROKEN = moved(METHANE, 4, (-1.0, -1.0, 1.0))
"""A methyl radical and a hydrogen atom out of its reach."""


def of_smiles(smiles: str, seed: int = 1) -> Molecule:
    """A molecule with hydrogens and relaxed positions."""
    from perrin.kinds.molecules.chemistry import from_smiles
    from perrin.kinds.molecules.embedding import embedded

    return embedded(from_smiles(smiles), seed)


class Shelf:
    """A source of given molecules or SMILES (`kinds.selection.Source`)."""

    def __init__(self, values: Sequence[Molecule | str]) -> None:
        self.values, self.labels, self.classes = list(values), None, None

    def read(self, index: int) -> Molecule | str:
        return self.values[index]

    def name(self, index: int) -> str:
        return f"molecule {index}"

    def __len__(self) -> int:
        return len(self.values)


def dataset(values: Sequence[Molecule | str], **facts: object) -> Selection:
    """A dataset of these values, of which such is known."""
    return Selection(Shelf(values), np.arange(len(values)), {"path": "a shelf", **facts}, [])


def chains(start: int, stop: int) -> list[str]:
    """Some of 96 different SMILES of small alcohols, amines, ethers, ketones and nitriles, well mixed."""
    ends = ("O", "N", "OC", "C(C)=O", "C#N", "C=O")
    made = [f"{'C' * size}C{branch}C{end}" for size in range(3, 11) for branch in ("", "(F)") for end in ends]
    return [made[i] for i in np.random.default_rng(0).permutation(len(made))[start:stop]]

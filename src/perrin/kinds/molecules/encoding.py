"""Molecules as rows of a batch: centred, turned, and with a piece given, each as its seed says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from perrin.kinds.molecules.fragments import random_piece
from perrin.kinds.molecules.layout import Layout, placed
from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.molecules.perceiving import by_length
from perrin.process.categorical import ABSENT
from perrin.process.state import Masks


class Encoded(NamedTuple):
    """One molecule: the arrays of its leaves, and which of its places are given, bool [N]."""

    rows: dict[str, np.ndarray]
    observed: np.ndarray


@dataclass(frozen=True)
class Encoding:
    """How molecules become rows; see `codec.MoleculeCodec`."""

    layout: Layout
    room: int
    scaffolds: float
    rotate: bool

    def item(self, molecule: Molecule, name: str, seed: int | None) -> Encoded:
        """The rows of a molecule with positions; nothing is random without a seed."""
        assert molecule.positions is not None
        observed = np.zeros(self.room, bool)
        positions = molecule.positions
        if seed is not None and (self.scaffolds or self.rotate):
            generator = np.random.default_rng(seed % 2**64)  # seeds are int64, of either sign
            if generator.random() < self.scaffolds:
                observed[: len(molecule)] = _piece(molecule, generator)
            if self.rotate:
                positions = positions @ _rotation(generator).T
        given = observed[: len(molecule)]
        centre = positions[given if given.any() else slice(None)].mean(0)
        moved = replace(molecule, positions=positions - centre)
        return Encoded(self.layout.rows(moved, self.room, name), observed)

    def stacked(self, encoded: Sequence[Encoded]) -> tuple[dict[str, Tensor], Masks, dict[str, Tensor]]:
        """State, masks, and what the condition says of them."""
        state = {
            leaf: torch.from_numpy(np.stack([one.rows[leaf] for one in encoded]))
            for leaf in self.layout.shape(self.room)
        }
        state["positions"] = state["positions"].float()
        present = state["atoms"] != ABSENT
        if not self.scaffolds:
            return state, Masks(valid=self.of_leaves(present)), {}
        observed = torch.from_numpy(np.stack([one.observed for one in encoded]))
        return state, Masks(self.of_leaves(present), self.of_leaves(observed)), {"observed": observed}

    def of_leaves(self, atoms: Tensor) -> dict[str, Tensor]:
        """A mask of atoms, bool [B, N], as one of every leaf."""
        return masks_of(self.layout, atoms)


def masks_of(layout: Layout, atoms: Tensor) -> dict[str, Tensor]:
    """A mask of atoms, bool [B, N], as one of every leaf: of a pair, where it is true of both."""
    found = dict.fromkeys(("positions", "atoms"), atoms)
    if "charges" in layout.categories:
        found["charges"] = atoms
    if layout.bonds:
        found["bonds"] = torch.from_numpy(np.stack([placed(row) for row in atoms.numpy()]))
    return found


def _piece(molecule: Molecule, generator: np.random.Generator) -> np.ndarray:
    count = len(molecule)
    bonded = np.zeros((count, count), bool)
    for i, j, _ in by_length(molecule) if molecule.bonds is None else molecule.bonds:
        bonded[i, j] = bonded[j, i] = True
    heavy = np.array([element != "H" for element in molecule.elements])
    return random_piece(bonded, heavy, generator)


def _rotation(generator: np.random.Generator) -> np.ndarray:
    """A rotation [3, 3], all equally likely: of a unit quaternion."""
    w, *v = (q := generator.normal(size=4)) / np.linalg.norm(q)
    x, y, z = v
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turned: np.ndarray = np.eye(3) + 2 * w * cross + 2 * cross @ cross
    return turned

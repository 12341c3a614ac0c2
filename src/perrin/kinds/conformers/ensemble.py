"""A molecule and some of its conformers: what an item of the kind `conformers` is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.conformers.graph import Graph, graph_of
from perrin.kinds.molecules.molecule import Molecule


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Conformers of one molecule.

    Args:
        molecule: without explicit hydrogens, bonds known, positions none.
        positions: float32 [C, n, 3] in angstrom, of at least one conformer.

    Raises:
        PerrinError: no conformers, or of another number of atoms.
    """

    molecule: Molecule
    positions: np.ndarray

    def __post_init__(self) -> None:
        shape = self.positions.shape
        if len(shape) != 3 or not shape[0] or shape[1:] != (len(self.molecule), 3):
            raise PerrinError(
                f"{len(self.molecule)} atoms with conformers {list(shape)}, not [C, {len(self.molecule)}, 3]"
            )

    @cached_property
    def graph(self) -> Graph:
        """The molecule's graph, its torsions among it."""
        return graph_of(self.molecule)

    @classmethod
    def of(cls, found: Sequence[Molecule]) -> Ensemble:
        """Conformers that are given as molecules, all of one."""
        positions = np.stack([one.positions for one in found if one.positions is not None])
        return cls(replace(found[0], positions=None), positions.astype(np.float32))

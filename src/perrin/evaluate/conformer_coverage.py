"""Conformers against references: distances between shapes of one molecule, and how well one set meets the other.

The distance is the root mean square deviation of heavy atoms after the best rotation, over all ways to match atoms
that look alike. A tert-butyl group has six such ways, and ways multiply, so only so many are tried: a distance is then
too large rather than never found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.molecules.library import need_rdkit
from perrin.metrics import EnsembleCoverage, ensemble_coverage

if TYPE_CHECKING:
    from rdkit.Chem import Mol

MATCHES = 2_000  # ways to match atoms: at 10 x 10 shapes of 25 atoms about a second
THRESHOLD = 0.75  # angstrom, for drug-like molecules (Jing et al. 2022, arXiv:2206.01729); 0.5 for small ones


@dataclass(frozen=True)
class ConformerFigures:
    """Over molecules: the median of the best distance to a reference, and coverage and matching, angstrom.

    `best`: of each molecule the least distance of its generated shapes to its references, the mean over references.
    """

    best: np.ndarray
    coverage: list[EnsembleCoverage]
    threshold: float

    def summary(self) -> dict[str, float]:
        """`best_rmsd` is the median over molecules; `cov_*` and `mat_*` are means, as papers give them."""
        found = {"best_rmsd": float(np.median(self.best)), "rmsd_threshold": self.threshold}
        table = np.array(self.coverage)
        means = dict(zip(EnsembleCoverage._fields, table.mean(0).tolist(), strict=True))
        if len(table) > 1:
            errors = table.std(0, ddof=1) / np.sqrt(len(table))
            found |= {f"{n}_stderr": float(e) for n, e in zip(EnsembleCoverage._fields, errors, strict=True)}
            found["best_rmsd_stderr"] = median_error(self.best)
        return found | means


def rmsd_table(generated: Mol, references: Mol, *, matches: int = MATCHES) -> np.ndarray:
    """Distances in angstrom between the conformers of one molecule, float64 [generated, references].

    Args:
        generated, references: the same molecule, maybe with its atoms in another order, a conformer for each shape;
            hydrogens do not count. Neither is changed.
        matches: how many ways to match like atoms are tried at most.
    Raises:
        PerrinError: two different molecules, or one without conformers.
    """
    need_rdkit("comparing conformers")
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdMolAlign

    with rdBase.BlockLogs():
        every = Chem.RemoveHsParameters()
        every.removeDefiningBondStereo = True  # such as that of an imine, which only one of the two may hold
        here, there = Chem.RemoveHs(generated, every), Chem.RemoveHs(references, every)
        place = here.GetSubstructMatch(there) if here.GetNumAtoms() == there.GetNumAtoms() else ()
        if not place:
            names = Chem.MolToSmiles(here), Chem.MolToSmiles(there)
            raise PerrinError(f"conformers of {names[0]} cannot be compared with those of {names[1]}")
        counts = here.GetNumConformers(), there.GetNumConformers()
        if not min(counts):
            raise PerrinError(f"{Chem.MolToSmiles(there)} has no conformers to compare")
        both = Chem.RenumberAtoms(here, list(place))
        for conformer in there.GetConformers():
            both.AddConformer(conformer, assignId=True)
        packed = rdMolAlign.GetAllConformerBestRMS(both, maxMatches=matches)
    rows, columns = np.tril_indices(sum(counts), -1)
    wanted = (rows >= counts[0]) & (columns < counts[0])
    table = np.empty(counts)
    table[columns[wanted], rows[wanted] - counts[0]] = np.asarray(packed)[wanted]
    return table


def conformer_figures(tables: Sequence[np.ndarray], threshold: float = THRESHOLD) -> ConformerFigures:
    """The figures of molecules from the `rmsd_table` of each.

    Raises:
        PerrinError: no molecules.
    """
    if not tables:
        raise PerrinError("there are no conformers to judge")
    best = np.array([table.min(0).mean() for table in tables])
    return ConformerFigures(best, [ensemble_coverage(table, threshold) for table in tables], threshold)


def median_error(values: np.ndarray, draws: int = 200, seed: int = 0) -> float:
    """The standard error of a median, by the bootstrap."""
    picked = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    return float(np.median(values[picked], 1).std(ddof=1))

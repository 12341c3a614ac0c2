"""Conformers of molecules that a model never met, against references: how near, and how many are found.

Each reference's distance to the nearest of ten samples, the mean over references, the median over molecules.
`baseline`: the same local structures with torsions at random; `ceiling`: those local structures as distance geometry
and the force field left them, with other seeds than the references.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from perrin.errors import PerrinError
from perrin.evaluate.case import Case, Judged
from perrin.evaluate.conformer_coverage import THRESHOLD, conformer_figures, median_error, rmsd_table
from perrin.evaluate.molecule_strain import strain
from perrin.kinds.conformers.codec import ConformerCodec
from perrin.kinds.conformers.ensemble import Ensemble
from perrin.kinds.molecules.chemistry import to_rdkit
from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.molecules.view import fragment
from perrin.nets.turning import dihedrals
from perrin.samples import Samples

if TYPE_CHECKING:
    from rdkit.Chem import Mol

EACH = 10  # samples of a molecule
STRAINED = 60  # conformers of each set whose strain is computed
TURNED = 12  # conformers to turn in the report

NOTE = (
    f"{EACH} samples of each held-out molecule. Ceiling: distance geometry and the force field with other seeds than the "
    "references. Baseline: the same local structures with every torsion at random. Distances of heavy atoms in angstrom "
    f"after the best rotation; two shapes within {THRESHOLD:g} are the same."
)


def judged(case: Case) -> Judged:
    """The figures of a model of conformers, and some of them to turn.

    Raises:
        PerrinError: no held-out molecule that the model holds and that has a bond that turns.
    """
    ensembles = _chosen(case)
    smiles = [str(one.molecule.smiles) for one in ensembles for _ in range(EACH)]
    drawn = case.sample(len(smiles), smiles=smiles)
    found: dict[str, Any] = {}
    sets = {"": drawn.decoded, **_beside(drawn, case.options["seed"])}
    for done, (suffix, molecules) in enumerate(sets.items()):
        case.told("comparing conformers", done, len(sets))
        own = _figures(molecules, ensembles) | _strains(molecules)
        found |= {f"{name}{suffix}": value for name, value in own.items()}
    case.told("comparing conformers", len(sets), len(sets))
    found["best_rmsd_gain"] = 1 - found["best_rmsd"] / found["best_rmsd_baseline"]
    found["best_rmsd_gain_ceiling"] = 1 - found["best_rmsd_ceiling"] / found["best_rmsd_baseline"]
    found |= {
        "counts": {
            "generated": len(smiles),
            "molecules": len(ensembles),
            "references": sum(len(one.positions) for one in ensembles),
        },
        "features": "heavy atoms",
        "baseline": "torsions at random",
        "note": NOTE,
    }
    shown = drawn.decoded[:: max(1, len(smiles) // TURNED)][:TURNED]
    return Judged(
        drawn,
        found,
        ".sdf",
        {"Molecules": case.model.codec.picture(shown)},
        fragments={"Conformers": fragment(shown)},
    )


def _chosen(case: Case) -> list[Ensemble]:
    """Held-out molecules with torsions, evenly spread, so many that each gets its samples."""
    codec = case.model.codec
    assert isinstance(codec, ConformerCodec)
    held = codec.cut(case.test)
    values = [held[i]["value"] for i in range(len(held))]
    turning = [one for one in values if len(one.graph.quadruples) and one.molecule.smiles]
    if not turning:
        raise PerrinError(
            "no held-out molecule has a bond that turns and fits the model; hold out more (held_out)"
        )
    count = min(len(turning), max(1, case.count // EACH))
    return [turning[int(i)] for i in np.linspace(0, len(turning) - 1, count)]


def _beside(drawn: Samples, seed: int) -> dict[str, list[Molecule]]:
    """The conformers of the samples' own local structures at random torsions, and at those that they came with."""
    codec, condition = drawn.codec, drawn.condition
    assert isinstance(codec, ConformerCodec)
    own = dihedrals(condition["positions"].double(), condition["quadruples"])
    random = torch.rand(own.shape, generator=torch.Generator().manual_seed(seed), dtype=own.dtype)
    return {
        "_baseline": codec.decode_given({"torsions": (2 * random - 1) * math.pi}, condition),
        "_ceiling": codec.decode_given({"torsions": own}, condition),
    }


def _figures(molecules: Sequence[Molecule], ensembles: Sequence[Ensemble]) -> dict[str, float]:
    """The figures of so many conformers of each molecule, one after another."""
    tables = [
        rmsd_table(_conformers(molecules[i * EACH : (i + 1) * EACH]), _references(one))
        for i, one in enumerate(ensembles)
    ]
    return conformer_figures(tables).summary()


def _conformers(molecules: Sequence[Molecule]) -> Mol:
    """RDKit's molecule with the conformers of all, which have one order of atoms."""
    found = to_rdkit(molecules[0])
    for molecule in molecules[1:]:
        found.AddConformer(to_rdkit(molecule).GetConformer(), assignId=True)
    return found


def _references(ensemble: Ensemble) -> Mol:
    from rdkit import Chem

    found = to_rdkit(ensemble.molecule)
    found.RemoveAllConformers()
    for positions in ensemble.positions:
        conformer = Chem.Conformer(found.GetNumAtoms())
        conformer.SetPositions(np.ascontiguousarray(positions, np.float64))
        found.AddConformer(conformer, assignId=True)
    return found


def _strains(molecules: Sequence[Molecule]) -> dict[str, float]:
    """The median strain of some conformers; none without hydrogens."""
    if not molecules[0].hydrogens:
        return {}
    chosen = [molecules[int(i)] for i in np.linspace(0, len(molecules) - 1, min(STRAINED, len(molecules)))]
    energies = np.array([e for e in (strain(to_rdkit(one)).value for one in chosen) if e is not None])
    if len(energies) < 2:
        return {}
    return {"strain_median": float(np.median(energies)), "strain_median_stderr": median_error(energies)}

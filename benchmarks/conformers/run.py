"""Conformers of molecules that a model has not seen, beside random torsions and beside ETKDG itself.

    python benchmarks/conformers/run.py --train zinc.sdf --smiles zinc_test.smi.gz --out runs/conformers-benchmark

Without `--model` the recipe `conformers` is trained first, for the CPU-seconds that it says. A finished part leaves a file
and is not repeated. See README.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import perrin
from perrin.errors import PerrinError
from perrin.evaluate.conformer_coverage import conformer_figures, rmsd_table
from perrin.kinds.conformers.embedding import conformers, decided
from perrin.kinds.conformers.graph import graph_of
from perrin.kinds.conformers.making import records
from perrin.kinds.molecules.chemistry import from_smiles, to_rdkit
from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.molecules.sdf import structure_data
from perrin.kinds.molecules.smiles_rows import smiles_lines
from perrin.nets.turning import dihedrals

REFERENCES, LOCAL = 2, 3  # seeds of embeddings; models are trained on those of seed 1
ROWS = {
    "random": "random torsions on the local structures (baseline)",
    "model": "**the model**",
    "ceiling": "the local structures' own torsions: ETKDG and MMFF with another seed (ceiling)",
    "bound": "the references' own torsions on the local structures",
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Conformers of unseen molecules.")
    parser.add_argument("--train", type=Path, help="conformers to train on, as make.py writes them")
    parser.add_argument("--model", type=Path, help="a trained run, in the place of training the recipe")
    parser.add_argument(
        "--smiles", type=Path, required=True, help="held-out molecules, a .smi or .smi.gz file"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100, help="molecules")
    parser.add_argument("--samples", type=int, default=10, help="conformers of each, as many as references")
    parser.add_argument("--steps", type=int, help="network evaluations of a sample")
    given = parser.parse_args()
    folder = given.model or given.out / "run"
    if not (folder / "model.safetensors").exists():
        perrin.train("conformers", out=folder, data={"path": str(given.train)}, overwrite=True)
    model, started = perrin.load(folder), time.process_time()
    found = [judged(model, molecule, index, given) for index, molecule in chosen(model, given)]
    print(table(found))
    print(f"{time.process_time() - started:.0f} CPU-s")


def chosen(model: Any, given: argparse.Namespace) -> list[tuple[int, Molecule]]:
    """The first molecules of the file that have a bond that turns and that the model holds, with their lines."""
    lines, held = smiles_lines(given.smiles), list[tuple[int, Molecule]]()
    for index in range(len(lines)):
        molecule = lines.read(index).molecule
        torsions = len(graph_of(molecule).quadruples)
        try:
            model.codec.refuse(molecule, lines.name(index), torsions)
        except PerrinError as error:
            print(f"left out: {error}")
            continue
        if torsions and len(held) < given.count:
            held.append((index, molecule))
        if len(held) == given.count:
            break
    return held


def judged(model: Any, molecule: Molecule, index: int, given: argparse.Namespace) -> dict[str, Any]:
    """The distances of one molecule, from its file where there is one."""
    count = given.samples
    file = (
        given.out
        / "molecules"
        / f"{model.hash}-{given.steps or model.sampling.steps}-{count}-{index:05d}.json"
    )
    if file.exists():
        found: dict[str, Any] = json.loads(file.read_text())
        return found
    smiles = decided(molecule).smiles
    assert smiles is not None
    same = from_smiles(smiles, hydrogens=False)  # atoms in the order in which the model has them
    references = embedded(same, count, index, given.out)
    drawn = model.sample(count, seed=LOCAL, smiles=smiles, steps=given.steps)
    condition = drawn.condition
    sets = {
        "random": uniform(condition, index),
        "model": drawn.state["torsions"],
        "ceiling": dihedrals(condition["positions"].double(), condition["quadruples"]),
        "bound": torsions_of(references, condition),
    }
    tables = {
        name: rmsd_table(
            together(model.codec.decode_given({"torsions": torsions}, condition)), together(references)
        )
        for name, torsions in sets.items()
    }
    found = {
        "smiles": smiles,
        "torsions": len(graph_of(molecule).quadruples),
        "tables": {name: value.tolist() for name, value in tables.items()},
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found))
    return found


def embedded(molecule: Molecule, count: int, index: int, out: Path) -> list[Molecule]:
    """The references of a molecule, kept in a file."""
    file = out / "references" / f"{count}-{index:05d}.sdf"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(records(conformers(molecule, REFERENCES, range(count))))
    held = structure_data(file)
    return [held.read(i).molecule for i in range(len(held))]


def uniform(condition: dict[str, torch.Tensor], index: int) -> torch.Tensor:
    """Torsions that are uniform on the circle."""
    shape = condition["quadruples"].shape[:2]
    return torch.from_numpy(np.random.default_rng((0, index)).uniform(-np.pi, np.pi, shape))


def torsions_of(references: Sequence[Molecule], condition: dict[str, torch.Tensor]) -> torch.Tensor:
    """The torsions of references whose atoms are in the order of the condition's."""
    places = torch.from_numpy(np.stack([one.positions for one in references if one.positions is not None]))
    return dihedrals(places, condition["quadruples"][: len(references)])


def together(molecules: Sequence[Molecule]) -> Any:
    """Molecules of one graph as RDKit's molecule with a conformer for each."""
    mol = to_rdkit(molecules[0])
    for molecule in molecules[1:]:
        mol.AddConformer(to_rdkit(molecule).GetConformer(), assignId=True)
    return mol


def table(found: Sequence[dict[str, Any]]) -> str:
    """The figures of every row, as Markdown."""
    text = "| | best RMSD, median | se | plain minimum | coverage | precision |\n|---|---|---|---|---|---|\n"
    medians = {}
    for name, title in ROWS.items():
        tables = [np.array(one["tables"][name]) for one in found]
        figures = conformer_figures(tables).summary()
        medians[name] = figures["best_rmsd"]
        least = float(np.median([t.min() for t in tables]))
        text += (
            f"| {title} | {figures['best_rmsd']:.3f} | {figures.get('best_rmsd_stderr', 0):.3f} | {least:.3f} | "
            f"{figures['cov_r']:.2f} | {figures['mat_p']:.3f} |\n"
        )
    below = 1 - medians["model"] / medians["random"]
    torsions = np.mean([one["torsions"] for one in found])
    return f"{text}\n{len(found)} molecules of {torsions:.1f} torsions; the model is {100 * below:.0f} % below the baseline"


if __name__ == "__main__":
    main()

"""Molecules as SELFIES by masked diffusion: train the recipe `selfies`, draw molecules, and judge them beside real ones.

    python benchmarks/selfies/run.py --train zinc_train.smi.gz --test zinc_test.smi.gz --out runs/selfies [--model RUN]

Without `--model` the recipe `selfies` is trained first, for the CPU-seconds that it says. A finished part leaves a file
and is not repeated. See README.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import perrin
from perrin.evaluate.molecule_copies import unique_share
from perrin.evaluate.molecule_distances import property_distances
from perrin.evaluate.molecule_reading import PROPERTIES, Reading, read_all
from perrin.evaluate.symbol_chains import ngram_texts
from perrin.kinds.smiles import Smiles

CHUNK = 100
SHARES = {
    "valid": "read by RDKit",
    "connected": "and in one piece",
    "sound": "and with no electron unpaired",
    "unique": "different ones among those in one piece",
    "novel": "of the different ones, not in training",
}
UNITS = {"logp": "", "qed": "", "tpsa": " (Å²)", "weight": " (Da)", "heavy_atoms": "", "sa": ""}


def main() -> None:
    parser = argparse.ArgumentParser(description="Molecules as SELFIES by masked diffusion.")
    parser.add_argument("--train", type=Path, required=True, help="a .smi or .csv file")
    parser.add_argument("--test", type=Path, required=True, help="molecules that are never trained on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="a trained run, in the place of training the recipe")
    parser.add_argument("--samples", type=int, default=2_000)
    parser.add_argument("--solver", help="instead of the recipe's")
    parser.add_argument("--steps", type=int, help="likewise")
    parser.add_argument("--temperature", type=float, help="likewise")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    run = given.model or given.out / "run"
    if not (run / "model.safetensors").exists():
        perrin.train("selfies", out=run, data={"path": str(given.train)}, overwrite=True)
    model = perrin.load(run)
    asked = {
        "solver": given.solver,
        "steps": given.steps,
        "temperature": given.temperature,
        "seed": given.seed,
    }
    folder = given.out / "-".join(f"{name}-{value}" for name, value in asked.items() if value is not None)
    drawn, spent = samples(model, folder, given)
    figures = folder / "figures.json"
    if not figures.exists():
        figures.write_text(json.dumps(judged(model, drawn, given), indent=1))
    print(table(json.loads(figures.read_text())))
    print(f"\n{len(drawn):,} molecules, {spent / len(drawn):.3f} CPU-s each")


def samples(model: Any, folder: Path, given: argparse.Namespace) -> tuple[list[str], float]:
    """The sampled SMILES and the CPU-seconds that they took, in chunks that are kept."""
    found, spent = list[str](), 0.0
    for first in range(0, given.samples, CHUNK):
        part = folder / f"samples-{first:05d}.csv"
        cost = part.with_suffix(".cost.json")
        if not cost.exists():
            count, started = min(CHUNK, given.samples - first), time.process_time()
            asked = {"solver": given.solver, "steps": given.steps, "temperature": given.temperature}
            made = model.sample(count, seed=given.seed, first=first, **asked)
            decoded = made.decoded
            seconds = time.process_time() - started
            model.codec.save(decoded, part, made.provenance)
            cost.write_text(json.dumps({"cpu_seconds": seconds, "evaluations": made.evaluations}))
        with part.open() as file:
            found += [row["smiles"] for row in csv.DictReader(file)]
        spent += json.loads(cost.read_text())["cpu_seconds"]
    return found, spent


def judged(model: Any, drawn: list[str], given: argparse.Namespace) -> dict[str, Any]:
    """Shares and distances of the samples, of as many training molecules, and of as many 5-gram SELFIES."""
    train, test = Smiles.open(given.train), Smiles.open(given.test)
    texts = list(train.source.texts)
    chosen = [texts[int(i)] for i in np.linspace(0, len(texts) - 1, len(drawn))]
    sets = {
        "": drawn,
        "_ceiling": chosen,
        "_baseline": ngram_texts(model.codec, train, len(drawn), given.seed),
    }
    readings = {suffix: read_all(values) for suffix, values in sets.items()}
    real = read_all(test[i]["value"] for i in range(len(test)))
    known = set(texts)
    shares = {suffix: share(values, readings[suffix], known) for suffix, values in sets.items()}
    held_out = [test[i]["value"] for i in range(len(test))]
    shares["_ceiling"]["novel"] = share(held_out, real, known)["novel"]  # a training molecule is not new
    return {"shares": shares, "distances": property_distances(readings, real), "test": len(real)}


def share(values: list[str], readings: list[Reading], known: set[str]) -> dict[str, float]:
    """Shares as the README says; stereo counts in what is new, since the training molecules have it."""
    good = {text for text, reading in zip(values, readings, strict=True) if reading.connected}
    return {
        "valid": float(np.mean([reading.smiles is not None for reading in readings])),
        "connected": float(np.mean([reading.connected for reading in readings])),
        "sound": float(np.mean([reading.sound for reading in readings])),
        "unique": unique_share(readings) or 0.0,
        "novel": len(good - known) / max(1, len(good)),
    }


def table(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    columns = {"": "model", "_ceiling": "real", "_baseline": "5-grams"}
    lines = [f"| | {' | '.join(columns.values())} |", "| --- | --- | --- | --- |"]
    for name, said in SHARES.items():
        cells = (f"{found['shares'][suffix][name]:.4f}" for suffix in columns)
        lines.append(f"| {said} | {' | '.join(cells)} |")
    distances = found["distances"]
    for name in PROPERTIES:
        raw = distances["properties"][name]
        cells = (
            f"{raw[f'distance{suffix}']:.3f} = {distances[f'{name}_distance{suffix}']:.3f} sd"
            for suffix in columns
        )
        error = distances[f"{name}_distance_stderr"]
        own = f"{name}{UNITS[name]}: Wasserstein-1 to held-out molecules (± {error:.3f} sd)"
        lines.append(f"| {own} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

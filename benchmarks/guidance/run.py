"""What each way of guiding costs and gains on one class-conditional model: accuracy, precision, recall, distance, spread.

    python benchmarks/guidance/run.py RUN --out runs/guidance [--samples 500] [--steps 8] [--weights 2 4 8]

A finished row leaves its figures in JSON and is not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import perrin
from perrin.evaluate.feature_cache import Features, feature_extractor
from perrin.evaluate.states import Reference, reference
from perrin.metrics import class_accuracy, frechet_distance, precision_recall
from perrin.training import recipe as recipes
from perrin.training.setup import open_data

INTERVAL = (-2.0, 3.0)
"""Of levels, sigma/alpha from 2.7 down to .22: without the noisiest steps and the cleanest ones."""
REAL = 2000


def ways(snapshots: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Name -> what `Model.sample` is told beside the weight."""
    made: dict[str, dict[str, Any]] = {
        "plain": {},
        "interval": {"interval": INTERVAL},
        "rescale .7": {"rescale": 0.7},
        "projected": {"projected": True},
        "projected, threshold .1": {"projected": {"eta": 0.0, "threshold": 0.1}},
    }
    for file in snapshots:
        made[f"weaker: {file.stem.removeprefix('std-')}"] = {"weaker": file}
    return made


def figures(states: Tensor, labels: Tensor | None, real: Reference, extractor: Features) -> dict[str, float]:
    """Of some states against held-out ones, in the features of a classifier."""
    points, test = extractor.features(states), extractor.features(real.test[:REAL])
    read = extractor.predict(states)
    assert read is not None
    assert labels is not None
    precision, recall = precision_recall(points, test)
    return {
        "accuracy": class_accuracy(read, labels),
        "precision": precision,
        "recall": recall,
        "frechet": frechet_distance(points, test),
        "spread": float(states.std()),
        "outside": float((states.abs() > 1.05).double().mean()),
    }


def measure(
    name: str, weight: float, told: dict[str, Any], given: argparse.Namespace, at: Any
) -> dict[str, Any]:
    """The figures of one row, unless they are there."""
    kept: Path = given.out / f"{''.join(c if c.isalnum() else '-' for c in name)}_{weight:g}.json"
    if not kept.exists():
        model, real, extractor = at()
        started = time.process_time()
        drawn = model.sample(
            given.samples, seed=given.seed, steps=given.steps, solver="dpmpp_2m", guidance=weight, **told
        )
        seconds = time.process_time() - started
        found = {"way": name, "weight": weight, "cpu_seconds": seconds}
        kept.write_text(json.dumps(found | figures(drawn.state, drawn.labels, real, extractor), indent=1))
    row = dict(json.loads(kept.read_text()))
    print(json.dumps(row), flush=True)
    return row


def ceiling(given: argparse.Namespace, at: Any) -> dict[str, Any]:
    """The same figures of as many training items."""
    kept: Path = given.out / "real.json"
    if not kept.exists():
        _, real, extractor = at()
        rows = torch.randperm(len(real.train), generator=torch.Generator().manual_seed(0))[: given.samples]
        own = figures(real.train[rows], real.train_labels[rows], real, extractor)
        kept.write_text(
            json.dumps({"way": "training data", "weight": None, "cpu_seconds": 0.0, **own}, indent=1)
        )
    return dict(json.loads(kept.read_text()))


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| guidance | way | class accuracy | precision | recall | Frechet | std of states | outside the range | CPU-s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        weight = "" if row["weight"] is None else f"{row['weight']:g}"
        lines.append(
            f"| {weight} | {row['way']} | {row['accuracy']:.3f} | {row['precision']:.3f} | {row['recall']:.3f} | "
            f"{row['frechet']:.2f} | {row['spread']:.3f} | {100 * row['outside']:.2f} % | {row['cpu_seconds']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("run", type=Path, help="a run with classes, its recipe and its ema/ folder")
    add("--out", type=Path, required=True)
    add("--samples", type=int, default=500)
    add("--steps", type=int, default=8)
    add("--seed", type=int, default=0)
    add("--weights", type=float, nargs="+", default=[2.0, 4.0, 8.0])
    add("--weaker", nargs="*", default=["std-0.050-step-00000750", "std-0.050-step-00002250"], help="of ema/")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    model = perrin.load(given.run)
    held: list[Any] = []

    def at() -> Any:
        if not held:
            data = open_data(recipes.validate(recipes.read(given.run / "recipe.yaml")))
            real = reference(data, model.codec, given.run)
            held.extend([real, feature_extractor(real.train, real.train_labels, seed=0)])
        return model, *held

    files = [given.run / "ema" / f"{name}.safetensors" for name in given.weaker]
    rows = [ceiling(given, at), measure("none", 1.0, {}, given, at)]
    for weight in given.weights:
        rows += [measure(name, weight, told, given, at) for name, told in ways(files).items()]
    print(table(rows))


if __name__ == "__main__":
    main()

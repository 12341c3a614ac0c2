"""The three families on MNIST and on 25 Gaussians: samples, likelihoods, latent codes, outliers, guidance.

    python benchmarks/families/run.py --data mnist.npz --out runs/families [--other cifar10/test.parquet]

Trains what is not trained yet (four runs of two to ten CPU-minutes), then measures part by part. A finished part
leaves a JSON file and is not repeated; REPORT.md and the pictures are written anew after each.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measurements
import report
import torch

import perrin

FAMILIES = {"DDPM": "ddpm-mnist", "NCSN": "ncsn-mnist", "score SDE": "score-sde-mnist"}
CLASSIFIER = "classifier-mnist"


class Study:
    """The runs and the parts of one output folder."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.out = given, given.out
        self.parts: dict[str, Callable[[], dict[str, Any]]] = {
            "points": lambda: measurements.points(self.out / "points"),
            "samples": lambda: measurements.samples(self.runs(), given.samples),
            "correctors": lambda: measurements.correctors(self.run("score-sde-mnist"), given.samples),
            "bits": lambda: measurements.bits(self.runs(), self.held_out(), given.items),
            "latents": lambda: measurements.latents(self.run("score-sde-mnist"), self.held_out(), self.out),
            "outliers": lambda: measurements.outliers(self.runs(), self.held_out(), given.other, given.items),
            "guidance": lambda: measurements.guidance(
                self.run("score-sde-mnist"), self.run(CLASSIFIER), given.data, self.out, given.samples
            ),
        }

    def run(self, recipe: str) -> Path:
        """The run folder of a recipe, trained now if it is not there."""
        folder: Path = self.out / recipe
        if not (folder / "README.md").exists():  # the card is written last
            started = (folder / "state").exists()
            perrin.train(
                str(folder) if started else recipe,
                out=folder,
                resume=started,
                progress=announced(recipe),
                **({} if started else {"data": {"path": str(self.given.data)}}),
            )
        return folder

    def runs(self) -> dict[str, Path]:
        """Family -> run folder."""
        return {family: self.run(recipe) for family, recipe in FAMILIES.items()}

    def held_out(self) -> Any:
        """The 10,000 test digits as a dataset."""
        from perrin.registry import kinds

        return kinds["images"].open(path=str(self.given.data), subset="test")

    def go(self, names: list[str]) -> None:
        """Every part that has not been measured, and the report after each."""
        for name in names:
            kept = self.out / f"{name}.json"
            if not kept.exists():
                print(f"measuring {name}", flush=True)
                started = time.process_time()
                found = self.parts[name]() | {"cpu_seconds": round(time.process_time() - started, 1)}
                kept.write_text(json.dumps(found, indent=1))
            report.write(self.out)


def announced(name: str) -> Callable[[int, int, str], None]:
    """A line now and then on how training goes."""

    def told(done: int, total: int, note: str) -> None:
        if done % 500 == 0 or done == total:
            print(f"{name}: step {done} of at most {total}, {note}", flush=True)

    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="an .npz with train_images, train_labels, test_images, ...")
    add("--out", type=Path, required=True)
    add("--other", type=Path, help="a parquet file of other images, for the outliers")
    add("--samples", type=int, default=1000, help="for a Frechet distance or an accuracy")
    add("--items", type=int, default=256, help="for a likelihood")
    add("--parts", nargs="+", default=None)
    add("--train-only", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    study = Study(given)
    if given.train_only:
        for recipe in (*FAMILIES.values(), CLASSIFIER):
            study.run(recipe)
    else:
        study.go(given.parts or list(study.parts))
        print((given.out / "REPORT.md").read_text())


if __name__ == "__main__":
    main()

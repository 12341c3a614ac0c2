"""Few-shot brain-MRI classification: real slices, synthetic ones, and both, over paired seeds.

    python benchmarks/expansion/run.py --data brain_mri_128.parquet --out runs/expansion [--labelled runs/mri]

Trains what is not trained yet, then expands and measures seed by seed. A finished part leaves its files and is not
repeated; REPORT.md is written anew after each. `--labelled` names a model that was trained on all slices of the training
split with their labels, as another source of synthetic slices: it has seen more labels than the classifier that it serves,
and the slices of the test set "near" too, so that only the file's own test split says something of it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import generators
import splits
import torch

import perrin
from perrin.augmenting import Part, Worth
from perrin.augmenting.measuring import CONTROL, joined, scored, trained
from perrin.evaluate.states import encoded
from perrin.registry import kinds

OWN, LABELLED = "synthetic", "synthetic, by a model of all labels"


class Study:
    """One output folder."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.out, self.parts = given, given.out, given.out / "parts"

    def go(self) -> None:
        """Everything that is not there yet, in the order in which it is needed."""
        if not (self.parts / "near").is_dir():
            splits.write_all(self.given.data, self.parts, self.given.shots, self.given.seeds)
        self.timed("base", lambda: generators.base(self.parts, self.out, self.given.base_seconds))
        for seed in range(self.given.seeds):
            self.one_seed(seed)
            self.report()

    def one_seed(self, seed: int) -> None:
        """Train, expand and measure one few-shot draw."""
        given = self.given
        made = generators.tuned
        self.timed(
            f"tuned-{seed}", lambda: made(self.parts, self.out, seed, given.tuning_seconds, given.rate)
        )
        self.timed(
            f"synthetic-{seed}", lambda: self.expand(self.out / f"tuned-{seed}", seed, f"synthetic-{seed}")
        )
        if given.labelled is not None:
            self.timed(f"labelled-{seed}", lambda: self.expand(given.labelled, seed, f"labelled-{seed}"))
        for name, part, altered in self.sets(seed):
            self.timed(
                f"scores-{self.given.shown}-{seed}-{name}",
                lambda p=part, a=altered, n=name: self.score(p, seed, a, n),
            )

    def timed(self, name: str, work: Any) -> None:
        """Do it unless its mark is there, and leave a mark with its CPU-seconds."""
        mark = self.out / "done" / f"{name}.json"
        if not mark.is_file():
            begun = time.process_time()
            found = work()
            mark.parent.mkdir(parents=True, exist_ok=True)
            seconds = round(time.process_time() - begun, 1)
            mark.write_text(
                json.dumps({"cpu_seconds": seconds, "found": None if isinstance(found, Path) else found})
            )
            print(f"{name}: {seconds:.0f} CPU-seconds", flush=True)

    def expand(self, model: Path, seed: int, name: str) -> dict[str, Any]:
        """The synthetic set of a seed, in the layout of its few slices, with its report beside it."""
        found = perrin.augment(
            model, self.parts / f"few-{seed}", per_class=self.given.count, test=self.parts / "control", seed=seed,
            learned=self.parts / "pool", agree=self.given.agree, samples=8, most=4, out=self.out / name,
            drawing={"steps": self.given.steps, "guidance": self.given.guidance},
        )  # fmt: skip
        found.save(self.out / name)
        print("\n".join(found.lines()), flush=True)
        return found.summary()

    def part(self, folder: Path) -> Part:
        """The labelled states of a folder, as the base model has them."""
        codec = perrin.load(self.out / "base").codec
        return Part(*encoded(kinds["images"].open(path=str(folder)), codec))

    def sets(self, seed: int) -> Iterator[tuple[str, Part, bool]]:
        """Name, states and whether they are altered, of every set that the classifier is trained on."""
        real = self.part(self.parts / f"few-{seed}")
        yield "real", real, False
        yield "real" + CONTROL, real, True
        sources = [(f"synthetic-{seed}", OWN), (f"labelled-{seed}", LABELLED)]
        for folder, title in sources[: 1 if self.given.labelled is None else 2]:
            made = self.part(self.out / folder)
            yield title, made, False
            yield title.replace("synthetic", "both", 1), joined(real, made), False

    def score(self, part: Part, seed: int, altered: bool, name: str) -> dict[str, Any]:
        """Accuracies of one classifier on both test sets."""
        net = trained(part, seed, self.given.shown, altered)
        tests = {test: scored(net, self.part(self.parts / test)) for test in ("near", "test")}
        return {"name": name, "items": len(part), **tests}

    def report(self) -> None:
        """The tables of all seeds that are whole."""
        marks = [
            json.loads(file.read_text())
            for file in sorted((self.out / "done").glob(f"scores-{self.given.shown}-*.json"))
        ]
        names = list(dict.fromkeys(mark["found"]["name"] for mark in marks))
        names.sort(
            key=lambda name: ("real" not in name, LABELLED[10:] in name, "both" in name, CONTROL in name)
        )
        rows = {name: [m["found"] for m in marks if m["found"]["name"] == name] for name in names}
        whole = {name: found for name, found in rows.items() if len(found) == len(rows["real"])}
        spent = sum(
            json.loads(file.read_text())["cpu_seconds"] for file in (self.out / "done").glob("*.json")
        )
        lines = [
            f"{len(rows['real'])} seeds, {self.given.shots} real slices a class, classifiers shown "
            f"{self.given.shown} items; {spent:.0f} CPU-seconds in all"
        ]
        for test in ("near", "test"):
            if len(rows["real"]) > 1:
                told = {n: found for n, found in whole.items() if test == "test" or LABELLED[10:] not in n}
                lines += ["", f"test set {test}:", *self.table(told, test)]
        (self.out / "REPORT.md").write_text("\n".join(["```", *lines, "```"]) + "\n")

    def table(self, rows: dict[str, list[dict[str, Any]]], test: str) -> list[str]:
        """Means, spreads and paired differences."""
        tested = self.part(self.parts / test)
        assert tested.labels is not None
        values = {name: [[one[test][i] for one in found] for i in (0, 1)] for name, found in rows.items()}
        sizes = {name: round(sum(one["items"] for one in found) / len(found)) for name, found in rows.items()}
        chance = int(tested.labels.bincount().max()) / len(tested)
        plain, fair = ({name: both[i] for name, both in values.items()} for i in (0, 1))
        return Worth(plain, fair, sizes, len(tested), chance).lines()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="the parquet file of slices, with columns label and split")
    add("--out", type=Path, required=True)
    add("--labelled", type=Path, help="a model of all slices of the training split with their labels")
    add("--shots", type=int, default=32, help="labelled slices a class")
    add("--seeds", type=int, default=5)
    add("--count", type=int, default=32, help="synthetic slices a class")
    add("--base-seconds", type=float, default=400, help="CPU-seconds of the unconditional model")
    add("--tuning-seconds", type=float, default=60, help="CPU-seconds for each few-shot set")
    add("--rate", type=float, default=2e-3, help="learning rate of the tuning")
    add("--steps", type=int, default=12)
    add(
        "--no-agree",
        dest="agree",
        action="store_false",
        help="keep what a classifier takes for another class",
    )
    add("--guidance", type=float, default=1.0)
    add("--shown", type=int, default=6_400, help="items that each classifier is shown")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    Study(given).go()
    print((given.out / "REPORT.md").read_text())


if __name__ == "__main__":
    main()

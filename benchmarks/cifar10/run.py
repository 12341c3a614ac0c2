"""CIFAR-10 on one GPU: twelve minutes of training in parts, then what the model and the machine are worth.

    python benchmarks/cifar10/run.py --data cifar10 --out runs/cifar10 --part-seconds 460

Call it again until it says that all is done: whatever is finished is kept and not repeated. `--out/return` then holds
the report, its figures, a grid of samples and the weights in half precision. `--smoke`: minutes on a CPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "steps"))  # the judge of all benchmarks of steps
from parts import Clock, OutOfTime, train
from quality import Quality, once
from returned import hand_back
from speed import device_name, draw, operations, sampling_rate, utilisation

import perrin
from perrin.api import Run
from perrin.errors import PerrinError
from perrin.learn.spacing import spaced
from perrin.model import Model
from perrin.registry import schedules
from perrin.sample import Plan, make_plan

RULE = "dpmpp_2m"
SPACING_SEEDS = 64


@dataclass(frozen=True)
class Scale:
    """How large a run is.

    Attributes:
        sections: laid over the recipe; items: of the data, all where None.
        samples, batch: to draw and to judge; evaluations: of the table.
        tuning: evaluations -> (seeds, starts) of `perrin.tune`.
        compiled: whether the network that samples is; a small CPU takes ten minutes for that.
    """

    sections: dict[str, Any]
    items: int | None
    samples: int
    batch: int
    evaluations: tuple[int, ...]
    tuning: dict[int, tuple[int, int]]
    compiled: bool = True


FULL = Scale({}, None, 10_000, 500, (2, 4, 6, 10, 35), {2: (512, 8), 4: (256, 6), 6: (128, 4), 10: (64, 1)})
SMOKE = Scale(
    {
        "net": {"channels": 16, "multipliers": [1, 2], "blocks": 1, "attention": 1},
        "training": {
            "seconds": 20,
            "batch": 32,
            "validation": 20,
            "threads": 1,
            "precision": "float32",
            "compile": False,
        },
    },
    400,
    60,
    20,
    (2, 4),
    {2: (4, 1)},
    compiled=False,
)


class Study:
    """Everything that is measured of the trained model, each in a JSON file of its own."""

    def __init__(self, given: argparse.Namespace, scale: Scale, clock: Clock) -> None:
        self.given, self.scale, self.clock = given, scale, clock
        self.folder: Path = given.out / "model"
        self._quality: Quality | None = None

    def model(self) -> Model:
        """The trained model, fresh from its folder."""
        return perrin.load(self.folder, device=self.given.device)

    def fast(self) -> Model:
        """The same, compiled."""
        return self.model().compile() if self.scale.compiled else self.model()

    @property
    def quality(self) -> Quality:
        """The judge, made when it is first asked: its features take a minute of the CPU to train."""
        if self._quality is None:
            self._quality = Quality(self.folder)
            self._quality.model = self.fast()
        return self._quality

    def point(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A finished measurement, or a new one where there is time left."""
        place = self.given.out / "points" / f"{name}.json"
        if not place.exists():
            self.clock.check()
        found = once(place, measure)
        print(f"{name}: {found}"[:400], flush=True)
        return found

    def speeds(self, parts: list[dict[str, Any]]) -> dict[str, Any]:
        """Of training, and of sampling at every number of evaluations."""
        recipe, name = Run(self.folder).recipe, device_name(self.given.device)

        def training() -> dict[str, Any]:
            flops = operations(self.model().design, recipe.training.batch)
            return utilisation(parts, flops, name) | {"batch": recipe.training.batch}

        def sampling() -> dict[str, Any]:
            model, size = self.fast(), self.scale.batch
            return {str(n): sampling_rate(model, n, 4 * size, size) for n in self.scale.evaluations}

        return {
            "training": self.point("training", training),
            "sampling": self.point("sampling", sampling),
        }

    def grid(self) -> Path:
        """Ten samples of every class by the model's own settings, a row each."""
        place: Path = self.given.out / "return" / "grid.png"
        if not place.exists():
            self.clock.check()
            model = self.model()
            labels = [c for c in range(len(model.codec.classes or [])) for _ in range(10)]
            picture = model.sample(len(labels), seed=0, label=labels, batch=self.scale.batch).picture(10)
            assert picture is not None
            place.parent.mkdir(parents=True, exist_ok=True)
            picture.save(place)
        return place

    def tuned(self, count: int) -> dict[str, Any]:
        """Fit a plan of so many evaluations; what came of it, the plan's table included."""
        seeds, starts = self.scale.tuning[count]

        def fit() -> dict[str, Any]:
            # a chunk that fills a GPU, and a fine solution that TensorFloat-32 still resolves
            options: dict[str, Any] = {"chunk": min(64, seeds), "tolerance": 0.01}
            try:
                found = perrin.tune(
                    self.model(), count, seeds=seeds, starts=starts, progress=self.clock.check, **options
                )
            except PerrinError as error:
                return {"helped": False, "why": str(error)}
            return {"helped": found.helped, "fitted": found.plan.fitted, "seeds": seeds, "starts": starts}

        return self.point(f"tune_{count}", fit)

    def plan(self, row: str, count: int) -> Plan | None:
        """Of a row of the table; None where there is none."""
        sampling = self.quality.model.sampling
        if row == "tuned":
            fits = count in self.scale.tuning and self.tuned(count)["helped"]
            return Plan.load(self.folder / "plans" / f"{count}.json") if fits else None
        if row == RULE:
            return sampling.plan(RULE, count)
        return make_plan(
            RULE, grid=[*self.point(f"spaced_{count}", lambda: self.levels(count))["levels"], float("inf")]
        )

    def levels(self, count: int) -> dict[str, Any]:
        """Levels placed where this model's predictions turn."""
        model = self.model()
        label = torch.arange(SPACING_SEEDS, device=self.given.device) % len(model.codec.classes or [0])
        schedule = schedules.build(model.sampling.schedule)
        seeds = [(2**31, i) for i in range(SPACING_SEEDS)]  # never those of the samples
        shape = model.codec.shape
        found = spaced(model.guided(), schedule, count, shape=shape, seeds=seeds, condition={"label": label})
        return {"levels": found[:-1]}

    def distance(self, row: str, count: int) -> dict[str, Any] | None:
        """Frechet distance and class accuracy of the samples of a plan."""
        plan = self.plan(row, count)
        if plan is None:
            return None

        def measure() -> dict[str, Any]:
            drawn = draw(self.quality.model, self.scale.samples, plan, self.scale.batch)
            return self.quality.figures(drawn.state, drawn.labels) | {"evaluations": drawn.evaluations}

        return self.point(f"{row.replace(' ', '-')}_{count}", measure)

    def all(self, parts: list[dict[str, Any]]) -> dict[str, Any]:
        """Every figure; what needs most time last."""
        found = {**self.speeds(parts), "parts": parts, "grid": self.grid().name}
        table = {
            row: {n: self.distance(row, n) for n in self.scale.evaluations}
            for row in (RULE, f"{RULE} spaced")
        }
        ceiling = self.point("real_items", lambda: self.quality.ceiling(self.scale.samples))
        table["tuned"] = {n: self.distance("tuned", n) for n in self.scale.evaluations}
        tunings = {n: self.tuned(n) for n in self.scale.tuning}
        plans = {p.stem: p.read_text() for p in sorted((self.folder / "plans").glob("*.json"))}
        return {**found, "distances": table, "real_items": ceiling, "tunings": tunings, "plans": plans}


def source(given: argparse.Namespace, scale: Scale, name: str) -> str:
    """The parquet file, or one with its first items."""
    whole = given.data / f"{name}.parquet"
    if scale.items is None:
        return str(whole.resolve())
    from pyarrow import parquet

    place = given.out / f"{name}.parquet"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(parquet.read_table(whole).slice(0, scale.items), place)
    return str(place.resolve())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="the folder of train.parquet and test.parquet"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part-seconds", type=float, help="end this call in time, all done so far kept")
    parser.add_argument("--seconds", type=float, help="of training, instead of the recipe's")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--smoke", action="store_true", help="tiny, to see that it runs")
    given = parser.parse_args()
    scale, clock = SMOKE if given.smoke else FULL, Clock(given.part_seconds)
    torch.set_float32_matmul_precision("high")
    sections = {key: dict(value) for key, value in scale.sections.items()}
    if given.seconds is not None:
        sections["training"] = {**sections.get("training", {}), "seconds": given.seconds}
    sections |= {
        "data": {"path": source(given, scale, "train")},
        "test": {"path": source(given, scale, "test")},
    }
    try:
        parts = train(given.out / "model", clock, given.device, "cifar10", **sections)
        figures = Study(given, scale, clock).all(parts)
    except OutOfTime:
        print("this part is over and saved; call again to go on", flush=True)
        return
    print(hand_back(given.out / "return", given.out / "model", figures, scale.samples))
    print(f"all done: {given.out / 'return'}")


if __name__ == "__main__":
    main()

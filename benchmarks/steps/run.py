"""Quality against evaluations on a trained model: Frechet distance to test data, and class accuracy.

    python benchmarks/steps/run.py --model runs/mnist --out runs/steps [--samples 2000]

Rules on the model's own grid and on the grid of `perrin.learn.spacing` (fitted to the model without gradients), and
the tuned plans in the model's `plans/` folder. A finished point leaves a JSON file and is not repeated.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from quality import Quality, once, shown

from perrin.learn.spacing import spaced
from perrin.registry import schedules
from perrin.sample import Plan, make_plan

EVALUATIONS = (4, 6, 10, 15, 20, 35, 50)
RULES = ("ddim", "dpmpp_2m", "unipc_2")
SPACED, TUNED = "spaced", "tuned"
SEEDS = 64
"""Of the trajectories that a spaced grid is fitted to."""


class Study:
    """The points of one model."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.quality = given, Quality(given.model)
        self.model = self.quality.model

    def plan(self, rule: str, count: int) -> Plan | None:
        """Of a row of the table; None where there is none."""
        if rule == TUNED:
            place = self.given.model / "plans" / f"{count}.json"
            return Plan.load(place) if place.exists() else None
        name, _, grid = rule.partition(" ")
        return make_plan(name, grid=self.levels(count)) if grid else self.model.sampling.plan(name, count)

    def levels(self, count: int) -> list[float]:
        """The spaced grid under the model's guidance, each class in turn."""

        def fit() -> dict[str, Any]:
            started = time.process_time()
            classes = self.model.codec.classes
            condition = {"label": torch.arange(SEEDS) % len(classes)} if classes else None
            found = spaced(
                self.model.guided() if classes else self.model.denoiser,
                schedules.build(self.model.sampling.schedule),
                count,
                shape=self.model.codec.shape,
                seeds=[(2**31, i) for i in range(SEEDS)],  # never those of the samples
                condition=condition,
            )
            return {"levels": found[:-1], "cpu_seconds": time.process_time() - started}

        return [*once(self.given.out / f"grid_{count}.json", fit)["levels"], float("inf")]

    def measure(self, plan: Plan) -> dict[str, Any]:
        """The figures of a plan's samples."""
        started = time.process_time()
        drawn = self.model.sample(self.given.samples, seed=0, plan=plan)
        spent = time.process_time() - started
        figures = self.quality.figures(drawn.state, drawn.labels)
        return figures | {"evaluations": drawn.evaluations, "cpu_seconds": round(spent, 1)}

    def cell(self, rule: str, count: int) -> str:
        """A point of the table."""
        plan = self.plan(rule, count)
        if plan is None:
            return ""
        place = self.given.out / f"{rule.replace(' ', '-')}_{count}_{self.given.samples}.json"
        return shown(once(place, lambda: self.measure(plan)))

    def report(self, rules: list[str], counts: list[int]) -> str:
        """The table; fewer evaluations first, so that an interrupted study holds whole columns."""
        title = ["samples of", *map(str, counts)]
        lines = {rule: [rule] for rule in rules}
        for count in counts:
            for rule in rules:
                lines[rule].append(self.cell(rule, count))
                print(f"{rule}, {count} evaluations: {lines[rule][-1]}", flush=True)
        n = self.given.samples
        real = [f"{n} real items", shown(self.quality.ceiling(n)), *[""] * (len(counts) - 1)]
        rows = [*lines.values(), real]
        text = "\n".join("| " + " | ".join(row) + " |" for row in [title, ["---"] * len(title), *rows])
        return f"Frechet distance / class accuracy, {n} samples, guidance {self.model.sampling.guidance}\n\n{text}\n"


def arguments(
    description: str | None, out: Callable[[argparse.ArgumentParser], object]
) -> argparse.Namespace:
    """What the scripts of this folder are given."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", type=Path, required=True, help="a run folder with its recipe.yaml")
    parser.add_argument("--out", type=Path, required=True)
    out(parser)
    return parser.parse_args()


def signature() -> str:
    """When, where and how."""
    return (
        f"\n{datetime.date.today()}, {platform.platform()}, one thread\n\n    python {' '.join(sys.argv)}\n"
    )


def main() -> None:
    rows = [*RULES, *(f"{rule} {SPACED}" for rule in RULES[1:]), TUNED]

    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--samples", type=int, default=2000)
        parser.add_argument("--rows", nargs="+", default=rows)
        parser.add_argument("--evaluations", nargs="+", type=int, default=list(EVALUATIONS))

    given = arguments(__doc__, more)
    torch.set_num_threads(1)
    text = Study(given).report(given.rows, given.evaluations) + signature()
    (given.out / "REPORT.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()

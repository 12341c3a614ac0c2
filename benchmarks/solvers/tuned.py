"""Plans fitted by `perrin.learn.tune` on the exact denoisers, on seeds that neither fit nor choice has seen.

    python benchmarks/solvers/tuned.py --out runs/solvers [--targets digits mixture] [--evaluations 4 5 6 8]

Each fit starts from `dpmpp_2m` on the `logsnr` grid, on 1,024 seeds of its own. A fitted plan stays in the output folder
and is not fitted again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import table
import torch
from rich.progress import Progress
from targets import TARGETS, UNSEEN, Target, errors, summary

from perrin.learn import tune
from perrin.sample import Plan, make_plan

STARTS = {4: 8, 5: 3, 6: 3, 8: 2}
"""Fewer where an evaluation more makes each start dearer; nearly all of them lead to plans as good."""
SEEDS = 1024


def fitted(target: Target, evaluations: int, folder: Path, seeds: int) -> tuple[Plan, float]:
    """The fitted plan and the CPU-seconds that it took."""
    place, spent = (folder / f"{target.name}-{evaluations}{end}" for end in (".json", "-seconds.json"))
    if not place.exists():
        folder.mkdir(parents=True, exist_ok=True)
        began = time.process_time()
        with Progress(transient=True) as bar:
            row = bar.add_task(f"{target.name}, {evaluations} evaluations")
            plan = tune(
                make_plan("dpmpp_2m", target.schedule, steps=evaluations, grid="logsnr"),
                target.denoiser,
                shape=target.shape,
                seeds=seeds,
                starts=STARTS.get(evaluations, 8),
                progress=lambda done, total, note: bar.update(row, completed=done, total=total),
            )
        spent.write_text(json.dumps(time.process_time() - began))
        plan.save(place)
    return Plan.load(place), float(json.loads(spent.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, required=True)
    add("--targets", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    add("--evaluations", type=int, nargs="+", default=list(STARTS))
    add("--seeds", type=int, default=len(UNSEEN), help="unseen seeds of the table")
    add("--fit", type=int, default=SEEDS, help="seeds of a fit")
    given = parser.parse_args()
    torch.set_num_threads(1)
    text = (
        "| target | evaluations | median | root mean square | CPU-seconds of the fit |\n"
        + "| --- " * 5
        + "|\n"
    )
    for name in given.targets:
        target = TARGETS[name](given.out / "references")
        for n in given.evaluations:
            plan, seconds = fitted(target, n, given.out / "plans", given.fit)
            plan.check()
            found = summary(errors(plan, target, UNSEEN[: given.seeds]))
            shown = [f"{v:.4f} ({a:.4f} to {b:.4f})" for v, a, b in found.values()]
            text += f"| {name} | {n} | {' | '.join(shown)} | {seconds:.0f} |\n"
            (given.out / "TUNED.md").write_text(text + table.signature())
    print(text)


if __name__ == "__main__":
    main()

"""What the shortcuts of a network evaluation save and cost: reused features, guidance on an interval, merged branches.

    python benchmarks/steps/shortcuts.py --model runs/mnist --out runs/shortcuts [--samples 1000]

All draw the same seeds and classes by the model's own plan. CPU-seconds are of one thread; rows counts what the whole
network was asked for, and deep rows what its lower resolutions were.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from quality import Quality, once, shown
from run import arguments, signature
from torch import Tensor

from perrin.denoise import Prediction
from perrin.denoise.prediction import Condition, Denoiser, unconditional
from perrin.guide import ClassifierFree, FeatureReuse
from perrin.guide.wrapper import ITEM
from perrin.model import Model
from perrin.sample import run

BATCH = 128
INTERVALS = ((-4.0, 4.0), (-2.0, 3.0))


def separate(denoiser: Denoiser, weight: float) -> Denoiser:
    """Guidance by two calls of the network, as pipelines without a merged batch make it."""

    def guided(x: Tensor, level: Tensor, condition: Condition = None) -> Prediction:
        given = {name: value for name, value in (condition or {}).items() if name != ITEM}
        free = denoiser(x, level, unconditional(given)).mean
        asked = denoiser(x, level, given).mean
        return Prediction(free + weight * (asked - free))

    return guided


def variants(model: Model) -> dict[str, Callable[[], Denoiser]]:
    """Name -> a denoiser for one run."""
    w, plain = model.sampling.guidance, model.denoiser
    found: dict[str, Callable[[], Denoiser]] = {"plain": model.guided}
    found["two calls instead of a merged one"] = lambda: separate(plain, w)
    for k in (2, 3, 4):
        found[f"reuse {k}"] = lambda k=k: model.guided(reuse=k)
    for interval in INTERVALS:
        found[f"interval {interval}"] = lambda i=interval: ClassifierFree(plain, w, interval=i)
    found[f"interval {INTERVALS[1]}, reuse 2"] = lambda: ClassifierFree(
        FeatureReuse(plain, 2), w, interval=INTERVALS[1]
    )
    found["no guidance"] = lambda: plain
    return found


class Counter:
    """Rows that passed through a module."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.rows = 0
        module.register_forward_hook(self._count)

    def _count(self, module: torch.nn.Module, inputs: Any, output: Tensor) -> None:
        self.rows += len(output)


def measure(quality: Quality, make: Callable[[], Denoiser], count: int) -> dict[str, Any]:
    """Draw, and tell time, rows and quality."""
    model, states = quality.model, []
    net: Any = model.denoiser.net
    whole, deep, plan = Counter(net), Counter(net.middle), model.sampling.plan()
    labels = torch.arange(count) % len(model.codec.classes or [0])
    started = time.process_time()
    for first in range(0, count, BATCH):
        items = torch.arange(first, min(count, first + BATCH))
        condition = {"label": labels[items], ITEM: items}
        keys = [(0, int(i)) for i in items]
        states.append(run(plan, make(), seeds=keys, shape=model.codec.shape, condition=condition))
    spent = time.process_time() - started
    figures = quality.figures(torch.cat([s for s in states if isinstance(s, Tensor)]), labels)
    rows = {"rows": whole.rows / count, "deep_rows": deep.rows / count}
    return figures | rows | {"cpu_seconds_per_sample": spent / count, "evaluations": plan.nfe}


def report(quality: Quality, out: Path, count: int) -> str:
    """The table."""
    made = variants(quality.model)
    found = {
        name: once(out / f"{name.replace(' ', '-')}_{count}.json", lambda m=make: measure(quality, m, count))
        for name, make in made.items()
    }
    plain = found["plain"]["cpu_seconds_per_sample"]
    text = "| variant | CPU-ms a sample | speed | rows | deep rows | Frechet distance / class accuracy |\n"
    text += "| --- " * 6 + "|\n"
    for name, f in found.items():
        spent = f["cpu_seconds_per_sample"]
        cells = [name, f"{1000 * spent:.1f}", f"{plain / spent:.2f} x", f"{f['rows']:.1f}"]
        text += "| " + " | ".join([*cells, f"{f['deep_rows']:.1f}", shown(f)]) + " |\n"
    return text + f"| {count} real items | | | | | {shown(quality.ceiling(count))} |\n"


def main() -> None:
    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--samples", type=int, default=1000)

    given = arguments(__doc__, more)
    torch.set_num_threads(1)
    text = report(Quality(given.model), given.out, given.samples) + signature()
    (given.out / "REPORT.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()

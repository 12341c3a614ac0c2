"""Text by masked diffusion: bits per character of held-out text, infilling, and quality of samples against steps.

    python benchmarks/text/run.py --data tinyshakespeare.txt --out runs/text-benchmark [--model RUN] [--samples 64]

Without `--model` the recipe `text` is trained first, for the CPU-seconds that it says. The last tenth of the text is
held out. Figures of samples stand beside those of held-out pieces of the same length and of characters drawn by their
frequency. A finished part leaves a JSON file and is not repeated.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import perrin
from perrin.evaluate.infilling import infilling
from perrin.evaluate.texts import sample_figures
from perrin.metrics.ngrams import NGrams, fit
from perrin.model import Model
from perrin.sample import make_plan
from perrin.training import recipe as recipes
from perrin.training.setup import open_data

ORDERS = range(1, 8)
SOLVERS: dict[str, dict[str, Any]] = {
    "ancestral": {},
    "tau_leaping": {},
    "remasking": {},
    "confidence": {},
    "blocks": {"block": 16},
}
STEPS = (8, 16, 32, 64, 128, 256)
BITS_SAMPLES = 4


def once(path: Path, make: Callable[[], Any]) -> Any:
    """What a finished part left, or what it makes now."""
    if not path.exists():
        found = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1))
    return json.loads(path.read_text())


class Study:
    """The parts on one model."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.out = given, given.out
        folder = given.model or self.trained()
        self.model: Model = perrin.load(folder)
        recipe = recipes.validate(recipes.read(Path(folder) / "recipe.yaml"))
        self.data = open_data(
            recipes.validate(recipes.merge(recipe.model_dump(), {"data": {"path": str(given.data)}}))
        )
        assert self.data.test is not None
        self.held_out = self.data.test[0]["value"]
        parts = [part for part in (self.data.train, self.data.validation) if part is not None]
        self.training = [str(part[i]["value"]) for part in parts for i in range(len(part))]

    def trained(self) -> Path:
        """The recipe's run."""
        folder: Path = self.out / "run"
        if not (folder / "recipe.yaml").exists():
            perrin.train("text", out=folder, data={"path": str(self.given.data)})
        return folder

    def grams(self) -> NGrams:
        """n-grams of the training tokens."""
        codec: Any = self.model.codec
        return fit([codec.tokens(text) for text in self.training], max(ORDERS), codec.categories)

    def bits(self) -> dict[str, Any]:
        """Bits per character of all held-out text: the model's bound, and n-grams token by token."""
        codec: Any = self.model.codec
        found: dict[str, Any] = {"characters": len(self.held_out)}
        for name, left in (("left context", None), ("no left context", 0)):
            log_prob = self.model.log_prob([self.held_out], samples=BITS_SAMPLES, left=left)
            scale = len(self.held_out) * math.log(2)
            found[name] = [float(-log_prob.value) / scale, float(log_prob.stderr) / scale]
        counted, tokens = self.grams(), codec.tokens(self.held_out)
        found["ngrams"] = [float(counted.bits(tokens, n).sum()) / len(self.held_out) for n in ORDERS]
        return found

    def infilled(self) -> dict[str, Any]:
        """Accuracy in gaps, beside the left-context 5-gram at the same places."""
        codec: Any = self.model.codec
        assert self.data.test is not None
        found: dict[str, Any] = infilling(self.model, codec, codec.cut(self.data.test), self.grams())
        return found

    def samples(self, solver: str, steps: int) -> dict[str, Any]:
        """Figures of samples by one solver."""
        length = self.model.codec.shape[0]
        schedule = perrin.registry.schedules.build(self.model.sampling.schedule)
        plan = make_plan(solver, schedule, steps=steps, grid=self.model.sampling.grid, **SOLVERS[solver])
        started = time.process_time()
        drawn = self.model.sample(self.given.samples, seed=0, plan=plan, length=length)
        spent = time.process_time() - started
        texts = self.held_out
        places = np.linspace(0, len(texts) - length, self.given.samples).astype(int)
        figures = sample_figures(drawn.decoded, [texts[i : i + length] for i in places], self.training)
        return figures | {"evaluations": drawn.evaluations, "cpu_seconds": spent}

    def table(self) -> str:
        """Everything as Markdown."""
        bits = once(self.out / "bits.json", self.bits)
        text = "| bits per character, held out | |\n| --- | --- |\n"
        for name in ("left context", "no left context"):
            text += f"| Perrin, bound, {name} | {bits[name][0]:.3f} +- {bits[name][1]:.3f} |\n"
        for order, value in zip(ORDERS, bits["ngrams"], strict=True):
            text += f"| {order}-gram (Witten-Bell) | {value:.3f} |\n"
        gaps = once(self.out / "infilling.json", self.infilled)
        text += "\n| infilling, top-1 | Perrin | 5-gram, left context |\n| --- | --- | --- |\n"
        for name, key in (("one character", "infill_accuracy"), ("five characters", "infill_gap_accuracy")):
            text += f"| {name} | {gaps[key]:.3f} +- {gaps[key + '_stderr']:.3f} | {gaps[key + '_baseline']:.3f} |\n"
        return text + "\n" + self.quality()

    def quality(self) -> str:
        """Steps against quality."""
        columns = ("sample_bits", "entropy", "repeated_share", "distinct_share", "word_share")
        head = "bits under a 5-gram", "entropy", "repeated", "distinct", "known words", "evaluations", "CPU-s"
        text = "| solver | steps | " + " | ".join(head) + " |\n" + "| --- " * 9 + "|\n"
        row: dict[str, Any] = {}
        for solver in self.given.solvers:
            for steps in self.given.steps:
                row = once(
                    self.out / "samples" / f"{solver}-{steps}.json",
                    lambda s=solver, n=steps: self.samples(s, n),
                )
                cells = [f"{row[c]:.3f}" for c in columns] + [
                    f"{row['evaluations']:.1f}",
                    f"{row['cpu_seconds']:.1f}",
                ]
                text += f"| {solver} | {steps} | " + " | ".join(cells) + " |\n"
        for name, suffix in (("held-out text", "_ceiling"), ("characters by frequency", "_baseline")):
            text += f"| {name} | | " + " | ".join(f"{row[c + suffix]:.3f}" for c in columns) + " | | |\n"
        return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="a text file")
    add("--out", type=Path, required=True)
    add("--model", type=Path, help="a run of a text recipe with held_out: 0.1")
    add("--samples", type=int, default=64)
    add("--solvers", nargs="+", choices=list(SOLVERS), default=list(SOLVERS))
    add("--steps", type=int, nargs="+", default=list(STEPS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    text = Study(given).table()
    text += (
        f"\n{datetime.date.today()}, {platform.platform()}, one thread\n\n    python {' '.join(sys.argv)}\n"
    )
    (given.out / "TEXT.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()

"""Tokens per second of sampling: masked diffusion at several numbers of steps, and one token at a time.

    python benchmarks/text/speed.py --model runs/text --out runs/speed [--steps 8 16 32 64 128]
        [--autoregressive ar.safetensors] [--data tinyshakespeare.txt]

All rows in one run on one thread, CPU-seconds, float32, the median of `--repeats` after one that is not counted. The
baseline is the same network, causal, with keys and values kept; fresh weights where none are given, since speed does
not depend on them. Calls are rows that passed through the network, per token that was drawn. With `--data` the quality
of the drawn texts stands beside: bits per token under a 5-gram of the first nine tenths, and unigram entropy.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import autoregressive
import numpy as np
import torch
from torch import Tensor, nn

import perrin
from perrin.metrics.ngrams import fit
from perrin.metrics.repetition import unigram_entropy
from perrin.model import Model

BATCHES = (1, 16)
ORDER = 5
Draw = Callable[[int, int], tuple[Tensor, int]]
"""(how many texts, seed) -> (tokens [n, L], rows that passed through the network)."""


class Judge:
    """What texts look like to whoever counts: the 5-gram of the training part."""

    def __init__(self, model: Model, data: Path) -> None:
        text = data.read_text(encoding="utf-8")
        cut = len(text) - int(autoregressive.HELD * len(text))
        codec: Any = model.codec
        self.held = codec.tokens(text[cut:])
        self.grams = fit(codec.tokens(text[:cut]), ORDER, codec.categories)

    def figures(self, texts: list[np.ndarray]) -> dict[str, float]:
        """Of texts [L] each."""
        return {"bits": float(self.grams.bits(texts).mean()), "entropy": unigram_entropy(texts)}


def masked(model: Model, steps: int, length: int, solver: str | None) -> Draw:
    """How a masked model draws; what it was asked is counted, not declared."""
    rows = [0]
    net: nn.Module = model.denoiser.net

    def count(module: nn.Module, inputs: Any, output: Tensor) -> None:
        rows[0] += len(output)

    def draw(n: int, seed: int) -> tuple[Tensor, int]:
        rows[0], hook = 0, net.register_forward_hook(count)
        found = model.sample(n, length=length, steps=steps, solver=solver, seed=seed, batch=n).state
        hook.remove()
        return found, rows[0]

    return draw


def baseline(model: Model, weights: Path | None, length: int) -> Draw:
    """How the causal network draws."""
    net = autoregressive.load(weights, model) if weights else autoregressive.network(model).eval()

    def draw(n: int, seed: int) -> tuple[Tensor, int]:
        found, calls = autoregressive.write(net, n, length, seed)
        return found, n * calls

    return draw


def measure(draw: Draw, count: int, length: int, repeats: int, judge: Judge | None) -> dict[str, Any]:
    """Speed at every batch size, calls, and the quality of `count` texts or more."""
    found, texts = dict[str, Any](), list[np.ndarray]()
    for batch in BATCHES:
        seconds, calls = list[float](), list[float]()
        for repeat in range(1 + repeats):
            started = time.process_time()
            drawn, rows = draw(batch, 1000 * batch + repeat)
            seconds.append(time.process_time() - started)
            calls.append(rows / (batch * length))
            texts.extend(drawn.numpy())
        found[f"tokens_per_second_{batch}"] = batch * length / statistics.median(seconds[1:])
        found["calls_per_token"] = statistics.mean(calls)
    if judge is not None:
        while len(texts) < count:
            texts.extend(draw(BATCHES[-1], len(texts))[0].numpy())
        found |= judge.figures(texts)
    return found


def report(given: argparse.Namespace, model: Model, judge: Judge | None) -> str:
    """The table."""
    length = given.length or model.codec.shape[0]
    ways = {"one token at a time": baseline(model, given.autoregressive, length)}
    ways |= {f"masked, {n} steps": masked(model, n, length, given.solver) for n in given.steps}
    text = (
        f"{length} tokens a text, {sum(p.numel() for p in model.denoiser.net.parameters()):,} parameters\n\n"
    )
    text += (
        "| how | calls per token | tokens/s, 1 text | tokens/s, 16 texts | bits under a 5-gram | entropy |\n"
    )
    text += "| --- " * 6 + "|\n"
    rows = {name: measure(draw, given.samples, length, given.repeats, judge) for name, draw in ways.items()}
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "speed.json").write_text(json.dumps(rows, indent=1) + "\n")
    for name, row in rows.items():
        speeds = [f"{row[f'tokens_per_second_{batch}']:.0f}" for batch in BATCHES]
        text += "| " + " | ".join([name, f"{row['calls_per_token']:.2f}", *speeds, *_quality(row)]) + " |\n"
    if judge is not None:
        held = [judge.held[i : i + length] for i in range(0, len(judge.held) - length + 1, length)]
        text += "| " + " | ".join(["the held-out tenth", "", "", "", *_quality(judge.figures(held))]) + " |\n"
    return text


def _quality(row: dict[str, Any]) -> list[str]:
    return [f"{row['bits']:.2f}", f"{row['entropy']:.2f}"] if "bits" in row else ["", ""]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a masked model of text")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--autoregressive", type=Path, help="weights of autoregressive.py; fresh ones by default"
    )
    parser.add_argument("--data", type=Path, help="the text, one .txt, by which quality is judged")
    parser.add_argument("--steps", type=int, nargs="+", default=[8, 16, 32, 64, 128])
    parser.add_argument("--solver", help="of the masked model; its own by default")
    parser.add_argument("--length", type=int, help="tokens of a text; the model's context by default")
    parser.add_argument("--samples", type=int, default=64, help="texts at least that are judged")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = perrin.load(given.model)
    text = report(given, model, Judge(model, given.data) if given.data else None)
    text += (
        f"\n{datetime.date.today()}, {platform.platform()}, one thread\n\n    python {' '.join(sys.argv)}\n"
    )
    (given.out / "SPEED.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()

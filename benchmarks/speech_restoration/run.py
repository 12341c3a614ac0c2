"""Clipped and lossy recordings of real words restored by a model of waveforms, beside interpolation and autoregression.

    python benchmarks/speech_restoration/run.py --model runs/waveforms --out runs/speech [--words 4] [--samples 19]

Writes a table, a picture of the first word of every damage, and WAV files. A finished part leaves an .npz file and is
not repeated.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from classical import autoregression, gaussian, linear, smooth
from damage import GAPS, Word, chosen, clipped, with_gaps
from drawing import drawn, written
from waveforms import WINDOW, windows

import perrin

CLIPPING = "clipping"
WAYS = {CLIPPING: ("proximal", 50)} | dict.fromkeys(GAPS, ("mmps", 20))
"""Method and steps, chosen on training words; another method may be asked for all."""


def damages(count: int) -> dict[str, list[Word]]:
    """Every damage of every word."""
    held_out = chosen(count)
    found = {CLIPPING: [clipped(*word) for word in held_out]}
    for name, length in GAPS.items():
        found[name] = [with_gaps(*word, length, seed) for seed, word in enumerate(held_out)]
    return found


def by_model(
    model: perrin.Model, word: Word, given: argparse.Namespace, method: str, steps: int
) -> np.ndarray:
    """[samples, T]: every window restored by itself."""
    parts = np.stack([word.damaged[start : start + WINDOW] for start in word.starts])[:, None]
    how = {"samples": given.samples, "method": method, "steps": steps}
    if np.isfinite(word.limit):
        made = model.restore(parts, "declip", limit=word.limit, noise=given.noise, **how)
    else:
        unknown = word.unknown[word.starts[0] : word.starts[0] + WINDOW]  # the same middle in every window
        edges = np.flatnonzero(np.diff(unknown.astype(int))) + 1
        made = model.restore(parts, "gaps", spans=[(int(edges[0]), int(edges[1]))], noise=given.noise, **how)
    return word.joined(made.values(made.state)[:, :, 0].numpy())


def by_process(word: Word, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean, standard deviation) [T] of gaps by a Gaussian process; it sees each window by itself."""
    found = []
    for start in word.starts:
        part = slice(start, start + WINDOW)
        found.append(gaussian(word.damaged[part], word.unknown[part], covariance))
    mean, std = (word.joined(np.stack([f[k] for f in found])) for k in (0, 1))
    return mean, std


def ratio(truth: np.ndarray, found: np.ndarray) -> float:
    """Signal to noise in dB."""
    return float(10 * np.log10(np.square(truth).sum() / np.square(truth - found).sum()))


def scale_free(truth: np.ndarray, found: np.ndarray) -> float:
    """SI-SDR in dB (Le Roux et al. 2019): the truth may be louder or softer by one factor."""
    return ratio(truth * (found @ truth) / (truth @ truth), found)


def row(
    name: str, words: list[Word], restored: list[np.ndarray], covered: float | None, seconds: float
) -> str:
    """One line of the table: means over words, of the damaged samples alone."""
    pairs = [(w.truth[w.unknown], x[w.unknown]) for w, x in zip(words, restored, strict=True)]
    snr = np.array([ratio(*pair) for pair in pairs])
    free = [scale_free(*pair) for pair in pairs if np.any(pair[1])]
    error = snr.std(ddof=1) / len(snr) ** 0.5 if len(snr) > 1 else float("nan")
    return (
        f"| {name} | {snr.mean():.2f} +- {error:.2f} | {np.mean(free) if free else float('nan'):.2f} "
        f"| {'' if covered is None else f'{covered:.0%}'} | {seconds:.1f} |"
    )


def coverage(words: list[Word], low: list[np.ndarray], high: list[np.ndarray]) -> float:
    """Share of damaged samples within their interval."""
    inside = [
        (a <= w.truth)[w.unknown] & (w.truth <= b)[w.unknown]
        for w, a, b in zip(words, low, high, strict=True)
    ]
    return float(np.concatenate(inside).mean())


def classical_rows(kind: str, words: list[Word]) -> list[str]:
    """What needs no network."""
    ways: dict[str, Callable[[Word], np.ndarray]] = {
        "as it is": lambda w: w.damaged,
        "straight lines": lambda w: linear(w.damaged, w.unknown),
        "PCHIP": lambda w: smooth(w.damaged, w.unknown, "pchip"),
        "cubic spline": lambda w: smooth(w.damaged, w.unknown, "spline"),
        "autoregression (Janssen)": lambda w: autoregression(w.damaged, w.unknown, -w.limit, w.limit),
    }
    found = []
    for name, way in ways.items():
        start = time.process_time()
        restored = [way(word) for word in words]
        if kind == CLIPPING or name != "as it is":
            found.append(row(name, words, restored, None, time.process_time() - start))
    return found


def process_row(words: list[Word], covariance: np.ndarray) -> str:
    """The control: a Gaussian with the covariance of the training windows, whose posterior is exact."""
    start = time.process_time()
    made = [by_process(word, covariance) for word in words]
    covered = coverage(words, [m - 1.645 * s for m, s in made], [m + 1.645 * s for m, s in made])
    return row("Gaussian process", words, [m for m, _ in made], covered, time.process_time() - start)


def model_rows(kind: str, words: list[Word], given: argparse.Namespace) -> list[str]:
    """Posterior mean and one sample of the model, and the coverage of its 90 % intervals."""
    model = perrin.load(given.model)
    method, steps = given.method or WAYS[kind][0], given.steps or WAYS[kind][1]
    stem = f"{kind.replace(' ', '-')}-{method}-{given.samples}-{steps}-{len(words)}"
    file = given.out / f"{stem}.npz"
    if not file.exists():
        start = time.process_time()
        made = {f"word{i}": by_model(model, word, given, method, steps) for i, word in enumerate(words)}
        np.savez(file, seconds=time.process_time() - start, **made)
    with np.load(file) as held:
        samples, seconds = [held[f"word{i}"] for i in range(len(words))], float(held["seconds"])
    tail = 0.05 if given.samples >= 19 else 1 / (given.samples + 1)
    ends = [np.quantile(x, [tail, 1 - tail], axis=0, method="weibull") for x in samples]
    covered = coverage(words, [e[0] for e in ends], [e[1] for e in ends])
    drawn(given.out / f"{stem}.png", words[0], samples[0], ends[0])
    written(given.out, stem, words[0], samples[0])
    asked = f" (intervals of {1 - 2 * tail:.0%})" if tail != 0.05 else ""
    return [
        row(f"model, posterior mean, {method}{asked}", words, [x.mean(0) for x in samples], covered, seconds),
        row("model, one sample", words, [x[0] for x in samples], None, seconds / given.samples),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--words", type=int, default=4)
    parser.add_argument("--samples", type=int, default=19)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--method", default=None, help="by default each damage's own")
    parser.add_argument("--noise", type=float, default=0.01, help="in units of a word's loudness")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    cut = windows()[:, 0]
    covariance = cut.T @ cut / len(cut)
    for kind, words in damages(given.words).items():
        lost = np.mean([word.unknown.mean() for word in words])
        print(
            f"\n| {kind}, {lost:.1%} of the samples | SNR, dB | SI-SDR, dB | 90 % cover | CPU-s |\n|"
            + " --- |" * 5
        )
        rows = classical_rows(kind, words)
        rows += [] if kind == CLIPPING else [process_row(words, covariance)]
        print("\n".join([*rows, *model_rows(kind, words, given)]), flush=True)


if __name__ == "__main__":
    main()

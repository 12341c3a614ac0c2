"""The rules of the race, the same for every contender.

A contender trains for a number of CPU-seconds of its own process (`time.process_time`; one thread
is allowed) and is then asked for class-balanced digits. The clock runs while the contender is
built, compiled and trained and while batches are drawn; it stands still while the data file is read
and while samples are drawn.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

CLASSES = 10
SAMPLING_BATCH = 250
WARM_UP = 0.04


class Contender(Protocol):
    """What one library brings to the race; `contest.race` does the rest."""

    settings: dict[str, Any]  # JSON-able: every choice worth printing
    samplers: tuple[str, ...]  # its samplers by name, the one for samples on the way first
    batch_size: int

    def parameter_count(self) -> int: ...

    def step(self, images: Tensor, labels: Tensor, lr: float) -> None:
        """One optimiser step on images float32 [B, 1, 28, 28] in [-1, 1] and labels int64 [B]."""

    def sample(self, labels: Tensor, guidance: float, sampler: str) -> Tensor:
        """Images float32 [B, 1, 28, 28] in [-1, 1], one for each label; guidance 1 means none."""


def arguments(description: str | None) -> argparse.Namespace:
    """The command line that every contender understands."""
    parser = argparse.ArgumentParser(description=description)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="an .npz with train_images and train_labels")
    add("--out", type=Path, required=True, help="folder for run.json and the samples")
    add("--lr", type=float, required=True)
    add("--cpu-seconds", type=float, required=True)
    add("--seed", type=int, default=0)
    add("--checkpoints", type=int, default=1, help="4: at 1/8, 1/4, 1/2 and all of the budget")
    add("--samples", type=int, default=2000)
    add("--guidance", type=float, nargs="+", default=[1.0], help="weights of the last samples")
    add("--option", action="append", default=[], metavar="NAME=VALUE", help="its own option")
    return parser.parse_args()


def options(pairs: list[str]) -> dict[str, Any]:
    """`["batch_size=32"]` -> `{"batch_size": 32}`; values are JSON, or plain text where they are not."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            found[name] = json.loads(text)
        except json.JSONDecodeError:
            found[name] = text
    return found


def learning_rate(peak: float, progress: float) -> float:
    """Linear warm-up over the first 4 % of the budget, then half a cosine down to zero."""
    if progress < WARM_UP:
        return peak * progress / WARM_UP
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - WARM_UP) / (1 - WARM_UP))))


def batches(images: Tensor, labels: Tensor, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless shuffled batches of uint8 images as float32 in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(images), generator=generator)
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size]
            yield images[chosen].float().unsqueeze(1) / 127.5 - 1, labels[chosen]


def balanced_labels(count: int) -> Tensor:
    """0..9 repeated, int64 [count]: every class equally often."""
    return torch.arange(count) % CLASSES


def draw(contender: Contender, count: int, guidance: float, sampler: str) -> tuple[np.ndarray, np.ndarray]:
    """`count` class-balanced samples, uint8 [count, 28, 28], with the labels asked for."""
    labels = balanced_labels(count)
    parts = labels.split(SAMPLING_BATCH)
    images = torch.cat([contender.sample(part, guidance, sampler).float().cpu() for part in parts])
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).squeeze(1)
    return pixels.numpy(), labels.numpy().astype(np.uint8)


def race(package: str, build: Callable[..., Contender], given: argparse.Namespace) -> None:
    """Train `build(**options)` for the budget; leaves samples at the checkpoints and, last, `run.json`."""
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    with np.load(given.data) as data:
        images, labels = torch.from_numpy(data["train_images"]), torch.from_numpy(data["train_labels"]).long()
    given.out.mkdir(parents=True, exist_ok=True)
    started, paused, steps, reached = time.process_time(), 0.0, 0, []
    contender = build(**options(given.option))
    source = batches(images, labels, contender.batch_size, given.seed)
    marks = [given.cpu_seconds / 2**k for k in reversed(range(given.checkpoints))]
    while marks:
        spent = time.process_time() - started - paused
        if spent >= marks[0]:
            point = {"cpu_seconds": spent, "steps": steps, "images_seen": steps * contender.batch_size}
            reached.append(point | samples_at(contender, given, marks.pop(0)))
            paused += reached[-1]["sample_cpu_seconds"]
            continue
        contender.step(*next(source), learning_rate(given.lr, spent / given.cpu_seconds))
        steps += 1
    record = {"name": package, "versions": {name: version(name) for name in (package, "torch")}}
    record |= {"lr": given.lr, "seed": given.seed, "samples": given.samples, "checkpoints": reached}
    record |= {"parameters": contender.parameter_count(), "settings": contender.settings}
    finish(given.out, record)


def samples_at(contender: Contender, given: argparse.Namespace, mark: float) -> dict[str, Any]:
    """Write a file of samples for every sampler and guidance weight at the end, for the first ones on the way.

    `samples` in the result: "<sampler>, w = <weight>" -> file name.
    """
    started, written = time.process_time(), {}
    pairs = [(sampler, weight) for sampler in contender.samplers for weight in given.guidance]
    for number, (sampler, weight) in enumerate(pairs if mark == given.cpu_seconds else pairs[:1]):
        torch.manual_seed(given.seed + 1)
        images, labels = draw(contender, given.samples, weight, sampler)
        name = written[f"{sampler}, w = {weight:g}"] = f"samples_{mark:.0f}_{number}.npz"
        np.savez_compressed(given.out / name, images=images, labels=labels)
    return {"samples": written, "sample_cpu_seconds": time.process_time() - started}


def finish(folder: Path, record: dict[str, Any]) -> None:
    """`run.json` under a temporary name first: where it exists, the run is complete."""
    partial = folder / "run.json.partial"
    partial.write_text(json.dumps(record, indent=1))
    partial.rename(folder / "run.json")

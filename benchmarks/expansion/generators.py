"""The models that expand: one learned from unlabelled slices, and copies of it that learned the labels of a few.

The base never sees a label (every one is dropped), so its class embeddings say nothing. Before a copy is trained further on
few labelled slices, they are set to that of "no class", and apart: embeddings that begin as one part slowly (measured: 40
CPU-seconds from equal ones, with as many unlabelled slices, and a classifier of the synthetic slices was at chance).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import perrin

RECIPE: dict[str, Any] = {
    "base": "mri",
    "data": {"subset": None},
    "test": None,
    "net": {"channels": 32},
    "training": {"validation": 0, "sample_every": None},
}

APART = 0.5  # of the embeddings' own scale at their initialisation


def base(parts: Path, out: Path, seconds: float) -> Path:
    """The run folder of the unconditional model, trained now if it is not there."""
    wanted = {"objective": {"drop": 1.0}, "training": {"cpu_seconds": seconds}}
    return _trained("base", parts / "pool", out / "base", wanted)


def tuned(parts: Path, out: Path, seed: int, seconds: float, rate: float) -> Path:
    """The run folder of the model that knows the labels of one few-shot set."""
    begin = out / "begin"
    if not (begin / "model.json").is_file():
        model = perrin.load(out / "base")
        with torch.no_grad():
            embedded = model.module.net.embedding.label.weight
            noise = torch.randn(embedded[1:].shape, generator=torch.Generator().manual_seed(0))
            embedded[1:] = embedded[0] + APART * noise
        model.save(begin)
    wanted = {"training": {"cpu_seconds": seconds, "lr": rate, "seed": seed, "ema": [0.1]}}
    return _trained(f"tuned-{seed}", parts / f"few-{seed}", out / f"tuned-{seed}", wanted, begin)


def _trained(name: str, data: Path, folder: Path, wanted: dict[str, Any], start: Path | None = None) -> Path:
    if not (folder / "README.md").exists():  # the card is written last
        if (folder / "state").exists():
            perrin.train(folder, out=folder, resume=True, progress=announced(name))
        else:
            recipe = {**RECIPE, "name": name, "data": {"path": str(data), "subset": None}}
            perrin.train(recipe, out=folder, start=start, progress=announced(name), **wanted)
    return folder


def announced(name: str) -> Callable[[int, int, str], None]:
    """A line now and then on how training goes."""

    def told(done: int, total: int, note: str) -> None:
        if done % 100 == 0 or done == total:
            print(f"{name}: step {done} of at most {total}, {note}", flush=True)

    return told

"""What leaves the machine: a report, the figures, and the weights in files small enough to send."""

from __future__ import annotations

import datetime
import math
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from quality import shown
from torch import Tensor

from perrin.saving import load_tensors, save_tensors, write_json, write_text

LARGEST = 15 * 2**20
"""Bytes of one file of weights."""


def shards(weights: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """The tensors in half precision, in order, in groups of at most `LARGEST` bytes, or of one tensor."""
    groups: list[dict[str, Tensor]] = []
    size = math.inf
    for name, value in weights.items():
        half = value.half() if value.is_floating_point() else value
        size += half.nbytes
        if size > LARGEST:
            groups.append({})
            size = half.nbytes
        groups[-1][name] = half
    return groups


def hand_back(target: Path, folder: Path, figures: dict[str, Any], samples: int) -> str:
    """Fill `target` beside the picture; the text of the report."""
    for number, part in enumerate(shards(load_tensors(folder / "model.safetensors"))):
        save_tensors(target / f"weights-{number}.safetensors", part)
    shutil.copy(folder / "model.json", target / "model.json")
    write_json(target / "figures.json", figures)
    text = report(figures, samples)
    write_text(target / "REPORT.md", text)
    return text


def report(figures: dict[str, Any], samples: int) -> str:
    """Two tables, and when, where and how."""
    signature = f"{datetime.date.today()}, {platform.platform()}, torch {torch.__version__}"
    speeds, distances = _speeds(figures), _distances(figures, samples)
    return f"{speeds}\n\n{distances}\n\n{signature}\n\n    python {' '.join(sys.argv)}\n"


def _speeds(figures: dict[str, Any]) -> str:
    t, shares = figures["training"], []
    for key in ("utilisation", "utilisation_overall"):
        shares.append("peak unknown" if t[key] is None else f"{100 * t[key]:.1f} %")
    rows = [
        ("device", t["device"]),
        ("steps, of items", f"{t['steps']}, {t['batch']}"),
        ("seconds of training", f"{t['seconds_of_training']:.0f}"),
        (
            "steps per second, median and overall",
            f"{t['steps_per_second']:.2f}, {t['steps_per_second_overall']:.2f}",
        ),
        ("GFLOP a step", f"{t['operations_per_step'] / 1e9:.1f}"),
        ("model FLOP utilisation, median and overall", ", ".join(shares)),
    ]
    rows += [
        (f"images per second, {s['evaluations']} evaluations", f"{s['images_per_second']:.1f}")
        for s in figures["sampling"].values()
    ]
    return "| | |\n| --- | --- |\n" + "\n".join(f"| {a} | {b} |" for a, b in rows)


def _distances(figures: dict[str, Any], samples: int) -> str:
    counts = list(next(iter(figures["distances"].values())))
    rows = [["samples of", *map(str, counts)], ["---"] * (1 + len(counts))]
    for name, found in figures["distances"].items():
        rows.append([name, *("" if found[n] is None else shown(found[n]) for n in counts)])
    rows.append([f"{samples} real items", shown(figures["real_items"]), *[""] * (len(counts) - 1)])
    lines = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    unhelped = [
        f"{n} ({t.get('why', 'unseen seeds did not confirm it')})"
        for n, t in figures["tunings"].items()
        if not t["helped"]
    ]
    note = f"\n\nTuning did not help at {', '.join(unhelped)}." if unhelped else ""
    return f"Frechet distance / class accuracy, {samples} samples:\n\n{lines}{note}"

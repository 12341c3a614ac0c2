"""REPORT.md and the pictures of a study, from the JSON files of its parts."""

from __future__ import annotations

import datetime
import json
import platform
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

Facts = dict[str, Any]


def write(out: Path) -> None:
    """The report of whatever has been measured so far."""
    text = "# The three families\n\n"
    for name, section in SECTIONS.items():
        kept = out / f"{name}.json"
        if kept.exists():
            facts = json.loads(kept.read_text())
            text += section(facts, out) + f"({facts['cpu_seconds']:.0f} CPU-seconds)\n\n"
    text += (
        f"{datetime.date.today()}, {platform.platform()}, one thread, Python {platform.python_version()}\n\n"
    )
    (out / "REPORT.md").write_text(text + f"    python {' '.join(sys.argv)}\n")


def table(columns: list[str], rows: list[list[Any]]) -> str:
    """A markdown table; numbers to four digits."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines) + "\n\n"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def points(facts: Facts, out: Path) -> str:
    """25 Gaussians: the table and the scatter plots."""
    named = [name for name in facts if isinstance(facts[name], dict)]
    figure, axes = plt.subplots(1, len(named), figsize=(3.1 * len(named), 3.2), constrained_layout=True)
    for axis, name in zip(axes, named, strict=True):
        file = "real" if name == "real points" else name.replace(" ", "-")
        values = np.load(out / "points" / f"{file}.npy")
        axis.scatter(values[:, 0], values[:, 1], s=1, color="#2b5d8a")
        axis.set(title=name, aspect="equal", xticks=[], yticks=[])
    figure.savefig(out / "points.png", dpi=110)
    plt.close(figure)
    columns = ["", "modes covered", "quality", "reverse KL", "evaluations"]
    rows = [
        [name, f"{f['covered']} of {f['modes']}", f["quality"], f["reverse_kl"], f.get("evaluations")]
        for name, f in ((n, facts[n]) for n in named)
    ]
    return "## 25 Gaussians, 2,000 samples\n\n" + table(columns, rows)


def samples(facts: Facts, out: Path) -> str:
    """MNIST samples as `perrin evaluate` judges them."""
    named = [name for name in facts if isinstance(facts[name], dict)]
    keys = list(facts[named[0]])
    rows = [[key, *(facts[name][key] for name in named)] for key in keys]
    return "## MNIST samples\n\n" + table(["", *named], rows)


def correctors(facts: Facts, out: Path) -> str:
    """Frechet distance over evaluations."""
    solvers = [name for name in facts if isinstance(facts[name], dict)]
    figure, axis = plt.subplots(figsize=(5.6, 3.6), constrained_layout=True)
    for solver in solvers:
        axis.plot([int(k) for k in facts[solver]], list(facts[solver].values()), marker="o", label=solver)
    axis.axhline(facts["real"], color="grey", linestyle=":", label="real images")
    axis.set(xscale="log", yscale="log", xlabel="network evaluations", ylabel="Frechet distance")
    axis.legend()
    figure.savefig(out / "correctors.png", dpi=110)
    plt.close(figure)
    rows = [[solver, evaluations, d] for solver in solvers for evaluations, d in facts[solver].items()]
    title = f"## Predictor and corrector at equal evaluations, {facts['samples']} samples\n\n"
    return title + table(
        ["solver", "evaluations", "Frechet distance"], [*rows, ["real", None, facts["real"]]]
    )


def bits(facts: Facts, out: Path) -> str:
    """Bits per dimension by both methods."""
    rows = []
    for family, methods in facts.items():
        if isinstance(methods, dict):
            for method, f in methods.items():
                parts = ", ".join(f"{name} {value:.3f}" for name, value in f["parts_in_bits"].items())
                value = f"{f['bits']:.4f} +- {f['stderr']:.4f}"
                rows.append([family, method, value, f"{f['converged']} of {facts['items']}", parts])
    return "## Bits per dimension of test digits\n\n" + table(
        ["family", "method", "bits per dimension", "converged", "parts in bits"], rows
    )


def latents(facts: Facts, out: Path) -> str:
    """Encode and decode."""
    keys = [key for key in facts if key != "cpu_seconds"]
    return "## Encode, decode\n\n" + table(keys, [[facts[key] for key in keys]])


def outliers(facts: Facts, out: Path) -> str:
    """AUC of each family and each strange set."""
    named = [name for name in facts if isinstance(facts[name], dict)]
    kinds = list(facts[named[0]])
    rows = [[kind, *(facts[name][kind] for name in named)] for kind in kinds]
    return f"## Telling others from digits by the bound, AUC, {facts['items']} each\n\n" + table(
        ["", *named], rows
    )


def guidance(facts: Facts, out: Path) -> str:
    """Classifier guidance of the unconditional model."""
    rows = [
        [weight, f["class_accuracy"], f["frechet_distance"]]
        for weight, f in facts.items()
        if isinstance(f, dict)
    ]
    title = f"## Classifier guidance, {facts['samples']} samples (the judge reads {facts['judge_accuracy']:.4f})\n\n"
    return title + table(["weight", "class accuracy", "Frechet distance"], rows)


SECTIONS = {
    "points": points,
    "samples": samples,
    "correctors": correctors,
    "bits": bits,
    "latents": latents,
    "outliers": outliers,
    "guidance": guidance,
}

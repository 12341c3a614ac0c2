"""The tables of `run.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Rows = list[dict[str, Any]]


def overhead(rows: Rows) -> str:
    """Microseconds a step, least (median), and the ratio of the least."""
    lines = [
        "| state | rule | Perrin, µs a step: least (median) | diffusers | its scheduler | ratio |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        ours, theirs = row["perrin"], row["diffusers"]
        lines.append(
            f"| {tuple(row['shape'])} | `{row['rule']}` | {_pair(ours, 'least')} | {_pair(theirs, 'least')} "
            f"| `{row['peer']}` | {ours['least'] / theirs['least']:.2f} |"
        )
    return "\n".join(["## Overhead per step", "", *lines, ""])


def training(rows: Rows) -> str:
    """Images per CPU-second, most (median), and the ratio to the plain example: of the most (median of the rounds)."""
    lines = [
        "| network | precision | contender | images per CPU-second: most (median) | beside the plain example "
        "| quartiles | first two steps, CPU-s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        of_rounds = row["ratio_of_a_round"]
        low, high = of_rounds["quartiles"]
        lines.append(
            f"| {row['network']} | {row['precision']} | {row['contender']} | {_pair(row, 'most')} "
            f"| {row['ratio']:.2f} ({of_rounds['median']:.2f}) | {low:.2f} to {high:.2f} "
            f"| {row['first_two_steps']:.1f} |"
        )
    return "\n".join(["## Training", "", *lines, ""])


def memory(rows: Rows) -> str:
    """Peak MiB beside what was there before."""
    lines = ["| task | Perrin, MiB | diffusers, MiB | ratio |", "| --- | --- | --- | --- |"]
    found = {(row["task"], row["library"]): row["mebibytes"] for row in rows}
    for task in dict.fromkeys(row["task"] for row in rows):
        ours, theirs = found[task, "perrin"], found[task, "diffusers"]
        lines.append(f"| {task} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} |")
    return "\n".join(["## Peak memory", "", *lines, ""])


def _pair(figures: dict[str, float], best: str) -> str:
    return f"{figures[best]:.1f} ({figures['median']:.1f})"


PAGES: dict[str, Callable[[Rows], str]] = {"overhead": overhead, "training": training, "memory": memory}

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
    """Images per CPU-second of all rounds (of the best), beside the plain example in the same precision and in float32."""
    lines = [
        "| network | precision | contender | images per CPU-second (best round) | beside the plain example "
        "(best rounds) | quartiles of the rounds | beside it in float32 | first two steps, CPU-s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        low, high = row["quartiles"]
        lines.append(
            f"| {row['network']} | {row['precision']} | {row['contender']} | {row['mean']:.1f} ({row['most']:.1f}) "
            f"| {row['ratio']:.2f} ({row['ratio_of_the_most']:.2f}) | {low:.2f} to {high:.2f} "
            f"| {row['ratio_to_float32']:.2f} | {row['first_two_steps']:.1f} |"
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


def kept(rows: Rows) -> str:
    """CPU-seconds, page faults and peak of a repetition, with freed memory kept and given back."""
    lines = [
        "| task | freed memory | CPU-ms | of them the system's | page faults | peak MiB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        lines.append(
            f"| {row['task']} | {row['freed memory']} | {1e3 * row['cpu_seconds']:.0f} "
            f"| {1e3 * row['of_the_system']:.0f} | {row['page_faults']:.0f} | {row['peak_mebibytes']:.0f} |"
        )
    return "\n".join(["## Freed memory", "", *lines, ""])


def _pair(figures: dict[str, float], best: str) -> str:
    return f"{figures[best]:.1f} ({figures['median']:.1f})"


PAGES: dict[str, Callable[[Rows], str]] = {
    "overhead": overhead,
    "training": training,
    "memory": memory,
    "kept": kept,
}

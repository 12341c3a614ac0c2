"""The figures of the trainings as a table: each weight and share beside the baseline of the same seed."""

from __future__ import annotations

from collections import defaultdict
from statistics import mean, stdev
from typing import Any


def table(rows: list[dict[str, Any]], baseline: str) -> str:
    """Markdown: distance as mean and deviation over seeds, its ratio to the baseline's, and how many seeds reach it."""
    whole = {row["seed"]: row for row in rows if row["weight"] == baseline}
    grouped: dict[tuple[str, float], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        grouped[row["weight"], row["share"]].append(row)
    lines = [
        "| weight | steps | distance to test | to training data | ratio to the baseline | seeds that reach it |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (weight, share), found in grouped.items():
        ratios = [row["test"] / whole[row["seed"]]["test"] for row in found]
        lines.append(
            f"| {weight} | {share:.0%} | {spread([row['test'] for row in found])} "
            f"| {spread([row['train'] for row in found])} | {spread(ratios)} "
            f"| {sum(ratio <= 1 for ratio in ratios)} of {len(ratios)} |"
        )
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Mean and sample deviation."""
    return f"{mean(values):.3f}" + (f" +- {stdev(values):.3f}" if len(values) > 1 else "")

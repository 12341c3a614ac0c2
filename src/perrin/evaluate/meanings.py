"""What each figure says, in one line: the rows of every table that shows figures, on paper or terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Better = Literal["higher", "lower", "near"]


class Row(NamedTuple):
    """One figure with what makes it readable (None where there is none); `better`: the good direction."""

    name: str
    label: str
    value: float
    baseline: float | None
    ceiling: float | None
    control: float | None
    better: Better
    meaning: str


# name, label, good direction, meaning
_MEANINGS: tuple[tuple[str, str, Better, str], ...] = (
    ("class_accuracy", "Class accuracy", "higher", "share read as the class that was asked for"),
    ("class_accuracy_unguided", "Class accuracy, unguided", "higher", "the same, sampled without guidance"),
    ("precision", "Precision", "higher", "share of samples that lie among the real data"),
    ("recall", "Recall", "higher", "share of the real data that lies among the samples"),
    (
        "density",
        "Density",
        "higher",
        "how deep among the real data samples lie; above the ceiling they crowd",
    ),
    (
        "coverage",
        "Coverage",
        "higher",
        "share of real items with a sample close by; low means missing variety",
    ),
    ("frechet_distance", "Fréchet distance", "lower", "distance between the two laws, taken as Gaussians"),
    ("kid", "KID", "lower", "distance between the two laws, no bias: zero on average for equal ones"),
    (
        "nearest_ratio",
        "Nearest training item",
        "near",
        "median distance over that of unseen real items; below 1 copies",
    ),
    (
        "copy_share",
        "Near copies",
        "near",
        "share closer to a training item than 99 % of unseen real items are",
    ),
)


def rows(figures: Mapping[str, Any]) -> list[Row]:
    """The rows of the figures that are present and are numbers, in reading order."""

    def number(key: str) -> float | None:
        value = figures.get(key)
        return float(value) if isinstance(value, int | float) else None

    table = []
    for name, label, better, meaning in _MEANINGS:
        value, stem = number(name), name.removesuffix("_distance").removesuffix("_unguided")
        if value is not None:
            stderr = number(f"{name}_stderr")
            note = meaning if stderr is None else f"{meaning}; standard error {stderr:.2g}"
            baseline, ceiling = number(f"{stem}_baseline"), number(f"{stem}_ceiling")
            table.append(Row(name, label, value, baseline, ceiling, number(f"{name}_control"), better, note))
    return table

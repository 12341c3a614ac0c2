"""Training and validation loss as one inline SVG: sharp at any size, coloured by the page's own style."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 240, 52, 26, 10
POINTS = 300  # per curve; longer logs are averaged

Series = list[tuple[float, float]]


def _series(log: Sequence[Mapping[str, Any]], name: str) -> Series:
    pairs = ((entry.get("step"), entry.get(name)) for entry in log)
    return [(float(x), float(y)) for x, y in pairs if x is not None and y is not None and math.isfinite(y)]


def _thinned(series: Series) -> Series:
    """Means of at most `POINTS` equal stretches."""
    size = -(-len(series) // POINTS)
    parts = (series[start : start + size] for start in range(0, len(series), size or 1))
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    if logarithmic:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        marks = [m * 10.0**e for e in decades for m in (1, 2, 5)]
        inside = [mark for mark in marks if low <= mark <= high]
        return inside if len(inside) <= 6 else [mark for mark in inside if f"{mark:e}"[0] == "1"]
    span = 10 ** math.floor(math.log10((high - low) or 1))
    step = next(span * m for m in (0.2, 0.5, 1, 2) if (high - low) / (span * m) <= 6)
    first = math.ceil(low / step)
    return [step * i for i in range(first, math.floor(high / step) + 1)]


def loss_curves(log: Sequence[Mapping[str, Any]]) -> str:
    """An `<svg>` of `loss` and, where logged, `validation` against `step`; empty for fewer than two points.

    Args:
        log: lines of `log.jsonl`: {"step": int, "loss": float, "validation": float (now and then), ...}.
    """
    curves = {name: _thinned(_series(log, name)) for name in ("loss", "validation")}
    points = [point for series in curves.values() for point in series]
    if len(points) < 2:
        return ""
    (left, right), (low, high) = ((min(axis), max(axis)) for axis in zip(*points, strict=True))
    logarithmic = low > 0 and high / low > 4
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)

    def across(x: float) -> float:
        return LEFT + (x - left) / ((right - left) or 1) * (WIDTH - LEFT - 8)

    def up(y: float) -> float:
        share = math.log(y / low) / math.log(high / low) if logarithmic else (y - low) / (high - low)
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)

    parts = []
    for y in _ticks(low, high, logarithmic):
        parts.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - 8}" y1="{up(y):.1f}" y2="{up(y):.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{up(y) + 4:.1f}" text-anchor="end">{y:.3g}</text>')
    for x in _ticks(left, right, False):
        parts.append(f'<text x="{across(x):.1f}" y="{HEIGHT - 6}" text-anchor="middle">{x:g}</text>')
    for name, series in curves.items():
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in series)
        parts.append(f'<polyline class="{name}" points="{path}"/>' if len(series) > 1 else "")
    frame = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="loss against step"'
    return f"<svg {frame}>{''.join(parts)}</svg>"

"""Linear resampling along each axis, lazily: a piece of the resampled volume reads only the voxels that it needs.

Voxel i of the new axis lies at x = start + step i of the old one. Where voxels become smaller it is the linear
interpolant there; where they become larger, the interpolant's mean over a width w about x, so that no finer structure
aliases. A voxel is itself a mean over 1, and variances of boxes add: w = sqrt(step^2 - 1) makes it one over `step`.
Both keep linear functions of the place as they are; weights at the border are normalised to a sum of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from perrin.kinds.volumes import geometry
from perrin.kinds.volumes.volume import Stored, Volume

_SAME = 1e-3  # relative: spacings that differ by less are one


@dataclass(frozen=True)
class Grid:
    """The places of new voxels along d, h, w: `counts` of them, at `starts + steps * index` of the old ones."""

    counts: tuple[int, ...]
    starts: tuple[float, ...]
    steps: tuple[float, ...]

    @classmethod
    def spaced(cls, volume: Volume, spacing: Sequence[float | None]) -> Self:
        """The grid of voxels of so many millimetres along d, h, w (None: as they are) over the same field of view."""
        old = volume.stack.shape[1:]
        steps = [
            1.0 if want is None or abs(want / have - 1) < _SAME else want / have
            for want, have in zip(spacing, volume.spacing, strict=True)
        ]
        counts = [n if s == 1.0 else max(1, round(n / s)) for n, s in zip(old, steps, strict=True)]
        return cls.centred(old, counts, steps)

    @classmethod
    def centred(cls, old: Sequence[int], counts: Sequence[int], steps: Sequence[float]) -> Self:
        """New voxels about the middle of the old ones."""
        starts = [(n - 1) / 2 - s * (count - 1) / 2 for n, count, s in zip(old, counts, steps, strict=True)]
        return cls(tuple(counts), tuple(starts), tuple(steps))

    @classmethod
    def covering(cls, old: Sequence[int], size: Sequence[int]) -> Self:
        """`size` voxels along the last axes, one step for all of these, so that they cover the frame; the rest is cut.

        As images are framed: what hangs over is cropped on both sides alike.
        """
        kept = len(old) - len(size)
        step = min(n / want for n, want in zip(old[kept:], size, strict=True))
        return cls.centred(old, [*old[:kept], *size], [1.0] * kept + [step] * len(size))

    def part(self, begin: Sequence[int], size: Sequence[int]) -> Self:
        """The new voxels from `begin` on, `size` along every axis."""
        starts = [s + step * b for s, step, b in zip(self.starts, self.steps, begin, strict=True)]
        return replace(self, counts=tuple(size), starts=tuple(starts))


def resampled(volume: Volume, grid: Grid) -> Volume:
    """The volume at the grid's places, [C, *counts]; where these are voxels of it, the voxels themselves."""
    values = volume.stack
    for axis, (count, start, step) in enumerate(zip(grid.counts, grid.starts, grid.steps, strict=True), 1):
        values = _along(values, axis, count, start, step)
    one_scale = len(volume.stored.slope) == 1 and len(volume.stored.intercept) == 1
    affine = geometry.stepped(volume.affine, grid.starts, grid.steps)
    stored = volume.stored if one_scale else Stored()
    return replace(volume, values=np.asarray(values, np.float32), affine=affine, stored=stored)


def _along(values: np.ndarray, axis: int, count: int, start: float, step: float) -> np.ndarray:
    size = values.shape[axis]
    whole = step == 1.0 and float(start).is_integer() and start >= 0 and start + count <= size
    if whole:
        chosen = [slice(None)] * values.ndim
        chosen[axis] = slice(int(start), int(start) + count)
        return values[tuple(chosen)]
    first, weights = linear_weights(size, count, start, step)
    chosen = [slice(None)] * values.ndim
    chosen[axis] = slice(first, first + weights.shape[1])
    moved = np.moveaxis(np.asarray(values[tuple(chosen)], np.float32), axis, -1)
    return np.moveaxis(moved @ weights.T.astype(np.float32), -1, axis)


def linear_weights(size: int, count: int, start: float, step: float) -> tuple[int, np.ndarray]:
    """(first, weights [count, n]): new voxels from the n old ones that begin at `first`."""
    places = np.clip(start + step * np.arange(count), 0, size - 1)
    width = np.sqrt(max(step, 1.0) ** 2 - 1)
    first = max(0, int(np.floor(places[0] - width / 2 - 1)))
    last = min(size - 1, int(np.ceil(places[-1] + width / 2 + 1)))
    away = places[:, None] - np.arange(first, last + 1)
    if width < 1e-6:
        weights = np.maximum(0.0, 1 - np.abs(away))
    else:
        weights = (_below(away + width / 2) - _below(away - width / 2)) / width
    return first, weights / weights.sum(1, keepdims=True)


def _below(t: np.ndarray) -> np.ndarray:
    """The integral of the hat function max(0, 1 - |s|) over s <= t."""
    inside = np.clip(t, -1, 1)
    found: np.ndarray = np.where(inside < 0, (inside + 1) ** 2 / 2, 1 - (1 - inside) ** 2 / 2)
    return found

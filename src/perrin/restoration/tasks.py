"""What people want restored, by name: each task makes the operator that did the damage, for states of a shape.

The keywords are the task's options, annotated, so that the command line and the reference can list them.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.guide.operators import (
    Blur,
    Clip,
    Compressed,
    Downsample,
    Grey,
    KSpace,
    Mask,
    Operator,
    Radon,
    cartesian,
    gaussian_blur,
    motion_blur,
)
from perrin.registry import tasks, unknown


def build(task: str, shape: Sequence[int], options: Mapping[str, Any]) -> Operator:
    """The operator of a task by its name.

    Raises:
        PerrinError: a task or an option that is not known, an option that is missing.
    """
    builder = tasks[task]
    known = [name for name in inspect.signature(builder).parameters if name != "shape"]
    for name in options:
        if name not in known:
            raise unknown(f"option of the task {task}", name, known)
    needed = [n for n, p in inspect.signature(builder).parameters.items() if p.default is p.empty]
    missing = [name for name in needed if name != "shape" and name not in options]
    if missing:
        raise PerrinError(f"the task {task} needs {' and '.join(missing)}")
    made: Operator = builder(shape, **options)
    return made


def inpaint(shape: Sequence[int], *, mask: Tensor) -> Mask:
    """Fill what is not known: pixels, slices, the surroundings of a picture.

    Args:
        mask: bool, True where it is to be filled, as in `Model.edit`; its axes are the state's last ones.
    """
    return Mask(shape, ~torch.as_tensor(mask).bool())


def gaps(shape: Sequence[int], *, spans: Sequence[tuple[int, int]]) -> Mask:
    """Fill gaps of a signal (C, T).

    Args:
        spans: (start, stop) of every gap, in samples; the stop is the first one that is known again.

    Raises:
        PerrinError: spans outside the signal.
    """
    length = shape[-1]
    keep = torch.ones(length, dtype=torch.bool)
    for start, stop in spans:
        if not 0 <= start < stop <= length:
            raise PerrinError(
                f"the gap {start}:{stop} does not lie in a signal of {length} samples; write start:stop"
            )
        keep[start:stop] = False
    return Mask(shape, keep)


def declip(shape: Sequence[int], *, limit: float, low: float | None = None) -> Clip:
    """Give back what went beyond the limits of a recording.

    Args:
        limit: where values were cut off, in their own units; low: where they were cut off below, -limit without it.
    """
    return Clip(shape, -limit if low is None else low, limit)


def denoise(shape: Sequence[int]) -> Mask:
    """Take the noise away: everything is measured."""
    return Mask(shape, torch.ones(tuple(shape), dtype=torch.bool))


def deblur(shape: Sequence[int], *, std: float = 2.0) -> Blur:
    """Undo a Gaussian blur.

    Args:
        std: of the blur, in pixels.
    """
    return gaussian_blur(shape, std)


def motion(shape: Sequence[int], *, length: int = 9, angle: float = 0.0) -> Blur:
    """Undo the blur of a straight motion.

    Args:
        length: of the way, in pixels; angle: in degrees, counter-clockwise from the rows.
    """
    return motion_blur(shape, length, angle)


def upscale(shape: Sequence[int], *, factor: int = 4) -> Downsample:
    """Super-resolution of what was averaged down by the bicubic kernel.

    Args:
        factor: a whole number that divides every side.
    """
    return Downsample(shape, factor)


def colour(shape: Sequence[int]) -> Grey:
    """Colours for a grey picture."""
    return Grey(shape)


def mri(
    shape: Sequence[int],
    *,
    mask: Tensor | None = None,
    acceleration: float = 4.0,
    centre: float = 0.08,
    pattern: int = 0,
    coils: Tensor | None = None,
) -> KSpace:
    """The image of accelerated magnetic resonance, from some columns of k-space.

    Args:
        mask: bool [H, W] or [W], which frequencies are measured, zero frequency in the middle; without it
            1 / acceleration of the columns are, the middle share `centre` and others at random, by the seed `pattern`.
        coils: sensitivities, complex [coils, H, W].
    """
    kept = cartesian(shape[-1], acceleration, centre, pattern) if mask is None else mask
    return KSpace(shape, kept, coils)


def ct(shape: Sequence[int], *, angles: int | Sequence[float] = 30, span: float = 180.0) -> Radon:
    """Tomography from few directions, or from a limited view.

    Args:
        angles: how many, evenly over `span` degrees from 0, or the angles themselves in degrees.
    """
    if isinstance(angles, int):
        if angles < 1 or not 0 < span <= 360:
            raise PerrinError(
                f"angles = {angles} over {span} degrees: at least 1 over more than 0, at most 360"
            )
        angles = [span * i / angles for i in range(angles)]
    return Radon(shape, angles)


def compressed(shape: Sequence[int], *, share: float = 0.25, pattern: int = 0) -> Compressed:
    """Compressed sensing by random mixtures of all entries.

    Args:
        share: of the entries' number that is measured; pattern: seed of the mixtures.
    """
    if not 0 < share <= 1:
        raise PerrinError(f"share = {share} of what is measured must lie above 0, at most 1")
    return Compressed(shape, max(1, round(share * math.prod(shape))), pattern)

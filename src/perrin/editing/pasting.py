"""A picture edited at the model's size and put back into the whole: outside the mask every pixel stays as it was."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from perrin.editing.masks import sizes
from perrin.errors import PerrinError
from perrin.kinds.images.framing import window
from perrin.kinds.images.pixels import channels_of, with_channels


def pasted(original: np.ndarray, edited: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The original with the edited picture inside the hole.

    Args:
        original: uint8 [H, W] or [H, W, 3]. edited: of the model's size, uint8. hole: bool [H, W].
    """
    edited = with_channels(edited, channels_of(original))
    top, left, part = (0, 0, edited)
    if original.shape[:2] != edited.shape[:2]:
        top, left, part = _enlarged(original.shape[:2], edited)
    whole = original.copy()
    inside = np.zeros_like(hole)
    box = (slice(top, top + part.shape[0]), slice(left, left + part.shape[1]))
    inside[box] = hole[box]
    whole[inside] = part[inside[box]]
    return whole


def check_inside(hole: np.ndarray, size: tuple[int, int], where: str) -> None:
    """Refuse a hole that reaches beyond what a model of this size sees of the picture.

    Raises:
        PerrinError: it does, with what the model sees.
    """
    if hole.shape == size:
        return
    left, top, right, bottom = _whole_pixels(window((hole.shape[0], hole.shape[1]), size))
    outside = hole.copy()
    outside[top:bottom, left:right] = False
    if outside.any():
        raise PerrinError(
            f"the mask reaches beyond what the model sees of '{where}': of {sizes(hole.shape)} pixels the middle "
            f"{right - left} x {bottom - top}, from ({left}, {top}); crop the picture about the mask first"
        )


def _enlarged(size: tuple[int, ...], edited: np.ndarray) -> tuple[int, int, np.ndarray]:
    """(top, left, pixels): the edited picture where the original shows the same."""
    seen = window((size[0], size[1]), edited.shape[:2])
    step = (seen[2] - seen[0]) / edited.shape[1]  # pixels of the original for one of the model
    left, top, right, bottom = _whole_pixels(seen)
    box = [
        (left - seen[0]) / step,
        (top - seen[1]) / step,
        (right - seen[0]) / step,
        (bottom - seen[1]) / step,
    ]
    high, wide = edited.shape[:2]
    inside = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], wide), min(box[3], high))
    image = Image.fromarray(edited).resize((right - left, bottom - top), Image.Resampling.BICUBIC, box=inside)
    return top, left, np.asarray(image)


def _whole_pixels(seen: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    left, top, right, bottom = seen
    return math.ceil(left - 1e-6), math.ceil(top - 1e-6), math.floor(right + 1e-6), math.floor(bottom + 1e-6)

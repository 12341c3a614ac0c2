"""A part of a picture edited at a model's size and put back into the whole: outside the mask every pixel stays."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from perrin.kinds.images.framing import window
from perrin.kinds.images.pixels import channels_of, with_channels

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in the pixels of the whole."""


def pasted(original: np.ndarray, edited: np.ndarray, hole: np.ndarray, seen: Box | None = None) -> np.ndarray:
    """The original with the edited picture inside the hole.

    Args:
        original: uint8 [H, W] or [H, W, 3]. edited: of the model's size, uint8. hole: bool [H, W].
        seen: what the edited picture shows of the original; by default the middle, as `frame` cuts it.
    """
    edited = with_channels(edited, channels_of(original))
    top, left, part = 0, 0, edited
    if seen is not None or original.shape[:2] != edited.shape[:2]:
        high, wide = original.shape[:2]
        top, left, part = _enlarged(edited, seen or window((high, wide), edited.shape[:2]))
    whole = original.copy()
    inside = np.zeros_like(hole)
    box = (slice(top, top + part.shape[0]), slice(left, left + part.shape[1]))
    inside[box] = hole[box]
    whole[inside] = part[inside[box]]
    return whole


def covered(hole: np.ndarray, size: tuple[int, int], seen: Box | None = None) -> np.ndarray:
    """bool of a size (H, W): where any pixel of the hole is, of what is seen of it; by default the middle."""
    box = seen or window((hole.shape[0], hole.shape[1]), size)
    share = Image.fromarray(hole.astype(np.float32)).resize(size[::-1], Image.Resampling.BOX, box=box)
    found: np.ndarray = np.asarray(share) >= 1e-6
    return found


def whole_pixels(seen: Box) -> tuple[int, int, int, int]:
    """The pixels that lie in it to all of their area."""
    left, top, right, bottom = seen
    return math.ceil(left - 1e-6), math.ceil(top - 1e-6), math.floor(right + 1e-6), math.floor(bottom + 1e-6)


def _enlarged(edited: np.ndarray, seen: Box) -> tuple[int, int, np.ndarray]:
    """(top, left, pixels): the edited picture where the original shows the same."""
    high, wide = edited.shape[:2]
    across, down = (seen[2] - seen[0]) / wide, (seen[3] - seen[1]) / high  # pixels of the original for one
    left, top, right, bottom = whole_pixels(seen)
    box = (
        (left - seen[0]) / across,
        (top - seen[1]) / down,
        (right - seen[0]) / across,
        (bottom - seen[1]) / down,
    )
    inside = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], wide), min(box[3], high))
    image = Image.fromarray(edited).resize((right - left, bottom - top), Image.Resampling.BICUBIC, box=inside)
    return top, left, np.asarray(image)

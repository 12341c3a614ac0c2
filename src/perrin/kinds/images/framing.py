"""From an image of any size to one of a given size: one antialiased resize with a crop, then flips.

The image is scaled so that it covers the frame, and what hangs over is cropped: centred, or at a place that
the item's seed chooses. An image that has the right size already is passed on bit for bit.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image

Crop = Literal["centre", "random"]
Flip = Literal["none", "horizontal", "vertical", "both"]


def frame(
    pixels: np.ndarray,
    size: tuple[int, int],
    crop: Crop = "centre",
    flip: Flip = "none",
    seed: int | None = None,
) -> np.ndarray:
    """uint8 `[H, W]` or `[H, W, 3]` to the same with `(H, W) = size`.

    Without a seed nothing is random: centre crop, no flip. Each draw has its own place in the seed's stream,
    so switching the crop on does not change the flips.
    """
    right, down = (0.5, 0.5) if seed is None or crop == "centre" else _draws(seed)[:2]
    across, up = (False, False) if seed is None or flip == "none" else mirrored(flip, seed)
    framed = pixels if pixels.shape[:2] == size else _cover(pixels, size, right, down)
    framed = framed[:, ::-1] if across else framed
    return framed[::-1] if up else framed


def mirrored(flip: Flip, seed: int) -> tuple[bool, bool]:
    """Whether the item of that seed is mirrored left to right, and upside down."""
    across, up = _draws(seed)[2:]
    return flip in ("horizontal", "both") and across < 0.5, flip in ("vertical", "both") and up < 0.5


def _draws(seed: int) -> list[float]:
    # seeds may be negative hashes; NumPy takes none
    return np.random.default_rng(seed & 0xFFFF_FFFF_FFFF_FFFF).random(4).tolist()


def window(
    image: tuple[int, int], size: tuple[int, int], right: float = 0.5, down: float = 0.5
) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of what an image (H, W) shows of itself in a frame of this size, in its pixels."""
    height, width = image
    scale = min(height / size[0], width / size[1])  # source pixels per target pixel
    seen = (scale * size[1], scale * size[0])
    # rounding must not push the box past any border
    left, top = max(0.0, right * (width - seen[0])), max(0.0, down * (height - seen[1]))
    return (left, top, min(left + seen[0], width), min(top + seen[1], height))


def _cover(pixels: np.ndarray, size: tuple[int, int], right: float, down: float) -> np.ndarray:
    height, width = pixels.shape[:2]
    box = window((height, width), size, right, down)
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BICUBIC, box=box))

"""What a model of one size sees of a picture of any: a mask that reaches beyond it is refused."""

from __future__ import annotations

import numpy as np

from perrin.editing.masks import sizes
from perrin.errors import PerrinError
from perrin.kinds.images.framing import window
from perrin.kinds.images.pasting import whole_pixels


def check_inside(hole: np.ndarray, size: tuple[int, int], where: str) -> None:
    """Refuse a hole that reaches beyond what a model of this size sees of the picture.

    Raises:
        PerrinError: it does, with what the model sees.
    """
    if hole.shape == size:
        return
    left, top, right, bottom = whole_pixels(window((hole.shape[0], hole.shape[1]), size))
    outside = hole.copy()
    outside[top:bottom, left:right] = False
    if outside.any():
        raise PerrinError(
            f"the mask reaches beyond what the model sees of '{where}': of {sizes(hole.shape)} pixels the middle "
            f"{right - left} x {bottom - top}, from ({left}, {top}); crop the picture about the mask first"
        )

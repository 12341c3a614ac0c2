r"""What of a photo a latent model is shown when it edits it, and at what size it draws that.

Without a mask the whole. With one a window of the model's own proportions about it: at least of the model's own size, and
twice as wide and as high as the mask, as far as the photo goes; so a small mask in a large photo is filled at the photo's
own resolution. A model of squares alone sees a square. Drawn is a picture of about as many pixels as the model's own, with
sides that it can draw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from perrin.kinds.images.pasting import covered

if TYPE_CHECKING:
    from perrin.systems.latent.codec import LatentCodec

Box = tuple[int, int, int, int]
AROUND = 2
"""Sides of the window for those of what is filled: networks were trained on pictures, and need some to go by."""
LONGEST = 2
"""Sides of a drawn picture for the model's own at most, since some networks know so many positions only."""


@dataclass(frozen=True)
class View:
    """What is seen of a photo.

    Attributes:
        box: (left, top, right, bottom), whole pixels of the photo. size: (height, width) that it is drawn at.
        factor: pixels a latent.
    """

    box: Box
    size: tuple[int, int]
    factor: int

    def of(self, photo: np.ndarray) -> np.ndarray:
        """The photo's pixels in it, of the drawn size; where that is the window's own they stay as they are."""
        left, top, right, bottom = self.box
        part = photo[top:bottom, left:right]
        if part.shape[:2] == self.size:
            return part
        return np.asarray(Image.fromarray(part).resize(self.size[::-1], Image.Resampling.BICUBIC))

    def filled(self, hole: np.ndarray) -> np.ndarray:
        """bool of the drawn size: the whole of each latent that shows anything of the hole."""
        high, wide, f = *self.size, self.factor
        latents = covered(hole, self.size, self.box).reshape(high // f, f, wide // f, f).any((1, 3))
        return latents.repeat(f, 0).repeat(f, 1)


def viewed(
    codec: LatentCodec,
    photo: tuple[int, int],
    hole: np.ndarray | None,
    height: int | None = None,
    width: int | None = None,
) -> View:
    """The view of a photo (H, W) with this hole, bool [H, W]; `height` and `width` are what is drawn where they are given.

    Raises:
        PerrinError: a height or a width that the model cannot draw.
    """
    if codec.square:
        height, width = height or width, width or height
    own = (height or codec.size[0], width or codec.size[1])
    box = _whole(photo, codec.square) if hole is None else _about(hole, own, codec.square)
    sides = own if codec.square else (box[3] - box[1], box[2] - box[0])
    share = min(
        math.sqrt(math.prod(own) / math.prod(sides)),
        *(LONGEST * a / b for a, b in zip(own, sides, strict=True)),
    )
    step = codec.factor * codec.multiple
    near = [max(1, round(share * side / step)) * step for side in sides]
    _, high, wide = codec.shape_of(height, width, (near[0], near[1]))
    return View(box, (high * codec.factor, wide * codec.factor), codec.factor)


def _whole(photo: tuple[int, int], square: bool) -> Box:
    """All of a photo, or the square in its middle."""
    high, wide = (min(photo), min(photo)) if square else photo
    left, top = (photo[1] - wide) // 2, (photo[0] - high) // 2
    return left, top, left + wide, top + high


def _about(hole: np.ndarray, own: tuple[int, int], square: bool) -> Box:
    """The window about a mask; a square unless the mask reaches beyond one, which is squeezed into it then."""
    spans = [np.flatnonzero(hole.any(axis)) for axis in (1, 0)]
    ends = [(int(span[0]), int(span[-1]) + 1) for span in spans]
    times = max(1.0, *(AROUND * (stop - start) / side for (start, stop), side in zip(ends, own, strict=True)))
    lengths = [min(whole, math.ceil(times * side)) for side, whole in zip(own, hole.shape, strict=True)]
    if square:
        lengths = [max(min(lengths), stop - start) for start, stop in ends]
    firsts = [
        min(max(0, (start + stop - length) // 2), whole - length)
        for (start, stop), length, whole in zip(ends, lengths, hole.shape, strict=True)
    ]
    return firsts[1], firsts[0], firsts[1] + lengths[1], firsts[0] + lengths[0]

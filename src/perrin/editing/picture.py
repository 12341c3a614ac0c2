"""A picture (PNG, JPEG, ...) for a model of images: framed as training images are, and so is its mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perrin.editing.masks import sizes
from perrin.editing.writing import save_array
from perrin.errors import PerrinError
from perrin.guide.operators import Operator
from perrin.kinds.images.codec import ImageCodec
from perrin.kinds.images.framing import frame, window
from perrin.kinds.images.gallery import save_images
from perrin.kinds.images.pasting import covered
from perrin.kinds.images.pixels import decode_file, with_channels


@dataclass(frozen=True, eq=False)
class Picture:
    """A form (`form.Form`) of one image; `pixels` uint8 [H, W] or [H, W, 3]."""

    pixels: np.ndarray
    where: str
    codec: ImageCodec
    notes: list[str] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, ...]:
        """(H, W) of the file."""
        found: tuple[int, ...] = self.pixels.shape[:2]
        return found

    def values(self) -> Tensor:
        """Pixels 0..255 of the model's size, [1, C, H, W]."""
        self._tell()
        return self._framed(self.codec.shape[0])

    def measured(self, operator: Operator) -> Tensor:
        """A grey picture of the model's size, or a small one of exactly the right size.

        Raises:
            PerrinError: another size, or a measurement that is no picture.
        """
        shape = operator.measured
        if len(shape) != 3 or operator.complex_valued or shape[0] not in (1, 3):
            kind = "complex k-space" if operator.complex_valued else "numbers"
            raise PerrinError(
                f"'{self.where}' is a picture, and this task restores from {kind} of shape {shape}: give .npy or .npz, or "
                "--simulate to have a clean picture measured"
            )
        if shape[1:] == self.codec.shape[1:]:
            self._tell()
            return self._framed(shape[0])
        if self.size != shape[1:]:
            raise PerrinError(
                f"'{self.where}' is {sizes(self.size)} pixels; for this model of {sizes(self.codec.shape[1:])} the task "
                f"takes pictures of {sizes(shape[1:])}"
            )
        return _values(with_channels(self.pixels, shape[0]))

    def filled(self, hole: np.ndarray) -> Tensor:
        """bool [H, W] of the model's size: where any pixel of the hole is."""
        size = self.codec.shape[1:]
        if hole.shape == size:
            return torch.from_numpy(hole)
        return torch.from_numpy(covered(hole, size))

    def write(self, name: str, values: Tensor, folder: Path, made: Mapping[str, Any]) -> list[Path]:
        """NAME.png; deviations as NAME.npy."""
        if name == "std":
            return [save_array(values[0], folder / f"{name}.npy", made)]
        pixels = values[0].round().clamp(0, 255).to(torch.uint8).movedim(0, -1).numpy()
        image = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        return save_images([image], folder / f"{name}.png", [made])

    def stripped(self) -> None:
        """Nothing of the file but its pixels is read."""
        return

    def _framed(self, channels: int) -> Tensor:
        return _values(frame(with_channels(self.pixels, channels), self.codec.shape[1:]))

    def _tell(self) -> None:
        size = self.codec.shape[1:]
        if self.size != size:
            step = min(self.size[0] / size[0], self.size[1] / size[1])
            left, top, right, bottom = window((self.size[0], self.size[1]), size)
            cut = right - left < self.size[1] - 0.5 or bottom - top < self.size[0] - 0.5
            self.notes.append(
                f"'{self.where}' is {sizes(self.size)} pixels and the model's images are {sizes(size)}: "
                f"{'cropped to the middle and ' if cut else ''}{'reduced' if step > 1 else 'enlarged'} to that"
            )


def open_picture(path: Path, codec: ImageCodec) -> Picture:
    """The picture of a file.

    Raises:
        PerrinError: no picture, or one that cannot be read.
    """
    try:
        return Picture(decode_file(path.read_bytes()), path.name, codec)
    except (PerrinError, OSError) as error:
        raise PerrinError(f"cannot read '{path.name}' as a picture: {error}") from error


def _values(pixels: np.ndarray) -> Tensor:
    found = torch.from_numpy(pixels.astype(np.float64))
    return found[None, None] if found.dim() == 2 else found.movedim(-1, 0)[None]

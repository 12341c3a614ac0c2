"""Images <-> states: uint8 pixels v of 0..255 to float32 `x = v / 127.5 - 1` in [-1, 1], shape (C, H, W).

`decode(encode(v)) = v` exactly for images of the codec's size. Per item, `log |dx/dv| = -C H W log 127.5`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor

from perrin.contracts import Batch, Dataset, Item, Lattice
from perrin.errors import PerrinError
from perrin.kinds.animation import save_pictures
from perrin.kinds.conditions import label_condition
from perrin.kinds.images import gallery
from perrin.kinds.images.framing import Crop, Flip, frame, mirrored
from perrin.kinds.images.pixels import channels_of, with_channels
from perrin.kinds.labels import find_label
from perrin.kinds.spread import sigma_data
from perrin.registry import unknown

if TYPE_CHECKING:
    from PIL.Image import Image

HALF_RANGE = 127.5


@dataclass(frozen=True)
class ImageCodec:
    """Codec of the kind `images` (`contracts.Codec`).

    Args:
        shape: (C, H, W) of a state, C = 1 or 3.
        classes: class names, index = label; None for data without labels.
        sigma_data: standard deviation of the states.
        crop: where an image is cropped while training, when its sides have another ratio: "centre", "random".
        flip: mirrored half of the time while training: "none", "horizontal", "vertical", "both".
    """

    shape: tuple[int, int, int]
    classes: list[str] | None
    sigma_data: float
    crop: Crop = "centre"
    flip: Flip = "none"

    kind: ClassVar[str] = "images"

    def __post_init__(self) -> None:
        for option, value, allowed in (
            ("crop", self.crop, get_args(Crop)),
            ("flip", self.flip, get_args(Flip)),
        ):
            if value not in allowed:
                raise unknown(option, value, allowed)

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        *,
        size: int | tuple[int, int] | None = None,
        channels: Literal[1, 3] | None = None,
        crop: Crop = "centre",
        flip: Flip = "none",
        labels: bool = True,
    ) -> Self:
        """Choose size and channels from the images, and measure sigma_data.

        Args:
            labels: False makes states without a condition; the data keep their labels, for splits and judging.
            size: side of the square state, or (height, width); default: the size that all images have.
            channels: 1 or 3, others are converted; default: the channels that all images have.

        Raises:
            PerrinError: images of several sizes or mixed channels without a decision, an empty dataset.
        """
        if not len(dataset):
            raise PerrinError("the dataset is empty")
        shapes = _shapes(dataset)
        height, width = _size(shapes, size)
        shape = (_channels(shapes, channels, dataset), height, width)
        classes = dataset.classes if labels else None
        codec = cls(shape, classes, 1.0, crop, flip)
        spread = sigma_data(lambda items: codec.encode(items).state, dataset)
        return cls(shape, classes, spread, crop, flip)

    @property
    def lattice(self) -> Lattice:
        """The states of the pixel values 0..255."""
        low, step = torch.tensor([-1.0, 1 / HALF_RANGE], dtype=torch.float64)
        return Lattice(low, step, 256)

    @property
    def affine(self) -> tuple[float, float]:
        """Pixels are 127.5 + 127.5 x."""
        return HALF_RANGE, HALF_RANGE

    @property
    def categories(self) -> None:
        """None: states are continuous."""
        return None

    @property
    def augments(self) -> bool:
        """Whether seeds change what `encode` gives."""
        return self.crop == "random" or self.flip != "none"

    @property
    def augments_states(self) -> bool:
        """Whether `augmented` does all that seeds do in `encode`: flips, but no crops."""
        return self.crop == "centre"

    def augmented(self, state: Tensor, seeds: Sequence[int]) -> Tensor:
        """States [B, C, H, W] that were encoded without seeds, flipped as each item's seed says."""
        chosen = torch.tensor([mirrored(self.flip, seed) for seed in seeds])
        for axis, flipped in zip((-1, -2), chosen.reshape(-1, 2, 1, 1, 1).unbind(1), strict=True):
            state = torch.where(flipped, state.flip(axis), state) if bool(flipped.any()) else state
        return state

    def encode(self, items: Sequence[Item], seeds: Sequence[int] | None = None) -> Batch:
        """uint8 images of any size to states `[B, C, H, W]`; crop and flip follow each item's seed."""
        chosen = seeds if seeds is not None else [None] * len(items)
        pixels = [self._framed(item, seed) for item, seed in zip(items, chosen, strict=True)]
        values = torch.from_numpy(np.stack(pixels)).movedim(-1, 1) if pixels else torch.empty(0, *self.shape)
        return Batch(self.normalise(values.contiguous()), label_condition(items, self.classes))

    def _framed(self, item: Item, seed: int | None) -> np.ndarray:
        pixels = item["value"]
        if (
            pixels.dtype != np.uint8
            or pixels.ndim not in (2, 3)
            or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3))
        ):
            raise PerrinError(
                f"{item['name']}: an image is uint8 [height, width] or [height, width, 3], "
                f"not {pixels.dtype} {list(pixels.shape)}"
            )
        pixels = pixels[..., 0] if pixels.shape[2:] == (1,) else pixels
        framed = frame(with_channels(pixels, self.shape[0]), self.shape[1:], self.crop, self.flip, seed)
        return framed.reshape(*self.shape[1:], self.shape[0])

    @staticmethod
    def normalise(values: Tensor) -> Tensor:
        """Pixel values 0..255 to [-1, 1]; float64 stays float64, all else becomes float32."""
        return (values if values.dtype == torch.float64 else values.float()) / HALF_RANGE - 1

    def decode(self, state: Tensor) -> list[np.ndarray]:
        """States `[B, C, H, W]` to uint8 `[H, W, 3]`, grey ones to `[H, W]`; rounded and clipped."""
        if tuple(state.shape[1:]) != self.shape:
            raise PerrinError(f"states have shape {tuple(state.shape[1:])}, this codec decodes {self.shape}")
        state = state.detach().cpu()
        bad = (~torch.isfinite(state.flatten(1)).all(1)).nonzero().flatten().tolist()
        if bad:
            raise PerrinError(f"state {bad[0]} holds NaN or infinity ({len(bad)} of {len(state)} do)")
        pixels = ((state.double() + 1) * HALF_RANGE).round().clamp(0, 255).to(torch.uint8).movedim(1, -1)
        return [image[..., 0] if self.shape[0] == 1 else image for image in pixels.contiguous().numpy()]

    def save(
        self,
        decoded: Sequence[np.ndarray],
        path: Path,
        provenance: Sequence[dict[str, Any]],
        grid: bool = True,
    ) -> list[Path]:
        """Write PNG files with their provenance inside; see `gallery.save_images`."""
        return gallery.save_images(decoded, Path(path), provenance, self.classes, grid)

    def picture(self, decoded: Sequence[np.ndarray], columns: int | None = None) -> Image | None:
        """A grid of all images, small ones enlarged; None for no images."""
        return gallery.grid(decoded, columns) if len(decoded) else None

    def save_trajectory(
        self, states: Sequence[Tensor], path: Path, provenance: Sequence[dict[str, Any]]
    ) -> Path:
        """Write states [B, *shape], in the order in which they came about, as an animated GIF."""
        return save_pictures(self, states, path, provenance)

    def label(self, name: str | int) -> int:
        """The index of a class by its name, or by its index; the nearest name in the error."""
        return find_label(self.classes, name)

    def log_det(self) -> float:
        """`log |dx/dv|` per image, in nats."""
        return -math.prod(self.shape) * math.log(HALF_RANGE)

    def config(self) -> dict[str, Any]:
        """JSON-able, complete."""
        return {"kind": self.kind, **asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The codec that wrote this `config()`."""
        known = [field.name for field in fields(cls)]
        for key in config:
            if key not in (*known, "kind"):
                raise unknown("codec option", key, known)
        channels, height, width = config["shape"]
        return cls(
            **{**{key: config[key] for key in config if key != "kind"}, "shape": (channels, height, width)}
        )


def _shapes(dataset: Dataset) -> np.ndarray:
    """[n, 3] height, width, channels: known to this kind's own datasets, read from any other."""
    known = getattr(dataset, "shapes", None)
    if known is not None:
        return np.asarray(known)
    values = (dataset[i]["value"] for i in range(len(dataset)))
    return np.array([[*value.shape[:2], channels_of(value)] for value in values])


def _size(shapes: np.ndarray, size: int | tuple[int, int] | None) -> tuple[int, int]:
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        if height < 1 or width < 1:
            raise PerrinError(f"size {size!r} is not a size; write a number of pixels, or [height, width]")
        return int(height), int(width)
    sizes = np.unique(shapes[:, :2], axis=0)
    if len(sizes) > 1:
        by_area = sizes[np.argsort(sizes.prod(axis=1), kind="stable")]
        (low_h, low_w), (top_h, top_w) = by_area[0], by_area[-1]
        raise PerrinError(
            f"the images have {len(sizes):,} sizes, from {low_w}x{low_h} to {top_w}x{top_h}; write "
            f"the one to resize and crop them to, such as size: {_power_of_two(int(sizes.min()))}"
        )
    return int(sizes[0, 0]), int(sizes[0, 1])


def _power_of_two(side: int) -> int:
    return 1 << max(3, min(8, side.bit_length() - 1))


def _channels(shapes: np.ndarray, channels: int | None, dataset: Dataset) -> int:
    if channels not in (None, 1, 3):
        raise PerrinError(f"channels: {channels!r} is not known; write 1 (grey) or 3 (colour)")
    if channels is not None:
        return channels
    grey = np.flatnonzero(shapes[:, 2] == 1)
    if 0 < len(grey) < len(shapes):
        rarer = grey if 2 * len(grey) <= len(shapes) else np.flatnonzero(shapes[:, 2] != 1)
        raise PerrinError(
            f"{len(grey):,} images are grey and {len(shapes) - len(grey):,} are colour (such as "
            f"'{dataset[int(rarer[0])]['name']}'); write channels: 3 or channels: 1 to convert them"
        )
    return 1 if len(grey) else 3

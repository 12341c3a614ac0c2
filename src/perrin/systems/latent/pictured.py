"""What a sample is told in pictures: one to begin at, a hole to fill in it, a drawing for a ControlNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from perrin.errors import PerrinError
from perrin.kinds.images.framing import frame
from perrin.kinds.images.pixels import with_channels
from perrin.systems.latent.blending import CLEAN, HOLE, Blended
from perrin.systems.latent.drawings import drawings, said, scales
from perrin.systems.latent.given import Given, each

if TYPE_CHECKING:
    from perrin.systems.latent.codec import LatentCodec

OUTSIDE = "outside"


@dataclass
class Pictured:
    """What the pictures come to.

    Attributes:
        condition: for the network and `Blended`. start: clean latents [n, C, h, w] to begin at, with noise; None: at noise.
        steer: puts `Blended` around a denoiser. about: for each sample, as `Outline.about`.
    """

    condition: dict[str, Tensor] = field(default_factory=dict)
    start: Tensor | None = None
    steer: type[nn.Module] | None = None
    about: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Wanted:
    """The pictures of n samples, read; see `LatentCodec.outline`."""

    n: int
    image: list[Given] | None
    mask: list[Given] | None
    control: list[list[Given]]  # of each ControlNet
    control_scale: list[float]
    begin: bool | None

    @property
    def size(self) -> Given | None:
        """The picture whose size the samples have where nothing else is said."""
        return next((found[0] for found in (self.image, *self.control) if found), None)


def read(
    codec: LatentCodec, n: int, image: Any, mask: Any, control: Any, scale: Any, begin: bool | None
) -> Wanted:
    """The pictures, read.

    Raises:
        PerrinError: pictures that the model has no use for, or lacks; a mask of another size than the image's.
    """
    if codec.inpaints and (image is None or mask is None):
        raise PerrinError("this model was trained to fill holes in pictures: give image and mask")
    if image is None and (mask is not None or begin is not None):
        raise PerrinError(f"{'mask' if mask is not None else 'begin'} is of an image; give that too")
    found = Wanted(
        n,
        None if image is None else each(n, image, "image"),
        None if mask is None else each(n, mask, "mask"),
        drawings(codec.controls, n, control),
        scales(codec.controls, scale),
        begin,
    )
    for one, hole in zip(found.image or [], found.mask or [], strict=False):
        if isinstance(hole.value, Tensor) or one.size(codec.factor) != hole.size(1):
            (height, width), other = one.size(codec.factor), hole.size(codec.factor)
            raise PerrinError(
                f"the mask is of {other[1]} x {other[0]} pixels, the image of {width} x {height}"
            )
    return found


def told(codec: LatentCodec, wanted: Wanted, shape: tuple[int, int, int]) -> Pictured:
    """What the pictures come to, of samples whose latents are of `shape`."""
    made = Pictured(about=[{} for _ in range(wanted.n)])
    size = (shape[1] * codec.factor, shape[2] * codec.factor)
    if wanted.control:
        seen = [_unique(own, lambda one: one.pixels(size, "control picture")) for own in wanted.control]
        made.condition["control"] = torch.stack(seen, 1)
        made.condition["control_scale"] = torch.tensor([wanted.control_scale] * wanted.n)
        for one, facts in zip(made.about, said(wanted.control, wanted.control_scale), strict=True):
            one |= facts
    if wanted.image is None:
        return made
    begins = wanted.mask is None if wanted.begin is None else wanted.begin
    _add(made, "image", wanted.image)
    if begins or not codec.inpaints:
        clean = _unique(wanted.image, lambda one: _latents(codec, one, shape))
        made.start = clean if begins else None
    if wanted.begin is not None:
        for one in made.about:
            one["begin"] = wanted.begin
    if wanted.mask is not None:
        _add(made, "mask", wanted.mask)
        holes = torch.stack([_hole(one, size) for one in wanted.mask])
        small = interpolate(holes, shape[1:])
        if codec.inpaints:
            pixels = _unique(wanted.image, lambda one: one.pixels(size, "image of a model that fills holes"))
            outside = codec.latents((2 * pixels - 1) * (holes < 0.5))
            made.condition |= {HOLE: small, OUTSIDE: outside}
        else:
            made.condition |= {HOLE: small, CLEAN: clean}
            made.steer = Blended
    return made


def _add(made: Pictured, name: str, pictures: Sequence[Given]) -> None:
    for about, one in zip(made.about, pictures, strict=True):
        about[name] = one.about


def _unique(pictures: Sequence[Given], make: Any) -> Tensor:
    """[n, ...], each picture made once."""
    done: dict[int, Tensor] = {}
    for one in pictures:
        if id(one) not in done:
            done[id(one)] = make(one)
    return torch.stack([done[id(one)] for one in pictures])


def _latents(codec: LatentCodec, one: Given, shape: tuple[int, int, int]) -> Tensor:
    """float32 [C, h, w]."""
    if not isinstance(one.value, Tensor):
        size = (shape[1] * codec.factor, shape[2] * codec.factor)
        return codec.latents(2 * one.pixels(size, "image")[None] - 1)[0].cpu()
    if tuple(one.value.shape) != tuple(shape):
        raise PerrinError(f"the latents have shape {tuple(one.value.shape)}, those of the samples {shape}")
    return one.value.float()


def _hole(one: Given, size: tuple[int, int]) -> Tensor:
    """float32 [1, H, W], 1 where the mask is light: what is filled."""
    assert not isinstance(one.value, Tensor)
    hole = frame(with_channels(one.value, 1), size) >= 128
    if not hole.any():
        raise PerrinError("the mask fills nothing: it is dark everywhere; what is to be filled is white")
    return torch.from_numpy(hole)[None].float()

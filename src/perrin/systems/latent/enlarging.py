r"""Networks that enlarge a picture: they are told of it at the size of their own states, with noise on it.

    low = alpha x + sigma n,    n ~ N(0, I),    and of the noise's level

The noise hides what the model before does otherwise than photographs (noise conditioning augmentation; Ho et al. 2022,
section 4.2); n is a function of a sample's seed and index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from perrin.errors import PerrinError
from perrin.kinds.images.pixels import with_channels
from perrin.process import levels
from perrin.process.schedulebook.table import Discrete
from perrin.sample.noise import Key, normals, seed_of, seed_tensor
from perrin.samples import Samples
from perrin.systems.latent.following import Source

if TYPE_CHECKING:
    from perrin.systems.latent.codec import LatentCodec

LOW, NOISE_LEVEL = "low", "noise_level"
"""Entries of a condition: the small picture [B, 3, h, w], and how much noise is on it, int64 [B]."""


@dataclass(frozen=True)
class Enlarging:
    """How a network is told of the picture that it enlarges (`following.Follows`).

    Args:
        chain: of the noise on it; None: there is none. usual, most: noise levels, times of the chain: the one without
            another, and the last.
        scale: how many times as high and wide samples are. multiple: what their sides must be divisible by where a model
            draws the small pictures; 0: by the scale.
    """

    chain: Discrete | None
    usual: int = 0
    most: int = 0
    scale: int = 4
    multiple: int = 0

    argument: ClassVar[str] = "image"
    lacking: ClassVar[str] = (
        "this model enlarges pictures: give image, or put the model that draws them before it, after(BASE)"
    )

    def behind(self, small: Sequence[int], step: int, large: Sequence[int], own: bool) -> Self:
        """For pictures of a model before, whose own are `small` (height, width), with sides divisible by `step`.

        Args:
            large: of the samples that the network was trained to draw. own: whether that settles the scale.

        Raises:
            PerrinError: sizes of which one is no multiple of the other.
        """
        scale = large[0] // small[0] if own else self.scale
        if own and (scale < 2 or [side * scale for side in small] != list(large)):
            raise PerrinError(
                f"a model of {_named(small)} pixels does not fit before one that draws {_named(large)}: it must be a "
                "whole number of times smaller"
            )
        return replace(self, scale=scale, multiple=step * scale)

    def asked(self, height: int | None, width: int | None) -> dict[str, Any]:
        """The size of pictures that become so high and wide."""
        sides = {"height": height, "width": width}
        step = self.multiple or self.scale
        return {name: self._smaller(name, side, step) for name, side in sides.items() if side is not None}

    def source(self, codec: LatentCodec, found: Source, height: int | None, width: int | None) -> Tensor:
        """Small pictures [n, 3, h, w] in [-1, 1], float32."""
        if isinstance(found, Samples):
            return 2 * _drawn(found) - 1
        own = found[0].size(1)
        size = (
            own[0] if height is None else self._smaller("height", height, self.scale),
            own[1] if width is None else self._smaller("width", width, self.scale),
        )
        made = {id(one): one.pixels(size, "image that is enlarged") for one in found}
        return 2 * torch.stack([made[id(one)] for one in found]) - 1

    def size(self, source: Tensor) -> tuple[int, int]:
        """(height, width) in pixels of what becomes of small pictures."""
        return source.shape[2] * self.scale, source.shape[3] * self.scale

    def told(
        self, source: Tensor, shape: tuple[int, int, int], keys: Sequence[Key], noise_level: int | None
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The small pictures with noise on them, at the size of states of `shape`, and the noise's level."""
        if self.chain is None:
            return {LOW: _without_noise(source, shape, noise_level)}, {}
        level = self.usual if noise_level is None else noise_level
        if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= self.most:
            raise PerrinError(f"noise_level = {level!r} must be a whole number from 0 to {self.most}")
        wide = interpolate(source, shape[1:], mode="bilinear", align_corners=True)
        seeds = seed_tensor([seed_of(key, LOW, "condition") for key in keys])
        at = self.chain.level(torch.tensor(float(level), dtype=torch.float64))
        low = float(levels.alpha(at)) * wide + float(levels.sigma(at)) * normals(seeds, wide.shape[1:])
        return {LOW: low, NOISE_LEVEL: torch.full((len(keys),), level)}, {NOISE_LEVEL: level}

    def _smaller(self, name: str, side: int, step: int) -> int:
        if side < step or side % step:
            nearest = max(step, round(side / step) * step)
            raise PerrinError(f"{name} = {side} is not a multiple of {step}; the nearest is {nearest}")
        return side // self.scale


def _without_noise(source: Tensor, shape: tuple[int, int, int], noise_level: int | None) -> Tensor:
    """Small pictures at the size of states of `shape`, smooth."""
    if noise_level is not None:
        raise PerrinError("this model enlarges pictures as they are; it has no noise_level")
    return interpolate(source, shape[1:], mode="bicubic", align_corners=False, antialias=True)


def _drawn(samples: Samples) -> Tensor:
    """Pictures of a model before, float32 [n, 3, h, w] in [0, 1]: not rounded, where their codec can say them so."""
    images: Any = getattr(samples.codec, "images", None)
    if images is not None:
        found: Tensor = images(samples.state)
        return found.float().cpu()
    pixels = np.stack([with_channels(one, 3) for one in samples.decoded])
    return torch.from_numpy(pixels).movedim(-1, 1).float() / 255


def _named(size: Sequence[int]) -> str:
    return f"{size[1]} x {size[0]}"

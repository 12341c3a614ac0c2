"""Models whose levels move with the size of the picture, at the size that is asked for; see `noise_tables.BySize`."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from perrin.design import Sampling
from perrin.systems.latent.given import given

if TYPE_CHECKING:
    from perrin.systems.latent.codec import LatentCodec
    from perrin.systems.latent.folder_model import Pretrained
    from perrin.systems.latent.noise_tables import BySize


def of_size(model: Pretrained, asked: Mapping[str, Any]) -> Pretrained:
    """The model, sampled as fits the `height` and `width` in what is asked, or those of its `image`; nothing is copied."""
    if model.by_size is None:
        return model
    codec: Any = model.codec
    made = copy(model)
    made.sampling = moved(model.sampling, model.by_size, codec, asked)
    return made


def moved(own: Sampling, by_size: BySize, codec: LatentCodec, asked: Mapping[str, Any]) -> Sampling:
    """The sampling with the shift of a size; of the model's own where nothing is asked."""
    _, high, wide = codec.shape_of(asked.get("height"), asked.get("width"), _size(codec, asked))
    tokens = (high // codec.multiple) * (wide // codec.multiple)
    return replace(own, schedule={**own.schedule, "shift": by_size.shift(tokens)})


def _size(codec: LatentCodec, asked: Mapping[str, Any]) -> tuple[int, int]:
    """(height, width) in pixels where they are not asked for."""
    picture = asked.get("image")
    if picture is None or (asked.get("height") is not None and asked.get("width") is not None):
        return codec.shape[1] * codec.factor, codec.shape[2] * codec.factor
    several = isinstance(picture, list | tuple) or getattr(picture, "ndim", 0) == 4
    return given(picture[0] if several else picture, "image").size(codec.factor)

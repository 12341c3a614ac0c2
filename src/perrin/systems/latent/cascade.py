"""Cascades (Ho et al. 2022): a model of small pictures, and after it those that enlarge them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from perrin.errors import PerrinError
from perrin.model import Model
from perrin.process.state import single
from perrin.systems.latent.before import Before
from perrin.systems.latent.borrowing import Borrowed
from perrin.systems.latent.codec import LatentCodec
from perrin.systems.latent.enlarging import Enlarging
from perrin.systems.latent.sharing import copied

if TYPE_CHECKING:
    from perrin.systems.latent.folder_model import Pretrained

BASE = "base"


def after(model: Pretrained, base: Model) -> Pretrained:
    """The model behind another; see `Pretrained.after`."""
    codec = model.codec
    if not isinstance(codec, LatentCodec) or not isinstance(codec.follows, Enlarging):
        raise PerrinError(
            f"{model.folder} enlarges no pictures: after(BASE) is for models that do, such as IF's second stage"
        )
    if codec.before is not None:
        raise PerrinError(f"{model.folder} comes after {codec.before.model.folder} already")
    small, step = _size(base)
    follows = codec.follows.behind(small, step, codec.size, codec.vae is None)
    follows = replace(follows, multiple=math.lcm(follows.multiple, codec.factor * codec.multiple))
    for side in small:
        if side * follows.scale % follows.multiple:
            raise PerrinError(
                f"pictures of {base.folder} of {side} pixels become {side * follows.scale} here, which must be a multiple "
                f"of {follows.multiple}"
            )
    made = copied(model, _said(base))
    assert isinstance(made.codec, LatentCodec)
    before, text = Before(base, BASE), made.codec.text
    if isinstance(text, Borrowed):
        text = replace(text, before=before)
    made.codec = replace(made.codec, follows=follows, before=before, text=text)
    return made


def _said(base: Model) -> dict[str, Any]:
    """What `changes` needs to have the base again."""
    found = {"after": None if base.folder is None else str(base.folder), "hash": base.hash}
    precision = base.about.get("dtype")
    return {
        **found,
        "changes": base.about.get("changes", []),
        **({} if precision is None else {"dtype": precision.removeprefix("torch.")}),
    }


def _size(base: Model) -> tuple[tuple[int, int], int]:
    """(height, width) in pixels of a base's own pictures, and what the sides of others must be divisible by."""
    codec = base.codec
    if codec.kind != "images":
        raise PerrinError(f"{base.folder} draws {codec.kind}; what is enlarged are pictures")
    if not isinstance(codec, LatentCodec):
        _, high, wide = single(codec.shape)
        return (high, wide), 1
    if codec.before is None or not isinstance(codec.follows, Enlarging):
        return codec.size, codec.factor * codec.multiple
    (high, wide), _ = _size(codec.before.model)
    return (codec.follows.scale * high, codec.follows.scale * wide), codec.follows.multiple

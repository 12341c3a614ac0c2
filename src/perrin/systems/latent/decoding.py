r"""The pictures that latents are decoded to, for what is measured of pictures.

    v = D(z / s + b),    pixels = 127.5 + 127.5 v

A derivative goes back through the autoencoder for one picture at a time; its own weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from perrin.contracts import Seen
from perrin.errors import PerrinError
from perrin.kinds.images.codec import ImageCodec
from perrin.systems.latent.offloading import visits_of
from perrin.systems.latent.scales import settled

if TYPE_CHECKING:
    from perrin.systems.latent.codec import LatentCodec


def pictures_of(codec: LatentCodec, height: int | None, width: int | None) -> ImageCodec:
    """The codec of decoded pictures of so many pixels, of the model's own size by default.

    Raises:
        PerrinError: sizes that the model cannot draw, with the nearest; a model that is told of a picture besides.
    """
    if codec.inpaints or codec.controls or codec.follows is not None:
        what = "fills holes" if codec.inpaints else "follows a picture"
        raise PerrinError(
            f"this model {what}, so that it says nothing of pictures alone; restore with the model that it is made from"
        )
    _, high, wide = codec.shape_of(height, width, codec.size)
    channels = codec.shape[0] if codec.vae is None else 3
    return ImageCodec((channels, high * codec.factor, wide * codec.factor), None, codec.sigma_data)


def seen(codec: LatentCodec, guidance: float | None, usual: float, wanted: Mapping[str, Any]) -> Seen:
    """What samples are of that are told `wanted`: prompt, negative, label, height, width, of which none is needed.

    Raises:
        PerrinError: as `pictures_of`; words that the model does not know, guidance towards nothing, weights that are not
            where they are computed with.
    """
    pictures = pictures_of(codec, wanted.get("height"), wanted.get("width"))
    if isinstance(codec.vae, nn.Module) and visits_of(codec.vae) is not None:
        raise PerrinError(
            "restoration goes backwards through the networks, whose weights must stay for that: open the model without "
            "offload, with tiles or in bfloat16 if memory is short"
        )
    asked = settled(codec.distilled, {**wanted, "guidance": guidance})
    weight = asked.pop("guidance")
    aimless = asked.get("prompt") is None and asked.get("label") in (None, "none", -1)
    if aimless and (asked.get("negative") is not None or weight not in (None, 1)):
        raise PerrinError(
            "guidance and negative lead away from what a restoration is of: say that by prompt or label"
        )
    if codec.classes is None and asked.get("label") in ("none", -1):
        del asked["label"]
    outline = replace(codec, wordless=True).outline(1, 0, 0, **asked)
    if aimless:
        outline = replace(outline, condition=codec.null(outline.condition) or {})
    if weight is None:
        weight = 1.0 if aimless or codec.distilled is not None else usual

    def decode(states: Tensor) -> Tensor:
        return codec.values(states).to(states)

    return Seen(pictures, outline, float(weight), None if codec.vae is None else decode)

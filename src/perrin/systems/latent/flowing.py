"""Codes of pictures at the noise end of the probability flow, and back, under a text or a class.

Of a network of noise by first-order steps it is DDIM's inversion (Song, Meng and Ermon 2021, arXiv:2010.02502).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from perrin.errors import PerrinError
from perrin.likelihood.probability_flow import Endpoint

if TYPE_CHECKING:
    from perrin.systems.latent.codec import LatentCodec
    from perrin.systems.latent.folder_model import Pretrained


def along_flow(
    model: Pretrained,
    codec: LatentCodec,
    carry: Callable[..., Endpoint],
    state: Tensor,
    label: Any,
    options: dict[str, Any],
) -> Endpoint:
    """Carry states [B, C, h, w] along the flow of the unguided model.

    Args:
        options: `prompt`, one for all or one each, of models of texts; the rest is for `carry`.

    Raises:
        PerrinError: a model of texts without a prompt, one that follows a picture or another model.
    """
    if codec.follows is not None:
        raise PerrinError(
            "this model follows a picture or another model, which its flow would be told of: encode and decode are not "
            "offered"
        )
    told = {"prompt": options.pop("prompt", None)}
    told["label"] = "none" if label is None and codec.classes else label
    height, width = (side * codec.factor for side in state.shape[2:])
    outline = codec.outline(len(state), 0, 0, height=height, width=width, **told)
    denoiser = model.denoiser if outline.steer is None else outline.steer(model.denoiser)
    condition = {name: value.to(model.device) for name, value in outline.condition.items()}
    return carry(denoiser, state.to(model.device), condition=condition or None, **options)

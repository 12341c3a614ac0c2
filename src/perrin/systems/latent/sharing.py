"""A model in new modules around the same weights, so that a change of one leaves the other as it was."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from perrin.systems.latent.opening import Pretrained


def copied(model: Pretrained, change: dict[str, Any]) -> Pretrained:
    """The same model, whose weights take no memory until they are replaced or moved.

    Args:
        change: what will be done to it, JSON-able; see `changes`.
    """
    memo: dict[int, Any] = {}
    for part in (model.denoiser.net, *model.parts):
        for (
            weight
        ) in part.parameters():  # a new parameter of the same numbers: moving one model leaves the other
            memo[id(weight)] = nn.Parameter(weight.data, requires_grad=False)
        memo |= {id(buffer): buffer for buffer in part.buffers()}
    module, codec, parts = deepcopy((model.denoiser, model.codec, model.parts), memo)
    about = {**model.about, "changes": [*model.about.get("changes", []), change]}
    made = type(model)(model.design, module, codec, model.sampling, model.folder, about)
    made.parts = parts
    return made

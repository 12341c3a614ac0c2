"""A model in new modules around the same weights, so that a change of one leaves the other as it was."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from perrin.systems.latent.folder_model import Pretrained


def copied(model: Pretrained, change: dict[str, Any]) -> Pretrained:
    """The same model, whose weights take no memory until they are replaced or moved.

    Args:
        change: what will be done to it, JSON-able; see `changes`.
    """
    if model.visits is not None:
        model.visits.end()  # so that weights are where they belong
    memo: dict[int, Any] = {}
    for part in (model.denoiser.net, *model.parts):
        for (
            weight
        ) in part.parameters():  # a new parameter of the same numbers: moving one model leaves the other
            memo[id(weight)] = nn.Parameter(weight.data, requires_grad=False)
        memo |= {id(buffer): buffer for buffer in part.buffers()}
    before = getattr(model.codec, "before", None)
    if before is not None:  # it draws by itself, wherever it is: one for both
        memo[id(before)] = before
    module, codec, parts = deepcopy((model.denoiser, model.codec, model.parts), memo)
    about = {**model.about, "changes": [*model.about.get("changes", []), change]}
    made = type(model)(model.design, module, codec, model.sampling, model.folder, about)
    made.parts, made.by_size = parts, model.by_size
    made.visits, made.placed = model.visits, model.placed
    return made

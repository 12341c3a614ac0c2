r"""Guidance that is part of a network's weights, which is told its scale (Meng et al. 2023, arXiv:2210.03142).

    mean(x, text, scale)  ~  mean(x) + scale (mean(x, text) - mean(x))    in one evaluation

Of such a model `guidance` is the scale. Guidance by two evaluations, away from a negative prompt, is `true_guidance`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perrin.errors import PerrinError

SCALE = "scale"
"""Entry of a condition, [B]."""
EMBEDDED = "embedded_guidance"
"""The scale in provenance, where `guidance` is that of two evaluations, as of any model."""


@dataclass(frozen=True)
class Distilled:
    """Guidance in the weights.

    Attributes:
        usual: the scale where none is asked for; None: the network takes none.
    """

    usual: float | None


def settled(own: Distilled | None, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What `Model.sample` and the codec's `outline` are asked; see `Pretrained.sample`.

    Raises:
        PerrinError: true guidance without a negative prompt or a weaker model, or the other way round.
    """
    told = dict(asked)
    true = told.pop("true_guidance", None)
    if own is None:
        if true is not None:
            raise PerrinError("true_guidance is for networks with guidance in their weights; give guidance")
        return told
    if EMBEDDED in told:  # a sample that is made again from what it says of itself
        return told
    if (true is None) != (told.get("negative") is None and told.get("weaker") is None):
        raise PerrinError(
            "this network has guidance in its weights: true_guidance is away from a negative prompt; give both, or neither "
            "(or a weaker model in the prompt's place)"
        )
    scale = told.pop("guidance", None)
    return {**told, EMBEDDED: scale, "guidance": true}


def of_scale(
    own: Distilled | None, n: int, scale: float | Sequence[float | None] | None
) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """The condition of n samples, and what provenance says of each.

    Raises:
        PerrinError: a scale for a network that takes none, or another number of them.
    """
    if own is None:
        if scale is not None:
            raise PerrinError(f"{EMBEDDED} is for networks with guidance in their weights; give guidance")
        return {}, [{}] * n
    scales = list(scale) if isinstance(scale, Sequence) else [scale] * n
    if len(scales) != n:
        raise PerrinError(f"{len(scales)} guidance scales for {n} samples; give one, or one each")
    if own.usual is None:
        for one in scales:
            if one not in (None, 0, 1):  # which are both said for none
                raise PerrinError(
                    f"guidance = {one}: this network was distilled without a scale; leave guidance out"
                )
        return {}, [{EMBEDDED: None}] * n
    found = [own.usual if one is None else float(one) for one in scales]
    return {SCALE: torch.tensor(found)}, [{EMBEDDED: one} for one in found]

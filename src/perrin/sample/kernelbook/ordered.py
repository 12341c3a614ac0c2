r"""Unmasking in an order: the surest tokens first (Chang et al. 2022), or block by block (Arriola et al. 2025).

Of the M tokens that were masked at first, round(M (1 - a') / (1 - a_first)) are masked after a step; which ones is
decided by a score of the drawn tokens instead of chance:

    confidence  log-probability of the drawn token
    entropy     minus the entropy of the prediction
    margin      difference of the two largest probabilities
    random      none

plus `noise` times a Gumbel variable that fades as tokens become known. With `block`, masks of an earlier block always
go before those of a later one. An order is not the reversed process: samples come from another law than the model's
own, often a sharper one; look at their entropy too.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.sample.kernel import Jump, gumbel, kernel

Order = Literal["confidence", "entropy", "margin", "random"]


@kernel("confidence", processes=("masked",))
def confidence(step: Jump, *, order: str = "confidence", noise: float = 1.0) -> Tensor:
    """The surest masks first, a set number in each step."""
    return _unmasked(step, order, noise, None)


@kernel("blocks", processes=("masked",))
def blocks(step: Jump, *, block: int = 16, order: str = "random", noise: float = 1.0) -> Tensor:
    """Blocks from left to right, in each the surest masks first."""
    if isinstance(block, bool) or not isinstance(block, int) or block < 1:
        raise PerrinError(f"block = {block!r} must be a whole number of at least 1")
    return _unmasked(step, order, noise, block)


def _unmasked(step: Jump, order: str, noise: float, block: int | None) -> Tensor:
    waiting, first = step.waiting.flatten(1), (~step.held).flatten(1)
    after = torch.sigmoid(-step.cleaner) / torch.sigmoid(-step.first)
    left = torch.round(first.sum(1) * after.to(first.device)).long()
    tokens = step.reveal(step.waiting, step.uniform(0))
    fade = left / first.sum(1).clamp(min=1)
    score = _score(step, tokens, order).flatten(1) + noise * fade[:, None] * gumbel(step.uniform(1)).flatten(
        1
    )
    score = score.masked_fill(~waiting, -torch.inf)
    # two stable sorts: by score, then by block, so that an earlier block goes first
    ranks = score.argsort(dim=1, descending=True, stable=True)
    if block is not None:
        place = torch.arange(score.shape[1], device=score.device).expand_as(score) // block
        place = place.masked_fill(~waiting, score.shape[1])
        ranks = ranks.gather(1, place.gather(1, ranks).argsort(dim=1, stable=True))
    chosen = torch.arange(score.shape[1], device=score.device) < (waiting.sum(1) - left)[:, None]
    reveal = torch.zeros_like(waiting).scatter(1, ranks, chosen) & waiting
    return torch.where(reveal.reshape(step.x.shape), tokens, step.x)


def _score(step: Jump, tokens: Tensor, order: str) -> Tensor:
    """Which masks go first: [B, ...] float64, the greatest."""
    mean = step.mean
    if order == "confidence":
        chosen = mean.gather(-1, tokens.clamp(0, mean.shape[-1] - 1)[..., None])[..., 0]
        return chosen.to(torch.float64).clamp(min=1e-300).log()
    if order == "entropy":
        negative: Tensor = torch.special.xlogy(mean, mean)
        return negative.sum(-1, dtype=torch.float64)
    if order == "margin":
        first, second = mean.topk(2, -1).values.to(torch.float64).unbind(-1)
        return first - second
    if order == "random":
        return torch.zeros(tokens.shape, dtype=torch.float64, device=tokens.device)
    raise PerrinError(f"order {order!r} is not known; known: confidence, entropy, margin, random")

r"""What a denoiser returns: the posterior mean of the clean state, and the views that follow from it.

In unit coordinates, x = alpha clean + sigma noise (Tweedie's formula; Efron 2011):

    noise    = (x - alpha mean) / sigma
    score    = (alpha mean - x) / sigma^2
    velocity = dx/dlevel along the probability flow = (alpha/2) (mean - alpha x)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from perrin.process import levels
from perrin.process.levels import expand
from perrin.process.state import State, leaves, like, map_leaves

Condition = Mapping[str, Tensor] | None
"""Named tensors, each with the batch as its leading axis; None where there is nothing to condition on."""


@dataclass(frozen=True)
class Prediction:
    """The posterior of the clean state given a noisy one.

    Attributes:
        mean: posterior mean of the clean state, [B, ...] or named leaves; of a leaf on a manifold s^2 score, the
            displacement in the tangent space that leads to it where space is flat.
        noise: the raw noise prediction where a wrapper has changed `mean` but not the noise (thresholding);
            None means the noise that belongs to `mean`.
        variance: posterior variance of the clean state per entry, where the model has learned one.
        logits: of tokens, whose `mean` [B, ..., K] is that of one-hot vectors, the probabilities of the clean token:
            their logarithms up to a constant, where they are known better than by `mean`.
    """

    mean: State
    noise: State | None = None
    variance: State | None = None
    logits: State | None = None

    def log_mean(self) -> State:
        """Log-probabilities [B, ..., K] of clean tokens, finite also where a probability is 0 in its dtype."""
        known = {} if self.logits is None else leaves(self.logits)

        def of(name: str, mean: Tensor) -> Tensor:
            if name in known:
                return torch.log_softmax(known[name], -1)
            return torch.log(mean.clamp(min=torch.finfo(mean.dtype).tiny))

        return like({name: of(name, mean) for name, mean in leaves(self.mean).items()}, self.mean)

    def noise_at(self, x: State, level: Tensor) -> State:
        """The raw noise prediction where there is one, else (x - alpha mean) / sigma. `level` [B]."""
        return like({name: self.leaf_noise(name, v, level) for name, v in leaves(x).items()}, x)

    def leaf_noise(self, leaf: str, x: Tensor, level: Tensor) -> Tensor:
        """`noise_at` of one continuous leaf, at its own `level` [B]."""
        if self.noise is not None:
            raw: Tensor = leaves(self.noise)[leaf]
            return raw
        alpha, sigma = expand(levels.alpha(level), x), expand(levels.sigma(level), x)
        mean: Tensor = leaves(self.mean)[leaf]
        return (x - alpha * mean) / sigma

    def score(self, x: State, level: Tensor) -> State:
        """grad log p(x) at `level` [B], in unit coordinates."""
        alpha, sigma = levels.alpha(level), levels.sigma(level)
        return map_leaves(lambda m, y: (expand(alpha, y) * m - y) / expand(sigma**2, y), self.mean, x)

    def velocity(self, x: State, level: Tensor) -> State:
        """dx/dlevel of the probability flow at `level` [B], in unit coordinates."""
        alpha = levels.alpha(level)
        return map_leaves(lambda m, y: 0.5 * expand(alpha, y) * (m - expand(alpha, y) * y), self.mean, x)


@runtime_checkable  # options of objectives are checked against their annotations
class Denoiser(Protocol):
    """Any callable of this form is a denoiser.

    Args:
        x: the noisy state in unit coordinates, [B, ...] or named leaves.
        level: log SNR of every item, float64 [B].
        condition: what to condition on, or None.
    """

    def __call__(self, x: State, level: Tensor, condition: Condition = None) -> Prediction: ...


def unconditional(condition: Condition) -> dict[str, Tensor] | None:
    """The condition that asks for nothing: labels become -1, other tensors NaN; names, shapes and facts (bools) stay.

    Keeping the names lets conditional and unconditional rows share one batch of the network. Perrin's own
    networks take -1 and NaN as "not given", item by item; zero would be a value like any other.
    """
    if condition is None:
        return None
    return {
        name: value
        if value.dtype == torch.bool
        else torch.full_like(value, torch.nan if value.is_floating_point() else -1)
        for name, value in condition.items()
    }

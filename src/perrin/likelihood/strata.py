r"""Where a bound draws its levels: strata of the level, or of the steps of a chain, with the weight of each.

With m independent draws in each of K strata, the sum of weight x mean over strata is unbiased, and so is the
sum of weight^2 x (sample variance) / m for its variance: two draws a stratum suffice.

The greatest part of that variance is the length of the noise itself: where a state is nearly clean the denoiser
cannot tell the noise from the data's own detail, and a term is close to scale x ||noise||^2. Of that
`steady` takes a share c off, scale x c x (||noise||^2 - d), whose mean is zero since c is estimated from noisier
strata alone; the strata stay uncorrelated for the same reason (martingale differences).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.likelihood.probability_flow import ends
from perrin.process.levels import float64

_MEMORY = 8  # draws from which `steady` estimates its share


@dataclass(frozen=True)
class Strata:
    """K strata with `draws` draws each.

    Attributes:
        edges: levels [K + 1] noisy to clean, the ends of the strata.
        weights: [K]: the width of a stratum in level, or its number of steps.
        draws: per stratum, at least 2.
        chain: the levels [T + 1] of the steps, None in continuous time; first: [K], a stratum's first step.
    """

    edges: Tensor
    weights: Tensor
    draws: int
    chain: Tensor | None = None
    first: Tensor | None = None

    def pick(self, stratum: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """(noisy, cleaner) levels at u in (0, 1) of a stratum, both [R]: the same one in continuous time."""
        weights = self.weights.to(u.device)[stratum]
        if self.chain is None or self.first is None:
            level = self.edges.to(u.device)[stratum] + u * weights
            return level, level
        step = self.first.to(u.device)[stratum] + (u * weights).floor().long()
        chain = self.chain.to(u.device)
        return chain[step], chain[step + 1]

    def check(self, denoiser: Any) -> None:
        """Refuse levels at which the denoiser is undefined."""
        check: Any = getattr(denoiser, "check", None)
        if check is not None:
            check(self.edges if self.chain is None else self.chain)

    def integral(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """(value, standard error) of each stratum's share of the sum, [K, B]; `values` [K, draws, B]."""
        weights = self.weights.to(values.device)[:, None]
        spread = values.var(1) / values.shape[1]
        return weights * values.mean(1), weights * torch.sqrt(spread)


def continuous(low: float, high: float, samples: int) -> Strata:
    """samples / 2 strata of equal width between two levels."""
    _check_samples(samples)
    edges = torch.linspace(*ends((low, high)), samples // 2 + 1, dtype=torch.float64)
    return Strata(edges, edges.diff(), 2)


def unit(samples: int) -> Strata:
    """samples / 2 strata of (0, 1), whose `pick` is a number within: of whatever else a bound integrates over."""
    _check_samples(samples)
    edges = torch.linspace(0, 1, samples // 2 + 1, dtype=torch.float64)
    return Strata(edges, edges.diff(), 2)


def steps(levels: Tensor | Sequence[float], samples: int, *, clean: bool = False) -> Strata:
    """One stratum a step of the chain where `samples` give it two draws, else groups of consecutive steps.

    `clean`: whether the last level may be +inf, as it may of tokens, which have probabilities and no density.
    """
    _check_samples(samples)
    chain = float64(torch.as_tensor(levels)).detach().cpu()
    if chain.dim() != 1 or len(chain) < 2 or not bool((chain.diff() > 0).all()):
        raise PerrinError(
            "the levels of a chain must be at least two, rising from the noisy end to the clean end"
        )
    if not clean and not math.isfinite(float(chain[-1])):
        raise PerrinError(
            "the last level of a chain must be finite: the step from there to the clean data is the reconstruction"
        )
    count = len(chain) - 1
    strata = min(count, samples // 2)
    first = torch.tensor([count * k // strata for k in range(strata + 1)])
    return Strata(chain[first], first.diff().to(torch.float64), samples // strata, chain, first[:-1])


def steady(values: Tensor, scales: Tensor, excess: Tensor, size: Tensor) -> Tensor:
    """`values` with the same mean and less variance.

    Args:
        values: [K, draws, B], strata from noisy to clean; size: d, the entries of each item, [B].
        scales: [K, draws, B], what a term is per ||noise - noise_hat||^2; excess: ||noise||^2 - d.
    """
    share = torch.where(scales > 0, values / (scales * size.clamp(min=1)), 0.0).mean(1).clamp(0, 1)
    window = math.ceil(_MEMORY / values.shape[1])
    known = torch.cat([share.new_zeros(1, share.shape[1]), share.cumsum(0)[:-1]])  # of the strata before
    old = torch.cat([share.new_zeros(min(window, len(known)), share.shape[1]), known])[: len(known)]
    counts = torch.arange(len(known), device=share.device).clamp(1, window)[:, None]
    c = ((known - old) / counts) ** 2  # of terms r ||noise||^2 within other variance: the share r times r
    return values - scales * c[:, None] * excess


def _check_samples(samples: int) -> None:
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 2:
        raise PerrinError(
            f"samples = {samples!r} must be a whole number of at least 2: one draw has no error"
        )

r"""Learned variance: a second half of a network's output that becomes the clean state's posterior variance.

The step t -> t-1 of a chain has a variance between two known ones (Nichol and Dhariwal 2021, equation 15):

    Sigma = exp(v log beta + (1 - v) log beta~),   v in [0, 1],   beta~ = beta sigma_{t-1}^2 / sigma_t^2

A reverse step with the posterior variance V of the clean state has the variance beta~ + c_clean^2 V
(`process.gaussian.posterior`), which makes V a function of v and of one number of the step:

    V = sigma_t^2 expm1(v d) / expm1(d),   d = log(sigma_t^2 / sigma_{t-1}^2)

V = 0 gives beta~ and V = sigma_t^2 gives beta, at this step and at a step of any other stride: what the
network has learned on the whole chain holds on a strided one, inside that one's own interval. At step 0
beta~ is zero, and the published interval has the next step's in its place: there V = beta_0 e^{-(1 - v) d} with
d = log(beta_0 / beta~_1). Between steps d is interpolated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process import gaussian, levels
from perrin.process.levels import expand
from perrin.process.schedulebook.table import Discrete
from perrin.registry import schedules

Variance: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(raw output [B, ...], level [B]) -> posterior variance of the clean state [B, ...]."""


class LearnedRange:
    """v = sigmoid(2 output) between the two variances of a step of `chain`.

    The published v = (output + 1) / 2 may leave [0, 1]; clamping it would stop the gradient of whatever has
    left. This one has the published value and slope at output 0 and cannot leave.
    """

    def __init__(self, chain: Discrete) -> None:
        self.chain = chain
        log_variance = 2 * levels.log_alpha(-chain.levels)  # log sigma^2
        first = -torch.log(gaussian.shrink(chain.levels[0], chain.levels[1]))  # log(beta_0 / beta~_1)
        self.widths = torch.cat([first[None], log_variance.diff()])

    def width(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """d [B] at `level` [B], and how much [B] of the step is the chain's first one (one at t <= 0)."""
        t = self.chain.time(level).clamp(min=0.0)
        table = self.widths.to(t.device)
        low = t.floor().clamp(max=len(table) - 2).long()
        part = t - low
        return table[low] + part * (table[low + 1] - table[low]), (1 - t).clamp(min=0.0)

    def __call__(self, output: Tensor, level: Tensor) -> Tensor:
        """The posterior variance of the clean state, within [0, sigma^2], in the dtype of `output`."""
        d, first = self.width(level)
        v = torch.sigmoid(2 * output)
        share = torch.expm1(v * expand(d, v)) + expand(first, v)
        share = share / expand(torch.expm1(d) + first, v)
        return share.clamp(max=1.0) * expand(levels.sigma(level) ** 2, v)  # rounding alone passes one


def learned_range(schedule: str | dict[str, Any] = "ddpm_cosine") -> LearnedRange:
    """The interpolated log-variance of Nichol and Dhariwal 2021.

    Args:
        schedule: the chain whose steps bound the variance, by its name or as `{name: ..., **options}`.

    Raises:
        PerrinError: a schedule in continuous time, which has no steps.
    """
    chain = schedules.build(schedule)
    if not isinstance(chain, Discrete):
        raise PerrinError(
            f"variance 'learned_range' needs a chain of steps (ddpm_linear, ddpm_cosine, discrete), not {schedule!r}"
        )
    return LearnedRange(chain)

r"""Tau-leaping (Gillespie 2001; Campbell et al. 2022): the reversed process with rates that stand still in a step.

A position jumps with probability 1 - exp(-h sum_y R(x -> y)) over a step of h in level, to y with probability in
proportion to its rate. Two jumps of a position in one step are one: that and the frozen rates are errors of first
order. A step to or from an infinite level has no finite rates, and is taken from the posterior.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.sample.kernel import Jump, kernel


@kernel("tau_leaping")
def tau_leaping(step: Jump) -> Tensor:
    """Rates of the reversed process, held for the step."""
    ends = torch.isinf(step.noisy) | torch.isinf(step.cleaner)
    h = step.spread(torch.where(ends, 0.0, step.cleaner - step.noisy))
    rates = step.process.jumps(step.x, step.told, step.noisy)
    total = rates[0] + rates[1]
    jumps = -torch.expm1(-h * total) / total.clamp(min=1e-300)
    posterior = step.process.changes(step.x, step.told, step.noisy, step.cleaner)
    chances = (torch.where(step.spread(ends), p, jumps * r) for p, r in zip(posterior, rates, strict=True))
    return step.changed(*chances)

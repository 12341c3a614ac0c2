r"""Networks that are told where a step ends, beside where it starts: the condition's entry "until".

    D(x_s, s, r) = 1 / (k_r - k_s) integral of mean(x_t, t) dk_t from s to r,   k = alpha / sigma = exp(level / 2)

An ordinary denoiser answers with the mean at s. Along the probability flow x/sigma has the slope mean in k, so one step
of first order (`ddim`) from s to r is exact for the average D above, as shortcut models have it (Frans et al. 2024,
arXiv:2410.12557). With r the clean end, D is where the flow ends.

A denoiser's entry holds levels, all that a sample stops at; its network's holds one time [B], where the present step ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition

UNTIL = "until"
"""The entry's name; levels float64 [B, K] of a denoiser, times [B] of its network."""

CLEAN = 9.0
"""The level from which on a state counts as clean: sigma/alpha = 0.011, about a grey level of an image."""


def stops(grids: Sequence[Sequence[float]]) -> Tensor:
    """The entry of samples that stop at the levels of these grids, float64 [B, K]; short ones end with inf."""
    longest = max(map(len, grids))
    return torch.tensor([[*grid, *[math.inf] * (longest - len(grid))] for grid in grids], dtype=torch.float64)


def next_stop(level: Tensor, condition: Condition) -> Tensor:
    """Where steps from `level` [B] end, float64 [B]: at the lowest stop above it, or at the clean end."""
    known = (condition or {}).get(UNTIL)
    if known is None:
        return torch.full_like(level, CLEAN, dtype=torch.float64)
    known = known.to(level.device)
    return known.masked_fill(known <= level[:, None], math.inf).amin(1).clamp(max=CLEAN)

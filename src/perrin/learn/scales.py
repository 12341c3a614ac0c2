r"""Noise scales chosen from data (Song and Ermon, "Improved techniques for training score-based models", 2020).

    sigma_1 > ... > sigma_L geometric,   y = clean + sigma_i noise
    sigma_max = max |x_i - x_j| over the data                                         (technique 1)
    ratio g:   Phi(sqrt(2d) (g-1) + 3g) - Phi(sqrt(2d) (g-1) - 3g) = 1/2              (technique 2)

The largest scale lets a sample travel between any two items. Noise in d dimensions lies in a shell of radius
sqrt(d) sigma and width sigma/sqrt(2); the second rule lets half of one scale's noise fall within three widths of the
next one's shell.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from perrin.errors import PerrinError

MOST = 5_000
"""Items whose pairwise distances are all looked at; of larger sets, a fixed draw of as many."""

WIDEST = 1.5
"""The largest ratio of neighbouring scales. In up to four dimensions all shells overlap and the rule asks for none."""

_BLOCK = 1_000


class Scales(NamedTuple):
    """Geometric noise scales, in the units of the states with the clean state unscaled."""

    sigma_min: float
    sigma_max: float
    count: int  # type: ignore[assignment]  # in the place of a method of tuples


def noise_scales(states: Tensor, sigma_min: float = 0.01) -> Scales:
    """The scales that techniques 1 and 2 choose for these data.

    Args:
        states: [N, *shape], N >= 2; beyond `MOST` items a fixed draw of them.
        sigma_min: the smallest scale, of which a final denoising step leaves nothing.

    Raises:
        PerrinError: fewer than two items, NaN or infinity, or items that are all the same or closer than sigma_min.

    Example:
        >>> noise_scales(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), 0.05)
        Scales(sigma_min=0.05, sigma_max=5.0, count=13)
    """
    if len(states) < 2 or not bool(torch.isfinite(states).all()):
        raise PerrinError(f"noise scales need at least two finite items, not {len(states)}")
    if not sigma_min > 0:
        raise PerrinError(f"sigma_min = {sigma_min} must be > 0")
    sigma_max = widest_distance(states[fixed_draw(len(states))])
    if not sigma_max > sigma_min:
        raise PerrinError(
            f"the items are {sigma_max:.3g} apart at most, no more than sigma_min = {sigma_min}; choose a smaller one"
        )
    ratio = largest_ratio(states[0].numel())
    # a count that the rule meets exactly must not be raised by rounding
    count = 1 + math.ceil(math.log(sigma_max / sigma_min) / math.log(ratio) - 1e-9)
    return Scales(sigma_min, sigma_max, count)


def fixed_draw(count: int) -> Tensor:
    """Which of `count` items to measure: all, or the same `MOST` of them each time (int64)."""
    if count <= MOST:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:MOST]


def widest_distance(states: Tensor) -> float:
    """The largest Euclidean distance between two of the states [N, *shape], block by block in float64."""
    flat = states.detach().to("cpu", torch.float64).flatten(1)
    blocks = torch.split(flat, _BLOCK)
    return max(float(torch.cdist(a, b).max()) for i, a in enumerate(blocks) for b in blocks[i:])


def overlap(ratio: float, dimension: int) -> float:
    """Share of the noise of one scale within three widths of the shell of the scale `ratio` times larger."""

    def phi(x: float) -> float:
        return 0.5 * (1 + math.erf(x / math.sqrt(2)))

    shift = math.sqrt(2 * dimension) * (ratio - 1)
    return phi(shift + 3 * ratio) - phi(shift - 3 * ratio)


def largest_ratio(dimension: int) -> float:
    """The ratio of neighbouring scales at which they overlap by half, at most `WIDEST`; by bisection."""
    low, high = 1.0, WIDEST
    if overlap(high, dimension) >= 0.5:
        return high
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if overlap(middle, dimension) > 0.5 else (low, middle)
    return low

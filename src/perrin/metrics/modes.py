r"""Modes of a known mixture: how many are reached, how well, and in which shares.

A sample is of quality when it lies within `reach` standard deviations of its nearest centre, and a mode is covered
when a sample of quality is nearest to it (Srivastava et al. 2017, VEEGAN, section 4.1). Of real data in the plane,
1 - exp(-reach^2/2) are of quality, 0.989 within three. The shares of the modes are compared by the reverse
divergence (Lin et al. 2018, PacGAN, section 4.1)

    KL(p || w) = sum_k p_k log(p_k / w_k),   p_k the share of samples nearest to mode k, w_k its weight

which for n real samples of K modes is (K - 1) / 2n on average.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from perrin.errors import PerrinError
from perrin.metrics.neighbours import nearest_distances
from perrin.metrics.points import Points, as_points


class ModeCoverage(NamedTuple):
    """`covered` of `modes`; `quality` in [0, 1]; `reverse_kl` in nats, 0 for the right shares."""

    covered: int
    modes: int
    quality: float
    reverse_kl: float


def mode_coverage(
    generated: Points, centres: Points, std: float, *, weights: Points | None = None, reach: float = 3.0
) -> ModeCoverage:
    """Modes covered by generated points, the share of points of quality, and the divergence of the modes' shares.

    Args:
        generated: [N, ...]; centres: [K, ...] of the mixture's components.
        std: of every component, in the points' units.
        weights: [K] > 0 of the components; equal by default.
        reach: in standard deviations, how far a sample of quality may lie from its centre.
    Raises:
        PerrinError: sets of different dimension, std or weights that are not positive, values that are not finite.
    """
    distances, nearest = nearest_distances(generated, centres)
    count = len(as_points(centres, "centres"))
    if not std > 0 or not reach > 0:
        raise PerrinError(f"std = {std} and reach = {reach} must be > 0")
    weight = torch.ones(count, dtype=torch.float64) if weights is None else torch.as_tensor(weights).double()
    if weight.shape != (count,) or not bool((weight > 0).all()):
        raise PerrinError(f"weights must be {count} positive numbers, one per mode")
    good = distances[:, 0] <= reach * std
    covered = int(nearest[good, 0].unique().numel())
    share = torch.bincount(nearest[:, 0], minlength=count).double() / len(nearest)
    divergence = torch.xlogy(share, share) - torch.xlogy(share, weight / weight.sum())
    return ModeCoverage(covered, count, float(good.double().mean()), float(divergence.sum()))

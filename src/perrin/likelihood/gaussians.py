r"""Diagonal Gaussians, entry by entry: the divergence between two, and one in bins for integer data.

    KL(N(m, v) || N(m', v')) = 1/2 (v/v' - 1 - log(v/v') + (m - m')^2 / v')
    log P(k) = log( Phi((x + step/2 - mean)/std) - Phi((x - step/2 - mean)/std) ),   x = low + k step

with the bins of the smallest and the largest value open to infinity (Ho et al. 2020, equation 13). All of it
is differentiable.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.special import log_ndtr

from perrin.contracts import Lattice
from perrin.likelihood.given import free, total
from perrin.likelihood.lattices import indices, placed
from perrin.process import levels
from perrin.process.state import Masks, State, map_leaves
from perrin.sample.keeping import NOTHING


def kl(mean: Tensor, variance: Tensor, other_mean: Tensor, other_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(other_mean, other_variance)) of every entry, nats; arguments broadcast."""
    excess = (variance - other_variance) / other_variance  # v/v' - 1, which log1p keeps when it is small
    return 0.5 * (excess - torch.log1p(excess) + (mean - other_mean) ** 2 / other_variance)


def prior_divergence(x: State, level: Tensor | float, masks: Masks = NOTHING) -> Tensor:
    """KL(q(z | x) || N(0, I)) at a noisy level, nats [B], over the free entries of all leaves of the clean states x.

    By convexity it is no less, on average, than the prior's own mismatch.
    """

    def of(leaf: Tensor) -> Tensor:
        one = torch.ones((), dtype=torch.float64, device=leaf.device)
        alpha, variance = levels.alpha(level).to(leaf.device), levels.sigma(level).to(leaf.device) ** 2
        return kl(alpha * leaf.to(torch.float64), variance, 0 * one, one)

    return total(map_leaves(of, x), free(x, masks))


def discretised_log_prob(x: Tensor, mean: Tensor, std: Tensor, lattice: Lattice) -> Tensor:
    """log probability of integer data under a Gaussian gathered into bins, nats per entry, float64.

    Args:
        x: states on the lattice, [B, ...]; mean, std: of the Gaussian, broadcast against x; std > 0.
        lattice: the values; the bins of the first and the last are open.

    Raises:
        PerrinError: states that are not on the lattice.
    """
    low, step, count = placed(lattice, x)
    k = indices(x, lattice)
    centre = low + k * step - mean.to(torch.float64)
    std = std.to(torch.float64)
    # the bin or its mirror image: of two nearly equal values of Phi take those that are small
    right = centre > 0
    first, last = k == 0, k == count - 1
    far, near = (centre.abs() + 0.5 * step) / std, (centre.abs() - 0.5 * step) / std
    below = log_ndtr(-near)  # up to the bin's inner edge, seen from its own tail
    inside = below + torch.log(
        -torch.expm1((log_ndtr(-far) - below).clamp(max=-torch.finfo(below.dtype).tiny))
    )
    outwards = torch.where(right, last, first)  # open on the far side
    inwards = torch.where(right, first, last)  # open on the near side
    found = torch.where(outwards, below, inside)
    found = torch.where(inwards, log_ndtr(far), found)
    return torch.where(first & last, torch.zeros_like(found), found)

r"""Gaussians within boxes: the mean of h ~ N(mean, covariance) given that it lies in one of several disjoint boxes.

One coordinate is exact,

    E[z | a < z < b] = (phi(a) - phi(b)) / (Phi(b) - Phi(a)),

written with the scaled complementary error function, so that it is right any number of deviations away. Several are an
integral over the coordinates one after another, hardest first, the last of them exact (Genz, "Numerical computation of
multivariate normal probabilities", 1992), at a fixed lattice of points: a function of its arguments alone, without chance.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from perrin.errors import PerrinError

POINTS = 128
SHRUNK = 0.995
"""Of every correlation: two statistics that say the same still have a joint density."""
PRIMES = (2, 3, 5, 7, 11, 13, 17)
FAR = 1e10
"""Deviations beyond which there is nothing; an infinite bound is put here."""


def mean_in_boxes(mean: Tensor, covariance: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """(E[h | h in a box] [B, K], S^-1 (E - mean) [B, K]) of h ~ N(mean [B, K], covariance S [B, K, K]), float64.

    Args:
        lower, upper: [B, M, K], bounds of M boxes that do not overlap; a box whose lower bound is not below its upper is
            empty. Some box of every row must be there.

    Correlations count 0.995 times, in S^-1 too. Errors at 128 points: 1e-3 deviations or so.

    Raises:
        PerrinError: more coordinates than the lattice has.
    """
    rows, boxes, size = lower.shape
    if size > len(PRIMES) + 1:
        raise PerrinError(f"boxes of {size} statistics; {len(PRIMES) + 1} are the most")
    spread = covariance.diagonal(dim1=1, dim2=2).sqrt()
    matrix = SHRUNK * covariance / (spread[:, :, None] * spread[:, None, :])
    matrix.diagonal(dim1=1, dim2=2).fill_(1.0)
    a, b = ((v - mean[:, None]) / spread[:, None] for v in (lower, upper))
    flat = matrix[:, None].expand(-1, boxes, -1, -1).flatten(0, 1)
    log_mass, inside = _moments(flat, a.flatten(0, 1), b.flatten(0, 1))
    share = torch.softmax(log_mass.reshape(rows, boxes), 1)
    z = (share[..., None] * inside.reshape(rows, boxes, size)).sum(1)
    return mean + spread * z, torch.linalg.solve(matrix, z) / spread


def _moments(matrix: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """log P(a < z < b) [R] and E[z | a < z < b] [R, K] of z ~ N(0, matrix [R, K, K])."""
    empty = (a >= b).any(1)
    a, b = (torch.where(empty[:, None], side, v.clamp(-FAR, FAR)) for v, side in ((a, -FAR), (b, FAR)))
    order = truncated(a, b)[0].argsort(1)
    back, (a, b) = order.argsort(1), (v.gather(1, order) for v in (a, b))
    rows = torch.arange(len(a), device=a.device)[:, None, None]
    factor = torch.linalg.cholesky(matrix[rows, order[:, :, None], order[:, None, :]])
    log_mass, drawn = _one_after_another(factor, a, b)
    share = torch.softmax(log_mass, 1)
    inside = (factor @ (share[..., None] * drawn).sum(1)[..., None])[..., 0]
    total = torch.logsumexp(log_mass, 1) - math.log(log_mass.shape[1])
    return total.masked_fill(empty, -torch.inf), inside.gather(1, back)


def _one_after_another(factor: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Log weights [R, N] and independent coordinates [R, N, K] at the lattice's N points."""
    size = a.shape[1]
    u = _lattice(size - 1).to(a)
    drawn = a.new_zeros(len(a), len(u), size)
    log_mass = a.new_zeros(len(a), len(u))
    for k in range(size):
        known = (drawn[..., :k] * factor[:, None, k, :k]).sum(-1)
        low, high = ((v[:, k, None] - known) / factor[:, k, k, None] for v in (a, b))
        log_own, middle = truncated(low, high)
        log_mass = log_mass + log_own
        drawn[..., k] = middle if k == size - 1 else quantile(low, high, u[:, k])
    return log_mass, drawn


def _lattice(size: int) -> Tensor:
    """Points [N, size] in (0, 1), evenly spread: one where there is nothing to integrate."""
    if not size:
        return torch.full((1, 0), 0.5, dtype=torch.float64)
    steps = torch.arange(1, POINTS + 1, dtype=torch.float64)[:, None]
    shifted = (steps * torch.tensor(PRIMES[:size], dtype=torch.float64).sqrt()) % 1
    tent = 1 - (2 * shifted - 1).abs()  # periodic, which lattices integrate better
    return tent.clamp(1e-12, 1 - 1e-12)


def truncated(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """log P(a < z < b) and E[z | a < z < b] of z ~ N(0, 1), a < b within 1e10."""
    flip = a + b > 0  # the left tail is the one that is told apart from zero
    low, high = torch.where(flip, -b, a), torch.where(flip, -a, b)
    log_high = torch.special.log_ndtr(high)
    gap = (torch.special.log_ndtr(low) - log_high).clamp(max=-1e-300)
    hazard = math.sqrt(2 / math.pi) / torch.special.erfcx(-high / math.sqrt(2))
    middle = -hazard * torch.expm1((high - low) * (high + low) / 2) / torch.expm1(gap)
    middle = torch.maximum(torch.minimum(torch.nan_to_num(middle), high), low)
    return log_high + torch.log(-torch.expm1(gap)), torch.where(flip, -middle, middle)


def quantile(a: Tensor, b: Tensor, u: Tensor) -> Tensor:
    """The value that z ~ N(0, 1) given a < z < b is below with probability u."""
    flip = a + b > 0
    low, high, share = torch.where(flip, -b, a), torch.where(flip, -a, b), torch.where(flip, 1 - u, u)
    below, up_to = (torch.exp(torch.special.log_ndtr(v)) for v in (low, high))  # ndtr itself is 0 from -8.3
    near = torch.special.ndtri(below + share * (up_to - below))
    # so far out that no probability is left the density falls like an exponential
    floor = torch.exp(high * (high - low).clamp(min=0))
    far = high + torch.log(floor + share * (1 - floor)) / high.abs().clamp(min=1)
    found = torch.where(high < -30, far, near)
    found = torch.maximum(torch.minimum(found, high), low)
    return torch.where(flip, -found, found)

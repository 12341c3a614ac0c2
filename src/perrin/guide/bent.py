r"""Statistics that bend, such as a maximum, made linear where the posterior lies rather than at its mean.

    h(v + e), e ~ N(0, Lambda):   mean = E h,   slope = E dh/dv,   rest = Cov(h - slope e)

Cov(v, h) = Lambda slope is exact for Gaussian values (Stein's lemma); what the line leaves is counted as variance of its
own (statistical linearisation; Gelb 1974, section 6.2). The maximum of a path that is not known yet lies well above the
maximum of its mean, which the plain slope does not see.

Lambda is known by its columns at a few knots, Y = Lambda[:, J] (Nystrom), with the rest of the variance independent:

    Lambda ~ Y Lambda[J, J]^-1 Y^T + diag
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

Bent: TypeAlias = Callable[[Tensor], Tensor]
"""Values [..., L] -> statistics [..., K]."""

KNOTS = 5
PAIRS = 64


def knots(size: int) -> Tensor:
    """The values, up to five of `size`, whose covariances with all others are asked for."""
    return torch.linspace(0, size - 1, min(size, KNOTS)).round().long()


def linearised(
    statistics: Bent, values: Tensor, columns: Tensor, place: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Means [B, K], slopes [K, B, L] and the covariance of the rest [B, K, K] of statistics of values [B, L].

    Args:
        columns: covariances [B, L, J] of all values with those at `place` [J].
    """
    e = _draws(columns, place)
    e = torch.cat([e, -e], 1)  # a line has its own mean, to the bit

    def mean(at: Tensor) -> tuple[Tensor, Tensor]:
        found = statistics(at[:, None] + e)
        return found.mean(1), found

    vjp: Any = torch.func.vjp
    h, back, every = vjp(mean, values, has_aux=True)
    eye = torch.eye(h.shape[1], dtype=h.dtype, device=h.device)
    slopes = torch.stack([back(row.expand_as(h))[0] for row in eye])
    rest: Tensor = every - h[:, None] - torch.einsum("bnl,kbl->bnk", e, slopes)
    return h, slopes, rest.transpose(1, 2) @ rest / e.shape[1]


def _draws(columns: Tensor, place: Tensor) -> Tensor:
    """Half of the draws [B, N, L] of N(0, Lambda), always the same normals."""
    known = columns[:, place]
    known = (known + known.transpose(1, 2)) / 2
    own, basis = torch.linalg.eigh(known)
    top = own[:, -1:].clamp(min=torch.finfo(own.dtype).tiny)
    root = torch.where(own > 1e-6 * top, own.clamp(min=1e-300).rsqrt(), 0.0)
    factor = columns @ (basis * root[:, None])
    variance = _between(known.diagonal(dim1=1, dim2=2).clamp(min=0), place, columns.shape[1])
    rest = (variance - factor.square().sum(-1)).clamp(min=0)
    generator = torch.Generator().manual_seed(0)
    size = (PAIRS, factor.shape[2] + factor.shape[1])
    z = torch.randn(size, generator=generator, dtype=torch.float64).to(columns)
    common, own_part = z[:, : factor.shape[2]], z[:, factor.shape[2] :]
    drawn: Tensor = common @ factor.transpose(1, 2) + rest.sqrt()[:, None] * own_part
    return drawn


def _between(known: Tensor, place: Tensor, size: int) -> Tensor:
    """Numbers [B, J] at rising places [J], for all places [B, size], along straight lines."""
    if len(place) == 1:
        return known.expand(-1, size)
    every = torch.arange(size, device=place.device)
    right = torch.searchsorted(place, every).clamp(1, len(place) - 1)
    left = right - 1
    share = (every - place[left]) / (place[right] - place[left])
    return known[:, left] * (1 - share) + known[:, right] * share

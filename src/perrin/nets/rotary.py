r"""Where a token is, as a rotation of queries and keys (Su et al. 2021, arXiv:2104.09864).

    (x_i, x_{i + h}) <- R(n w_i) (x_i, x_{i + h}),   w_i = 10000^(-i / h),   i = 0 .. h - 1,   h = size / 2

at position n, so that a query at n and a key at m meet with a product that depends on n - m alone: nothing is learnt
per position, and a sequence moved along by absent positions is the same sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor


def turns(length: int, size: int) -> Tensor:
    """Cosines and signed sines of positions 0 .. length - 1 for heads of an even size: float32 [2, N, 1, 1, size]."""
    half = size // 2
    frequencies = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
    cos, sin = angle.cos(), angle.sin()
    both = torch.stack([torch.cat([cos, cos], dim=1), torch.cat([-sin, sin], dim=1)])
    return both.float()[:, :, None, None]


def turned(x: Tensor, by: Tensor) -> Tensor:
    """x [B, N, parts, heads, size], each position rotated by its own of `turns`."""
    cos, sin = by.to(x.dtype)
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)

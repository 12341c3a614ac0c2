"""The parts of a convolutional network in one, two or three dimensions.

    block:      y = skip(x) + conv(silu(norm(conv(silu(norm(x)))) (1 + scale(e)) + shift(e)))
    attention:  y = x + out(v softmax(q^T k / sqrt(d))^T),   q, k, v = norm(x)

The residual block with adaptive group normalisation of Dhariwal & Nichol 2021 (arXiv:2105.05233), `e` being
the embedding of time and conditions. Only `convolution` knows the number of dimensions.

Why normalise groups rather than preserve magnitudes (Karras et al. 2024, arXiv:2312.02696): with the same
skeleton and 30 CPU-seconds on the scikit-learn digits, one run each, the held-out EDM loss was .335 for this
block and .352 for magnitude-preserving ones at the best of three learning rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def convolution(dims: int, c_in: int, c_out: int, kernel: int = 3, zero: bool = False) -> Any:
    """A same-size convolution in `dims` dimensions; `zero` starts it at exactly zero."""
    conv = getattr(nn, f"Conv{dims}d")(c_in, c_out, kernel, padding=kernel // 2)
    if zero:
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)
    return conv


def group_norm(channels: int, affine: bool = True) -> nn.GroupNorm:
    """Normalisation over groups of 8 channels or more, at most 32 groups."""
    return nn.GroupNorm(math.gcd(channels, min(32, max(1, channels // 8))), channels, affine=affine)


class Block(nn.Module):
    """A residual block [B, c_in, *spatial] -> [B, c_out, *spatial], told the embedding; the identity at first.

    Args:
        norm: makes a normalisation of so many channels.
        added: the embedding is added before the second normalisation (Ho et al. 2020) in the place of scale and shift.
    """

    def __init__(
        self,
        dims: int,
        c_in: int,
        c_out: int,
        width: int,
        norm: Callable[..., nn.Module] = group_norm,
        added: bool = False,
    ) -> None:
        super().__init__()
        self.added = added
        self.norm_in, self.conv_in = norm(c_in), convolution(dims, c_in, c_out)
        self.norm_out, self.conv_out = (
            norm(c_out, affine=added),
            convolution(dims, c_out, c_out, zero=True),
        )
        self.modulation = nn.Linear(width, c_out if added else 2 * c_out)
        self.skip = convolution(dims, c_in, c_out, kernel=1) if c_in != c_out else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv_in(functional.silu(self.norm_in(x)))
        told = self.modulation(embedding).view(len(x), -1, *[1] * (x.ndim - 2))
        if self.added:
            h = self.norm_out(h + told)
        else:
            h = self.norm_out(h)
            scale, shift = told.chunk(2, dim=1)
            h = torch.addcmul(h + shift, h, scale)
        y: Tensor = self.skip(x) + self.conv_out(functional.silu(h))
        return y


class Attention(nn.Module):
    """Self-attention over all positions, heads of `head` channels, 32 or so by default; the identity at first.

    Written out, since PyTorch's fused kernels have no forward-mode derivative (`torch.func.jvp`).
    """

    def __init__(
        self, dims: int, channels: int, norm: Callable[..., nn.Module] = group_norm, head: int | None = None
    ) -> None:
        super().__init__()
        self.heads = math.gcd(channels, max(1, channels // 32)) if head is None else channels // head
        self.norm = norm(channels)
        self.qkv = convolution(dims, channels, 3 * channels, kernel=1)
        self.out = convolution(dims, channels, channels, kernel=1, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).reshape(len(x), 3, self.heads, -1, math.prod(x.shape[2:])).unbind(1)
        weight = torch.softmax(q.transpose(-1, -2) @ k / math.sqrt(q.shape[-2]), dim=-1)
        y: Tensor = x + self.out((v @ weight.transpose(-1, -2)).reshape(x.shape))
        return y


class Stage(nn.Module):
    """Residual blocks at one resolution, the first changing the channels, then attention if asked for."""

    def __init__(self, dims: int, c_in: int, c_out: int, blocks: int, width: int, attention: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(dims, c_in if i == 0 else c_out, c_out, width) for i in range(blocks)
        )
        self.attention = Attention(dims, c_out) if attention else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, embedding)
        y: Tensor = self.attention(x)
        return y

"""The residual MLP: the network for vectors, tables and other states without neighbourhoods.

    x <- x + W2 silu(W1 (layer_norm(x) (1 + scale(embedding)) + shift(embedding)))

Residual blocks of width `width` between two linear maps, each told the time and the conditions by adaptive
layer normalisation (Perez et al. 2018, arXiv:1709.07871; Peebles & Xie 2023, arXiv:2212.09748).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from perrin.errors import PerrinError
from perrin.nets.embedding import Condition, Embedding, present_rows


def zero_linear(size_in: int, size_out: int) -> nn.Linear:
    """A linear map that starts at exactly zero."""
    linear = nn.Linear(size_in, size_out)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


class MLPBlock(nn.Module):
    """One residual block [B, width] -> [B, width], told the embedding; the identity at first."""

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.widen, self.narrow = nn.Linear(width, expansion * width), zero_linear(expansion * width, width)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding).chunk(2, dim=1)
        h = self.norm(x)
        y: Tensor = x + self.narrow(functional.silu(self.widen(torch.addcmul(h + shift, h, scale))))
        return y


class MLP(nn.Module):
    """A residual MLP for states of any shape, flattened.

    Args:
        shape: state shape without the batch.
        classes: number of classes, or None.
        vector_size: K of the condition `"vector"` [B, K]; 0 for none.
        concat_size: numbers per item of the condition `"concat"` [B, ...], flattened; 0 for none.
        out_channels: length of the output's leading axis, the state's own when None.
        out_shape: shape of the output where it is not the state's but for that axis.
        width: width of the residual stream.
        blocks: number of residual blocks.
        expansion: width inside a block, in units of `width`.
        octaves: the entrance is told sines and cosines of every number too, at so many frequencies from pi/2 upwards,
            each twice the one before: what a small network needs to tell modes apart that are narrow beside the
            spread of the data (Tancik et al. 2020).
        until: whether the network is told where a step ends, by the condition `"until"` [B].

    Raises:
        PerrinError: for an empty shape, or octaves below 0.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        classes: int | None = None,
        vector_size: int = 0,
        concat_size: int = 0,
        out_channels: int | None = None,
        out_shape: Sequence[int] | None = None,
        width: int = 128,
        blocks: int = 3,
        expansion: int = 2,
        octaves: int = 0,
        until: bool = False,
    ) -> None:
        super().__init__()
        if not shape or min(shape) < 1:
            raise PerrinError(
                f"mlp: shape {tuple(shape)} holds no numbers; (2,) is the shape of points in a plane"
            )
        leading = shape[0] if out_channels is None else out_channels
        self.out_shape = (leading, *shape[1:]) if out_shape is None else tuple(out_shape)
        if octaves < 0:
            raise PerrinError(f"mlp: octaves = {octaves} must be >= 0")
        self.concat_size, self.octaves = concat_size, octaves
        told = math.prod(shape) * (1 + 2 * octaves) + (concat_size + 1 if concat_size else 0)
        self.embedding = Embedding(width, classes, vector_size, until=until)
        self.takes_until = until
        self.entrance = nn.Linear(told, width)
        self.blocks = nn.ModuleList(MLPBlock(width, expansion) for _ in range(blocks))
        self.norm, self.exit = nn.LayerNorm(width), zero_linear(width, math.prod(self.out_shape))

    def forward(self, x: Tensor, time: Tensor, condition: Condition | None = None) -> Tensor:
        """x [B, *shape], time [B] of order one, see `Embedding` for the conditions -> [B, *out_shape]."""
        embedding = self.embedding(time, condition)
        h = self.entrance(self._concat(self._waves(x.flatten(1)), condition))
        for block in self.blocks:
            h = block(h, embedding)
        y: Tensor = self.exit(self.norm(h))
        return y.view(len(x), *self.out_shape)

    def _waves(self, x: Tensor) -> Tensor:
        """x [B, D], then its sines and cosines, octave by octave."""
        angles = [0.5 * math.pi * 2**k * x for k in range(self.octaves)]
        return torch.cat([x, *(wave(a) for a in angles for wave in (torch.sin, torch.cos))], dim=1)

    def _concat(self, x: Tensor, condition: Condition | None) -> Tensor:
        """Append the concatenated condition and a number that says whether it is there."""
        if not self.concat_size:
            return x
        if condition is None or "concat" not in condition:
            return torch.cat([x, x.new_zeros(len(x), self.concat_size + 1)], dim=1)
        value, present = present_rows(condition["concat"].flatten(1).to(x.dtype))
        return torch.cat([x, value, present], dim=1)

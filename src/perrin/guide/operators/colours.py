"""Colours mixed into one channel, so that colour is what has to be guessed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.guide.operators.linear import Operator

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""


class Grey(Operator):
    """y = sum of weight_c x_c over the channels, [B, 1, *spatial].

    Args:
        shape: of a state, (C, *spatial). weights: one a channel; brightness of red, green and blue by default.

    Raises:
        PerrinError: another number of channels.
    """

    def __init__(self, shape: Sequence[int], weights: Sequence[float] = LUMA) -> None:
        super().__init__(shape)
        if len(weights) != self.shape[0]:
            raise PerrinError(
                f"{len(weights)} weights for states {self.shape}, which have {self.shape[0]} channels"
            )
        self.weights = torch.tensor(weights, dtype=torch.float64)

    def apply(self, x: Tensor) -> Tensor:
        """The grey states."""
        found: Tensor = torch.tensordot(x, self.weights.to(x), dims=([1], [0]))
        return found[:, None]

    def transposed(self, y: Tensor) -> Tensor:
        """A* y."""
        return y * self.weights.to(y).view(1, -1, *[1] * (y.dim() - 2))

r"""Fewer entries: every spatial axis averaged down by the cubic kernel of Keys (1981), a = -1/2, stretched by the factor.

    y_j = sum_i k((i + 1/2) / f - (j + 1/2)) x_i / (sum of the same weights)

as image libraries reduce images with antialiasing. The axes are separate, so that it works in any number of dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.guide.operators.linear import Operator


class Downsample(Operator):
    """y = the state at 1/factor of its resolution, channel by channel.

    Args:
        shape: of a state, (C, *spatial). factor: a whole number that divides every spatial size.

    Raises:
        PerrinError: sizes that the factor does not divide.
    """

    def __init__(self, shape: Sequence[int], factor: int) -> None:
        super().__init__(shape)
        if factor < 2 or any(size % factor for size in self.shape[1:]) or len(self.shape) < 2:
            raise PerrinError(
                f"factor = {factor} must be at least 2 and divide the spatial sizes of states {self.shape}"
            )
        self.factor = factor
        self.weights = [_weights(size, factor) for size in self.shape[1:]]

    def apply(self, x: Tensor) -> Tensor:
        """The smaller states."""
        for axis, weight in enumerate(self.weights, start=2):
            x = torch.tensordot(x, weight.to(x), dims=([axis], [1])).movedim(-1, axis)
        return x

    def transposed(self, y: Tensor) -> Tensor:
        """A* y."""
        for axis, weight in enumerate(self.weights, start=2):
            y = torch.tensordot(y, weight.to(y), dims=([axis], [0])).movedim(-1, axis)
        return y


def _weights(size: int, factor: int) -> Tensor:
    """[size / factor, size]."""
    at = (torch.arange(size, dtype=torch.float64) + 0.5) / factor
    apart = (at - (torch.arange(size // factor, dtype=torch.float64)[:, None] + 0.5)).abs()
    near = 1.5 * apart**3 - 2.5 * apart**2 + 1
    far = -0.5 * apart**3 + 2.5 * apart**2 - 4 * apart + 2
    weight = torch.where(apart < 1, near, torch.where(apart < 2, far, 0.0))
    return weight / weight.sum(1, keepdim=True)

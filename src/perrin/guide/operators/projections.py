r"""Computed tomography: integrals of an image along parallel rays, from few or from not all directions (Radon 1917).

    y(angle, s) = sum over t of x at (s cos - t sin, s sin + t cos)

by bilinear interpolation about the pixel (H // 2, W // 2), in pixels, as scikit-image's `radon` has it. The adjoint is the
unfiltered back projection.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.guide.operators.linear import Operator


class Radon(Operator):
    """Sinograms [B, C, angles, rays] of images (C, H, W), channel by channel.

    Args:
        shape: of a state. angles: in degrees; 0 sums over the rows of each column, and they turn counter-clockwise as in
            scikit-image's `radon`.
        rays: how many, one pixel apart; the diagonal's by default, which sees every corner.

    Raises:
        PerrinError: states that are no images, or no angles.
    """

    def __init__(
        self, shape: Sequence[int], angles: Sequence[float] | Tensor, rays: int | None = None
    ) -> None:
        super().__init__(shape)
        if len(self.shape) != 3:
            raise PerrinError(f"projections are of images (C, H, W), not of {self.shape}")
        self.angles = torch.as_tensor(angles, dtype=torch.float64).flatten()
        if not len(self.angles):
            raise PerrinError("projections need at least one angle, in degrees")
        height, width = self.shape[1:]
        self.rays = math.ceil(math.hypot(height, width)) if rays is None else rays
        self.matrix = _matrix(self.angles, height, width, self.rays)

    def apply(self, x: Tensor) -> Tensor:
        """The sinograms."""
        return self._product(self.matrix, x, (len(self.angles), self.rays))

    def transposed(self, y: Tensor) -> Tensor:
        """The back projections."""
        return self._product(self.matrix.t(), y, self.shape[1:])

    def _product(self, matrix: Tensor, value: Tensor, size: tuple[int, ...]) -> Tensor:
        # a transposed view makes the sparse product four times as slow
        found = matrix.to(value) @ value.flatten(2).flatten(0, 1).t().contiguous()
        return found.t().reshape(*value.shape[:2], *size)


def _matrix(angles: Tensor, height: int, width: int, rays: int) -> Tensor:
    """Sparse [angles rays, height width]: shares of pixels in the sums along rays."""
    turn = torch.deg2rad(angles)[:, None, None]
    reach = math.ceil(math.hypot(height, width) / 2) + 1
    s = (torch.arange(rays, dtype=torch.float64) - rays // 2)[None, :, None]
    t = torch.arange(-reach, reach + 1, dtype=torch.float64)[None, None, :]
    column = s * turn.cos() + t * turn.sin() + width // 2
    row = -s * turn.sin() + t * turn.cos() + height // 2
    ray = torch.arange(len(angles) * rays).view(len(angles), rays, 1).expand_as(row)
    places, shares = [], []
    for i, down in ((row.floor(), 1 - row % 1), (row.floor() + 1, row % 1)):
        for j, across in ((column.floor(), 1 - column % 1), (column.floor() + 1, column % 1)):
            there = (i >= 0) & (i < height) & (j >= 0) & (j < width) & (down * across > 0)
            places.append(torch.stack([ray[there], (i * width + j)[there].long()]))
            shares.append((down * across)[there])
    size = (len(angles) * rays, height * width)
    return torch.sparse_coo_tensor(
        torch.cat(places, 1), torch.cat(shares), size, check_invariants=True
    ).coalesce()

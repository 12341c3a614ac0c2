r"""Blur: every channel convolved with one kernel, by optics or by motion; beyond the border is its mirror image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from perrin.errors import PerrinError
from perrin.guide.operators.linear import Operator


class Blur(Operator):
    """y = kernel * x, channel by channel.

    Args:
        shape: of a state, (C, *spatial) with 1 to 3 spatial axes.
        kernel: [*sizes], odd sizes, one for each spatial axis; it is divided by its sum.

    Raises:
        PerrinError: a kernel that does not fit the state.
    """

    def __init__(self, shape: Sequence[int], kernel: Tensor) -> None:
        super().__init__(shape)
        spatial, kernel = self.shape[1:], torch.as_tensor(kernel, dtype=torch.float64)
        if not 1 <= len(spatial) <= 3 or kernel.dim() != len(spatial):
            raise PerrinError(
                f"a kernel with {kernel.dim()} axes does not fit states {self.shape}: (channels, then 1 to 3 axes)"
            )
        for size, length in zip(kernel.shape, spatial, strict=True):
            if size % 2 == 0 or size // 2 >= length:
                raise PerrinError(
                    f"a kernel of sizes {tuple(kernel.shape)} does not fit states {self.shape}: odd sizes below twice the "
                    "state's are needed"
                )
        if not float(kernel.sum()) > 0:
            raise PerrinError("the kernel's values must have a positive sum")
        self.kernel = kernel / kernel.sum()

    def apply(self, x: Tensor) -> Tensor:
        """The blurred states."""
        dims = self.kernel.dim()
        margins = [n for size in reversed(self.kernel.shape) for n in (size // 2, size // 2)]
        flat = functional.pad(x.flatten(0, 1)[:, None], margins, mode="reflect")
        kernel = self.kernel.to(x).flip(*range(dims))[None, None]
        found: Tensor = (functional.conv1d, functional.conv2d, functional.conv3d)[dims - 1](flat, kernel)
        return found.view(x.shape)

    def transposed(self, y: Tensor) -> Tensor:
        """A* y: the kernel turned round, and what fell beyond the border folded back."""
        dims = self.kernel.dim()
        margins = [size - 1 for size in reversed(self.kernel.shape) for _ in range(2)]
        flat = functional.pad(y.flatten(0, 1)[:, None], margins)
        kernel = self.kernel.to(y)[None, None]
        found: Tensor = (functional.conv1d, functional.conv2d, functional.conv3d)[dims - 1](flat, kernel)
        for axis, size in enumerate(self.kernel.shape, start=2):
            found = _folded(found, axis, size // 2)
        return found.view(y.shape)


def _folded(x: Tensor, axis: int, margin: int) -> Tensor:
    """Margins of an axis added to the entries that they mirror: the adjoint of padding by reflection."""
    size = x.shape[axis] - 2 * margin
    found = x.narrow(axis, margin, size).clone()
    found.narrow(axis, 1, margin).add_(x.narrow(axis, 0, margin).flip(axis))
    found.narrow(axis, size - 1 - margin, margin).add_(x.narrow(axis, margin + size, margin).flip(axis))
    return found


def gaussian_blur(shape: Sequence[int], std: float) -> Blur:
    """Blur by a Gaussian of `std` entries along every spatial axis, cut at three of them."""
    if not 0 < std < math.inf:
        raise PerrinError(f"std = {std} of a blur must be above 0")
    reach = max(1, math.ceil(3 * std))
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / std) ** 2)
    kernel = line
    for _ in range(len(shape) - 2):
        kernel = kernel[..., None] * line
    return Blur(shape, kernel)


def motion_blur(shape: Sequence[int], length: int, angle: float = 0.0) -> Blur:
    """Blur along a straight line of `length` pixels, `angle` degrees counter-clockwise from the rows, of images.

    Raises:
        PerrinError: states that are no images, or a length below 2.
    """
    if len(shape) != 3 or length < 2:
        raise PerrinError(
            f"motion blur is of images (C, H, W) over at least 2 pixels, not of {tuple(shape)} over {length}"
        )
    reach = (length + 1) // 2
    kernel = torch.zeros(2 * reach + 1, 2 * reach + 1, dtype=torch.float64)
    turn = math.radians(angle)
    for step in torch.linspace(-(length - 1) / 2, (length - 1) / 2, 8 * length, dtype=torch.float64).tolist():
        row, column = reach - step * math.sin(turn), reach + step * math.cos(turn)
        top, left = math.floor(row), math.floor(column)
        for i, share in ((top, top + 1 - row), (top + 1, row - top)):
            for j, part in ((left, left + 1 - column), (left + 1, column - left)):
                if 0 <= i <= 2 * reach and 0 <= j <= 2 * reach:  # beyond the edge its share is zero
                    kernel[i, j] += share * part
    return Blur(shape, kernel)

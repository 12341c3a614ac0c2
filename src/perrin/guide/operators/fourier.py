r"""Magnetic resonance: some rows of the Fourier transform of an image, seen by one coil or by several.

    y_c = mask F (s_c x),   F orthonormal, its zero frequency in the middle;   s_c the coils' sensitivities

One coil of sensitivity 1 where none are given. See Pruessmann et al. 1999 (SENSE) and Lustig et al. 2007.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.guide.operators.linear import Operator


class KSpace(Operator):
    """Complex measurements [B, coils, H, W] of images (1, H, W) that are real, or (2, H, W), real and imaginary part.

    Args:
        shape: of a state. mask: bool [H, W] or [W] (whole columns), which frequencies are measured, zero frequency in the
            middle. coils: complex [coils, H, W], or None.

    Raises:
        PerrinError: a mask or coils of another size, or states that are no such images.
    """

    complex_valued = True

    def __init__(self, shape: Sequence[int], mask: Tensor, coils: Tensor | None = None) -> None:
        super().__init__(shape)
        if len(self.shape) != 3 or self.shape[0] not in (1, 2):
            raise PerrinError(
                f"k-space is of images (1, H, W), or (2, H, W) with real and imaginary part, not of {self.shape}"
            )
        size = self.shape[1:]
        mask = torch.as_tensor(mask).bool()
        if tuple(mask.shape) not in (size, size[1:]):
            raise PerrinError(f"the mask has shape {tuple(mask.shape)}; images are {size[0]} x {size[1]}")
        if coils is not None and (coils.dim() != 3 or tuple(coils.shape[1:]) != size):
            raise PerrinError(
                f"the coils have shape {tuple(coils.shape)}; [coils, {size[0]}, {size[1]}] is needed"
            )
        self.mask, self.coils = mask.expand(size), coils

    def apply(self, x: Tensor) -> Tensor:
        """k-space, 0 where it is not measured."""
        image = torch.complex(x[:, 0], x[:, 1] if len(x[0]) == 2 else torch.zeros_like(x[:, 0]))[:, None]
        if self.coils is not None:
            image = image * self.coils.to(image)
        return torch.where(self.mask.to(x.device), _centred(torch.fft.fft2, image), 0)

    def transposed(self, y: Tensor) -> Tensor:
        """The image of what is measured, by the coils that saw it."""
        image = _centred(torch.fft.ifft2, torch.where(self.mask.to(y.device), y, 0))
        if self.coils is not None:
            image = image * self.coils.to(image).conj()
        image = image.sum(1)
        found: Tensor = (
            image.real[:, None] if self.shape[0] == 1 else torch.stack([image.real, image.imag], 1)
        )
        return found


def _centred(transform: object, image: Tensor) -> Tensor:
    axes = (-2, -1)
    found: Tensor = transform(torch.fft.ifftshift(image, axes), norm="ortho")  # type: ignore[operator]
    shifted: Tensor = torch.fft.fftshift(found, axes)
    return shifted


def cartesian(columns: int, acceleration: float, centre: float = 0.08, seed: int = 0) -> Tensor:
    """Which columns of k-space a scan measures: the middle share, and others at random so that 1 / acceleration are.

    Returns:
        bool [columns].

    Raises:
        PerrinError: an acceleration below 1, or a middle that is more than what is measured.
    """
    kept, middle = round(columns / acceleration), round(columns * centre)
    if acceleration < 1 or not 0 <= middle <= kept:
        raise PerrinError(
            f"acceleration = {acceleration} with the middle {centre:.0%} of {columns} columns: {kept} are measured in all "
            f"and {middle} in the middle"
        )
    first = (columns - middle) // 2
    mask = torch.zeros(columns, dtype=torch.bool)
    mask[first : first + middle] = True
    rest = torch.nonzero(~mask).flatten()
    order = torch.randperm(len(rest), generator=torch.Generator().manual_seed(seed))
    mask[rest[order[: kept - middle]]] = True
    return mask

"""What is done to the pictures: six linear measurements with white noise, in the units of states (-1 to 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perrin.guide.operators import Downsample, Mask, Operator, gaussian_blur

BAND = 10  # rows that are lost
FACTOR, BLUR = 4, 2.0


@dataclass(frozen=True)
class Degradation:
    """y = A x + noise e."""

    name: str
    operator: Operator
    noise: float

    def measured(self, truth: Tensor, seed: int) -> Tensor:
        """y [n, *measured] of states [n, *shape]; 0 where a mask lets nothing through."""
        y = self.operator(truth)
        y = y + self.noise * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))
        return self.operator.apply(y) if isinstance(self.operator, Mask) else y

    @property
    def keep(self) -> Tensor:
        """bool, what is measured of states [*shape]; all where nothing is masked."""
        everything = torch.ones(self.operator.shape, dtype=torch.bool)
        return self.operator.keep if isinstance(self.operator, Mask) else everything


def degradations(shape: tuple[int, int, int]) -> list[Degradation]:
    """Of pictures (C, H, W)."""
    size = shape[1:]
    band = torch.ones(size, dtype=torch.bool)
    first = (size[0] - BAND) // 2
    band[first : first + BAND] = False
    scattered = torch.rand(size, generator=torch.Generator().manual_seed(0)) < 0.5
    everything = Mask(shape, torch.ones(size, dtype=torch.bool))
    return [
        Degradation("inpaint band", Mask(shape, band), 0.1),
        Degradation("inpaint half", Mask(shape, scattered), 0.1),
        Degradation("upscale 4", Downsample(shape, FACTOR), 0.05),
        Degradation("deblur 2", gaussian_blur(shape, BLUR), 0.05),
        Degradation("denoise .25", everything, 0.25),
        Degradation("denoise .5", everything, 0.5),
    ]

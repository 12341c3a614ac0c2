r"""The schedule of a pretrained network: a table of alphas_cumprod (= alpha_t^2) at integer steps.

The time is the step index, T - 1 at the noisy end; between steps the level is interpolated linearly, so that a
sampler may stop anywhere. Step -1 is the clean state (alpha^2 = 1), which makes the `time` grid the "trailing"
spacing of Lin et al. 2023. A table that ends in zero (zero terminal SNR) is exact there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process.levels import Level, float64
from perrin.process.schedule import Schedule


class Discrete(Schedule):
    """Levels at the integer steps 0 .. T-1 of a table; `alphas_cumprod` [T], falling, in [0, 1)."""

    def __init__(self, alphas_cumprod: Sequence[float] | Tensor) -> None:
        table = torch.as_tensor(alphas_cumprod, dtype=torch.float64).detach().cpu()
        if table.dim() != 1 or len(table) < 2 or not bool((table.diff() < 0).all()):
            raise PerrinError("alphas_cumprod must be a falling table of at least two numbers, one per step")
        if not (table[0] < 1 and table[-1] >= 0):
            raise PerrinError(
                f"alphas_cumprod must lie in [0, 1); it runs from {float(table[0])} to {float(table[-1])}"
            )
        self.alphas_cumprod = table
        self.levels = torch.log(table) - torch.log1p(-table)
        self.times = (-1.0, float(len(table) - 1))

    @property
    def level_range(self) -> tuple[float, float]:
        """The levels of the table itself: a network was trained on no others."""
        finite = self.levels[torch.isfinite(self.levels)]
        return float(finite[-1]), float(finite[0])

    def level(self, t: Level) -> Tensor:
        t = float64(t).clamp(*self.times)
        low = t.detach().floor().clamp(0, len(self.levels) - 2).long()
        left, right, part = self.levels[low], self.levels[low + 1], t - low
        # towards a level of -inf interpolate the signal alpha^2 instead: linear in t, zero at the end
        signal = self.alphas_cumprod[low] * (1 - part)
        to_zero = torch.log(signal) - torch.log1p(-signal)
        inside = torch.where(torch.isinf(right), to_zero, left + (right.clamp(min=-1e6) - left) * part)
        # between the clean state (-1) and the first step the noise grows from zero, linearly in sigma
        first = self.levels[0] - 2 * torch.log(torch.where(t < 0, 1 + t, 1.0))
        return torch.where(t < 0, first, inside)

    def time(self, level: Level) -> Tensor:
        level = float64(level)
        finite = self.levels[torch.isfinite(self.levels)].numpy()
        index = np.arange(len(finite), dtype=np.float64)
        query = level.detach().cpu().numpy()
        inside = torch.as_tensor(np.interp(-query, -finite, index))  # np.interp wants rising abscissae
        first = torch.exp(-0.5 * (level - finite[0])) - 1
        t = torch.where(level > finite[0], first, inside)
        if len(finite) < len(self.levels):  # the last stretch, to zero signal
            last = len(finite) - 1
            beyond = last + 1 - torch.sigmoid(level) / self.alphas_cumprod[last]
            t = torch.where(level < finite[-1], beyond, t)
        return t

    def config(self) -> dict[str, object]:
        return {"name": "discrete", "alphas_cumprod": self.alphas_cumprod.tolist()}


def discrete(alphas_cumprod: Sequence[float] | Tensor) -> Discrete:
    """The schedule of a table of alpha^2 at integer steps, as pretrained networks ship it."""
    return Discrete(alphas_cumprod)

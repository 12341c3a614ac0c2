r"""The schedule of a pretrained network: a table of alphas_cumprod (= alpha_t^2) at integer steps.

The time is the step index, T - 1 at the noisy end; between steps the level is interpolated linearly, so that
a sampler may stop anywhere. Step -1 is the clean state (alpha^2 = 1), which makes the `time` grid the
"trailing" spacing of Lin et al. 2023. A table that ends in zero (zero terminal SNR) is exact there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process import levels
from perrin.process.levels import Level, float64, level_of_ratio
from perrin.process.schedule import Coefficients


class Discrete(Coefficients):
    """Levels at the integer steps 0 .. T-1 of a table; `alphas_cumprod` [T], falling, in [0, 1)."""

    def __init__(self, alphas_cumprod: Sequence[float] | Tensor) -> None:
        table = torch.as_tensor(alphas_cumprod, dtype=torch.float64).detach().cpu()
        if table.dim() != 1 or len(table) < 2 or not bool((table.diff() < 0).all()):
            raise PerrinError("alphas_cumprod must be a falling table of at least two numbers, one per step")
        if not (table[0] < 1 and table[-1] >= 0):
            raise PerrinError(
                f"alphas_cumprod must lie in [0, 1); it runs from {float(table[0])} to {float(table[-1])}"
            )
        self._lay(table, torch.log(table) - torch.log1p(-table))

    def _lay(self, alphas_cumprod: Tensor, levels: Tensor) -> None:
        """Take a table and its levels, which need not come from the table: near one it has lost their digits."""
        self.alphas_cumprod, self.levels = alphas_cumprod, levels
        self.times = (-1.0, float(len(levels) - 1))

    @property
    def previous(self) -> Tensor:
        """The levels [T] to which a reverse step of the chain leads from each step; +inf (clean) from step 0."""
        return torch.cat([self.levels.new_tensor([torch.inf]), self.levels[:-1]])

    @property
    def level_range(self) -> tuple[float, float]:
        """The levels of the table itself: a network was trained on no others."""
        finite = self.levels[torch.isfinite(self.levels)]
        return float(finite[-1]), float(finite[0])

    def _pieces(self, t: Level) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """t clipped; sigma/alpha before step 0; the level after it; alpha^2 in a stretch to zero signal."""
        t = float64(t).clamp(*self.times)
        levels = self.levels.to(t.device)
        # before step 0 the noise grows from zero, linearly in sigma/alpha
        ratio = torch.exp(-0.5 * levels[0]) * (1 + t.clamp(max=0.0))
        inner = t.clamp(min=0.0)
        low = inner.detach().floor().clamp(0, len(levels) - 2).long()
        left, right, part = levels[low], levels[low + 1], inner - low
        # towards a level of -inf interpolate the signal alpha^2 instead: linear in t, zero at the end
        signal = torch.where(
            torch.isneginf(right), self.alphas_cumprod.to(t.device)[low] * (1 - part), torch.nan
        )
        return t, ratio, left + (right.clamp(min=-1e6) - left) * part, signal

    def _choose(self, t: Tensor, first: Tensor, inside: Tensor, last: Tensor) -> Tensor:
        return torch.where(t < 0, first, torch.where(torch.isnan(last), inside, last))

    def level(self, t: Level) -> Tensor:
        t, ratio, inside, signal = self._pieces(t)
        return self._choose(t, level_of_ratio(ratio), inside, torch.log(signal) - torch.log1p(-signal))

    def log_alpha(self, t: Level) -> Tensor:
        t, ratio, inside, signal = self._pieces(t)
        return self._choose(
            t, -0.5 * torch.log1p(ratio**2), levels.log_alpha(inside), 0.5 * torch.log(signal)
        )

    def variance(self, t: Level) -> Tensor:
        t, ratio, inside, signal = self._pieces(t)
        return self._choose(t, ratio**2 / (1 + ratio**2), torch.sigmoid(-inside), 1 - signal)

    def scale(self, t: Level) -> Tensor:
        return torch.ones_like(float64(t))

    def time(self, level: Level) -> Tensor:
        level = float64(level)
        table = self.levels.to(level.device)
        finite = table[torch.isfinite(table)]
        first = torch.exp(-0.5 * (level - finite[0])) - 1
        t = torch.where(level > finite[0], first, self._between(level, finite))
        if len(finite) < len(table):  # the last stretch, to zero signal
            last = len(finite) - 1
            beyond = last + 1 - torch.sigmoid(level) / self.alphas_cumprod[last]
            t = torch.where(level < finite[-1], beyond, t)
        return t

    def _between(self, level: Tensor, finite: Tensor) -> Tensor:
        """The index in the falling table `finite` at which `level` lies, interpolated; else the nearest end."""
        if len(finite) == 1:
            return torch.zeros_like(level)
        low = (torch.searchsorted(-finite, -level.detach()) - 1).clamp(0, len(finite) - 2)
        part = (finite[low] - level) / (finite[low] - finite[low + 1])
        return low + part.clamp(0.0, 1.0)

    def config(self) -> dict[str, object]:
        return {"name": "discrete", "alphas_cumprod": self.alphas_cumprod.tolist()}


def discrete(alphas_cumprod: Sequence[float] | Tensor) -> Discrete:
    """The schedule of a table of alpha^2 at integer steps, as pretrained networks ship it."""
    return Discrete(alphas_cumprod)

r"""Thresholding: keep the predicted clean state inside its range.

    static   mean <- clip(mean, low, high)
    dynamic  mean <- clip(mean, -s, s) / s * limit,  s = max(limit, quantile of an item's |mean|)

The second is of Saharia et al. 2022.

Clipping changes the clean estimate; what the noise should then be is a choice. By default it is the noise
that belongs to the clipped mean, so that state and prediction agree; `noise="raw"` keeps the network's own
for rules that step with it (ab_k, deis_k).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.errors import PerrinError
from perrin.guide.wrapper import Guide, check_continuous
from perrin.process.state import State, map_leaves

NoiseChoice = Literal["derived", "raw"]


class _Thresholding(Guide):
    def __init__(self, denoiser: Denoiser, noise: NoiseChoice) -> None:
        super().__init__(denoiser)
        if noise not in ("derived", "raw"):
            raise PerrinError(f"noise = {noise!r} must be 'derived' (from the clipped mean) or 'raw'")
        self.noise = noise

    @abstractmethod
    def clip(self, mean: Tensor) -> Tensor:
        """The mean brought into range."""

    def forward(self, x: State, level: Tensor, condition: Condition = None) -> Prediction:
        """The prediction with its mean brought into range."""
        check_continuous(x, "thresholding")
        found = self.denoiser(x, level, condition)
        raw = found.noise_at(x, level) if self.noise == "raw" else None
        return Prediction(map_leaves(self.clip, found.mean), raw, found.variance)


class Threshold(_Thresholding):
    """Clip the mean to [low, high], the range of the data."""

    def __init__(
        self, denoiser: Denoiser, low: float = -1.0, high: float = 1.0, *, noise: NoiseChoice = "derived"
    ) -> None:
        super().__init__(denoiser, noise)
        if not low < high:
            raise PerrinError(f"low = {low} must be below high = {high}")
        self.low, self.high = low, high

    def clip(self, mean: Tensor) -> Tensor:
        """Entry by entry."""
        return mean.clamp(self.low, self.high)


class DynamicThreshold(_Thresholding):
    """Shrink a mean that leaves [-limit, limit] by a quantile of its own size, item by item."""

    def __init__(
        self,
        denoiser: Denoiser,
        quantile: float = 0.995,
        limit: float = 1.0,
        *,
        noise: NoiseChoice = "derived",
    ) -> None:
        super().__init__(denoiser, noise)
        if not 0 < quantile <= 1 or limit <= 0:
            raise PerrinError(f"quantile = {quantile} must lie in (0, 1] and limit = {limit} above 0")
        self.quantile, self.limit = quantile, limit

    def clip(self, mean: Tensor) -> Tensor:
        """Each item by its own quantile."""
        flat = mean.flatten(1).abs()
        rank = max(1, round(self.quantile * flat.shape[1]))  # kthvalue has no limit of size, unlike quantile
        s = torch.kthvalue(flat, rank, dim=1).values.clamp(min=self.limit)
        s = s.reshape(-1, *[1] * (mean.dim() - 1))
        return torch.maximum(torch.minimum(mean, s), -s) * (self.limit / s)

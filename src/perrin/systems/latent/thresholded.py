r"""Thresholding after guidance, as a scheduler's configuration says it (Saharia et al. 2022, section 2.3).

    s = quantile of |mean|, from 1 to `sample_max_value`;    mean <- clip(mean, -s, s) / s

The noise is the one that belongs to the new mean, as in the chain of DDPM.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from perrin.denoise.prediction import Denoiser
from perrin.guide.thresholding import DynamicThreshold, Threshold


class BoundedThreshold(DynamicThreshold):
    """`DynamicThreshold` whose s has an upper bound, and whose quantile lies between two entries.

    Args:
        highest: the bound: what is above is cut off and not shrunk.
    """

    def __init__(self, denoiser: Denoiser, quantile: float, highest: float) -> None:
        super().__init__(denoiser, quantile)
        self.highest = max(highest, self.limit)

    def clip(self, mean: Tensor) -> Tensor:
        """Each item by its own quantile; beyond the bound it is shrunk by the bound."""
        flat = mean.flatten(1).abs()
        place = self.quantile * (flat.shape[1] - 1)
        low, high = (
            torch.kthvalue(flat, rank + 1, dim=1).values for rank in (math.floor(place), math.ceil(place))
        )
        s = torch.lerp(low, high, place % 1).clamp(self.limit, self.highest)
        s = s.reshape(-1, *[1] * (mean.dim() - 1))
        return torch.maximum(torch.minimum(mean, s), -s) * (self.limit / s)


def threshold(config: Mapping[str, Any]) -> Callable[[nn.Module], nn.Module] | None:
    """What a scheduler_config.json of a model of pixels puts around its guided denoiser; None: nothing."""
    if config.get("thresholding"):
        quantile, highest = (
            config.get("dynamic_thresholding_ratio", 0.995),
            config.get("sample_max_value", 1.0),
        )
        return partial(BoundedThreshold, quantile=float(quantile), highest=float(highest))
    if config.get("clip_sample", True):
        reach = float(config.get("clip_sample_range", 1.0))
        return partial(Threshold, low=-reach, high=reach)
    return None

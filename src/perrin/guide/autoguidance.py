r"""Autoguidance: away from a worse version of the model itself (Karras et al. 2024, arXiv:2406.02507).

    mean = weak + w (strong - weak)

The weak denoiser is told the same condition. It is a smaller network, one that was trained for less long, or the same run's
weights averaged over another length: what it gets wrong is what the strong one gets wrong, only more so, and the
difference points away from it without a loss of variety. It needs no class.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.guide.classifier_free import changes
from perrin.guide.contrast import WEIGHT, Contrast, check_interval, within
from perrin.guide.projected import Projection
from perrin.guide.wrapper import Guide, check_continuous, timeless
from perrin.process.state import State, map_leaves


class Autoguidance(Guide):
    """Push the prediction away from that of a weaker denoiser.

    Args:
        denoiser: the strong one. weak: of the same states and conditions.
        weight: w, one number or [B]; the condition's entry "guidance" [B] goes before it. 1 is the strong one alone.
        interval: (low, high) levels within which to guide; everywhere by default.
        rescale, projection: as in `ClassifierFree`, towards the strong mean; not of tokens.

    Rows of weight 1 do not evaluate the weak denoiser, nor rows of weight 0 the strong one.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        weak: Denoiser,
        weight: float | Tensor = 2.0,
        *,
        interval: tuple[float, float] | None = None,
        rescale: float = 0.0,
        projection: Projection | None = None,
    ) -> None:
        super().__init__(denoiser)
        check_interval(interval)
        self.weak, self.weight, self.interval = weak, weight, interval
        self.changes = changes(rescale, projection)

    @property
    def timeless(self) -> bool:
        return self.interval is None and timeless(self.denoiser) and timeless(self.weak)

    def forward(self, x: State, level: Tensor, condition: Condition = None) -> Prediction:
        """The guided prediction at x [B, ...], level [B]."""
        given = dict(condition or {})
        weight = torch.as_tensor(given.pop(WEIGHT, self.weight), dtype=torch.float64, device=level.device)
        if self.changes:
            check_continuous(x, "rescaling or projecting guidance")
        contrast = Contrast(within(weight, level, self.interval), self.changes)
        if not len(contrast.away):
            return self.denoiser(x, level, given or None)
        if not len(contrast.towards):
            return self.weak(x, level, given or None)
        return contrast.combined(
            x,
            level,
            _asked(self.denoiser, contrast.towards, x, level, given),
            _asked(self.weak, contrast.away, x, level, given),
        )

    def check(self, levels: Tensor) -> None:
        """Refuse levels at which either denoiser is undefined."""
        super().check(levels)
        check = getattr(self.weak, "check", None)
        if check is not None:
            check(levels)


def _asked(denoiser: Denoiser, rows: Tensor, x: State, level: Tensor, given: dict[str, Tensor]) -> Prediction:
    """A denoiser's prediction of some rows."""
    if len(rows) == len(level):
        return denoiser(x, level, given or None)
    told = {name: v[rows.to(v.device)] for name, v in given.items()}
    return denoiser(map_leaves(lambda v: v[rows.to(v.device)], x), level[rows], told or None)

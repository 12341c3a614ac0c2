"""Networks of pixels whose chain keeps the predicted picture within [-1, 1], as `clip_sample` of their scheduler says."""

from __future__ import annotations

from torch import Tensor

from perrin.denoise.prediction import Condition, Prediction
from perrin.denoise.wrapped import Wrapped
from perrin.process.state import single


class Clipped(Wrapped):
    """A denoiser whose mean is clipped; the noise is the one that belongs to the clipped mean."""

    def forward(self, x: Tensor, level: Tensor, condition: Condition = None) -> Prediction:
        """The prediction at `x` [B, C, H, W] in unit coordinates, `level` [B]."""
        return Prediction(single(super().forward(x, level, condition).mean).clamp(-1, 1))

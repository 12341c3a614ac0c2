"""Filling a hole with a model that was not trained for it: outside the hole the clean latents are known.

    mean <- mean within the hole, the picture's latents outside of it

Under a deterministic rule that began at the noised picture this is the same as putting the picture, with the same noise,
back after every step (Avrahami et al. 2022).
"""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Prediction
from perrin.guide.wrapper import Guide
from perrin.process.state import State, single

HOLE, CLEAN = "hole", "clean"


class Blended(Guide):
    """The denoiser, with the condition's `clean` [B, C, h, w] where its `hole` [B, 1, h, w] is 0; both stay out of it."""

    def forward(self, x: State, level: Tensor, condition: Condition = None) -> Prediction:
        """The prediction at x [B, C, h, w], level [B]."""
        own = dict(condition or {})
        hole, clean = own.pop(HOLE), own.pop(CLEAN)
        mean = single(self.denoiser(x, level, own or None).mean)
        return Prediction(torch.where(hole > 0, mean, clean.to(mean)))

"""Denoisers: predictions, parameterisations, `wrap` for anyone's network, and exact denoisers."""

from perrin.denoise import exact
from perrin.denoise.learned_variance import learned_range
from perrin.denoise.prediction import Condition, Denoiser, Prediction, unconditional
from perrin.denoise.wrapped import wrap

__all__ = ["Condition", "Denoiser", "Prediction", "exact", "learned_range", "unconditional", "wrap"]

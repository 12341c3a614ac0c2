"""What guidance by derivatives shares: a prediction with its Jacobian, and a prediction whose mean is moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor, func

from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.process import levels
from perrin.process.levels import expand
from perrin.process.state import single

Product: TypeAlias = Callable[[Tensor], Tensor]


def with_reverse(
    denoiser: Denoiser, x: Tensor, level: Tensor, condition: Condition
) -> tuple[Prediction, Product]:
    """A prediction, and the product of vectors [B, ...] with the transposed Jacobian of its mean, row by row."""
    kept: list[str] = []

    def predict(y: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        found = denoiser(y, level, condition)
        named = {"mean": found.mean, "noise": found.noise, "variance": found.variance}
        parts = {name: single(part) for name, part in named.items() if part is not None}
        kept[:] = parts
        return parts["mean"], tuple(parts.values())

    # unlike autograd.grad it works where gradients are off (`run`)
    vjp: Any = func.vjp
    _, back, parts = vjp(predict, x, has_aux=True)
    return Prediction(**dict(zip(kept, parts, strict=True))), lambda v: back(v)[0]


def moved(found: Prediction, shift: Tensor, level: Tensor) -> Prediction:
    """A prediction with `shift` [B, ...] added to its mean, and its raw noise, where there is one, moved likewise."""
    mean = single(found.mean)
    shifted = mean + shift.to(mean.dtype)
    if found.noise is None:
        return Prediction(shifted, None, found.variance)
    noise = single(found.noise)
    lost = expand(levels.alpha(level) / levels.sigma(level), noise) * shift.to(noise.dtype)
    return Prediction(shifted, noise - lost, found.variance)

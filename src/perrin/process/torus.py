r"""Angles on a torus: normal noise that goes round, on the same clock as every other process.

    marginal      x = clean + s z  (mod 2 pi),   s(level) = sigma / alpha = e^{-level / 2}  radians
    displacement  s^2 grad_x log q(x | clean), of a wrapped normal: the way back to `clean` while s is small, and
                  2 s^2 e^{-s^2/2} sin(clean - x) when it is large

The noise is variance exploding, and uniform on the torus as level -> -inf (Jing et al. 2022, "Torsional diffusion"; De
Bortoli et al. 2022). Entries are independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from perrin.process.heat import CIRCLE
from perrin.process.levels import float64, ratio


@dataclass(frozen=True)
class Torus:
    """What noise does to angles [B, ...] in radians, kept in (-pi, pi]."""

    name: ClassVar[str] = "torus"

    def config(self) -> dict[str, Any]:
        """The JSON-able options that rebuild it, with its registry name."""
        return {"name": self.name}

    def places(self, shape: Sequence[int]) -> tuple[int, ...]:
        """How many uniforms `prior` and `noised` take for a state of this shape: one for each angle."""
        return tuple(shape)

    def prior(self, u: Tensor) -> Tensor:
        """The noise end: angles float64 of uniforms u in (0, 1), of the shape of u."""
        return math.pi * (2 * u - 1)

    def noised(self, clean: Tensor, level: Tensor, u: Tensor) -> Tensor:
        """The marginal: `clean` [B, ...] at `level` [B], by uniforms u in (0, 1) like it, float64."""
        s = _spread(level, clean).clamp(max=CIRCLE.widest)  # uniform already
        return self.exp(clean, s * torch.special.ndtri(u))

    def displacement(self, x: Tensor, clean: Tensor, level: Tensor) -> Tensor:
        """s^2 grad_x log q(x | clean): [B, ...] radians, of the dtype of x. `level` [B]; x and clean broadcast."""
        back = wrap(clean.to(torch.float64) - x.to(torch.float64))
        return (CIRCLE.pull(back.abs(), _spread(level, back)) * back).to(x.dtype)

    def log_density(self, x: Tensor, clean: Tensor, level: Tensor) -> Tensor:
        """log q(x | clean) of every angle, per radian: [B, ...] float64, nats."""
        angle = wrap(clean.to(torch.float64) - x.to(torch.float64)).abs()
        return CIRCLE.log_density(angle, _spread(level, angle))

    def rms(self, level: Tensor) -> Tensor:
        """Root mean square of an entry of `displacement` at `level` [B] when x is the noisy clean: float64 [B].

        s for small s, and sqrt(2) s^2 e^{-s^2/2} when it is large; never 0 but at the clean end.
        """
        return CIRCLE.rms(ratio(level))

    def exp(self, x: Tensor, v: Tensor) -> Tensor:
        """From x by v radians: [B, ...] of the dtype of x."""
        return wrap(x.to(torch.float64) + v.to(torch.float64)).to(x.dtype)

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """The shortest v with exp(x, v) = y: [B, ...] of the dtype of x."""
        return wrap(y.to(torch.float64) - x.to(torch.float64)).to(x.dtype)


def wrap(angle: Tensor) -> Tensor:
    """The same angle between -pi and pi; one that is between them stays to the last bit."""
    return angle - 2 * math.pi * torch.round(angle / (2 * math.pi))


def _spread(level: Tensor, like: Tensor) -> Tensor:
    """s [B, 1, ...] float64."""
    return ratio(float64(level)).reshape(-1, *[1] * (like.dim() - 1)).to(like.device)

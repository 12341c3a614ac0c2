r"""Methods that were measured and are not kept.

DPS (Chung et al. 2023, arXiv:2209.14687) moves the state after every ancestral row,

    x' <- x' - zeta d|y - A mean(x)| / dx

so that its step has a meaning for one number of rows alone. Here it is the shift of the mean that has this effect.

Matched is PiGDM whose r^2 is what the network says, by one probe with random signs e (Hutchinson 1990):

    r^2 = <A* e, V A* e> / <A* e, A* e>,   V = (sigma^2 / alpha) dmean/dx

It is as good as MMPS on digits and overshoots where V differs much between the directions that are measured (MRI).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Prediction
from perrin.guide.moving import Product, with_reverse
from perrin.guide.operators.linear import Operator, inner
from perrin.guide.restoring import Measured
from perrin.process import gaussian, levels
from perrin.process.levels import expand
from perrin.process.state import single
from perrin.sample import Plan
from perrin.sample.noise import bits, seed_of, seed_tensor

RANGE = (0.01, 16.0)
"""Of Matched's r^2, relative to that of independent entries: one probe can say anything."""


class DPS(Measured):
    """Of a plan of the rule `ddpm`."""

    def __init__(self, plan: Plan, *given: Any, zeta: float = 1.0) -> None:
        super().__init__(*given)
        self.zeta = zeta
        after = [*plan.evaluated[1:], plan.grid[-1]]
        self.share = {
            a: float(gaussian.posterior(a, b)[1]) for a, b in zip(plan.evaluated, after, strict=True)
        }

    def shift(self, x: Tensor, level: Tensor, condition: Condition) -> tuple[Prediction, Tensor]:
        """What moves the state by zeta d|y - A mean| / dx after a row."""
        found, reverse = with_reverse(self.denoiser, x, level, condition)
        operator, residual = self.around(single(found.mean), level)
        share = torch.tensor([self.share[v] for v in level.tolist()], dtype=torch.float64, device=x.device)
        size = inner(residual, residual).sqrt() * share
        return found, self.zeta * reverse(operator.adjoint(residual)) / expand(size, x)


class Matched(Measured):
    """Pseudo-inverse guidance with a variance that the network says: two reverse passes an evaluation."""

    def shift(self, x: Tensor, level: Tensor, condition: Condition) -> tuple[Prediction, Tensor]:
        """The denoiser's prediction, and V A* (s^2 + r^2 A A*)^-1 (y - A mean)."""
        found, reverse = with_reverse(self.denoiser, x, level, condition)
        gain = expand(levels.sigma(level) ** 2 / levels.alpha(level), x)
        operator, residual = self.around(single(found.mean), level)
        share = self._share(operator, residual, level, lambda v: gain * reverse(v))
        u = self.weighed(operator, residual, expand(share, residual.real) * self.alone(level, residual.real))
        return found, gain * reverse(operator.adjoint(u))

    def _share(self, operator: Operator, like: Tensor, level: Tensor, spread: Product) -> Tensor:
        """r^2 relative to that of independent entries, [B]."""
        back = operator.adjoint(_signs(like, level))
        alone = self.alone(level, like.real).flatten().double()
        return (inner(back, spread(back)) / inner(back, back) / alone).clamp(*RANGE)


def _signs(like: Tensor, level: Tensor) -> Tensor:
    """Random signs (of complex numbers of both parts), a function of the level: errors of one are not the next one's."""
    told = list(dict.fromkeys(level.tolist()))
    place = torch.tensor([told.index(v) for v in level.tolist()])
    seeds = seed_tensor([seed_of(0, "", "probe", v) for v in told], like.device)
    parts = torch.view_as_real(like) if like.is_complex() else like
    drawn = (bits(seeds, parts[0].numel()) >> 40 & 1) * 2 - 1
    signs = drawn[place.to(like.device)].reshape(parts.shape).to(parts.dtype)
    return torch.view_as_complex(signs) if like.is_complex() else signs


PROTOTYPES: dict[str, Callable[[Plan], Callable[..., Measured]]] = {
    "dps": lambda plan: lambda *given, **options: DPS(plan, *given, **options),
    "matched": lambda _: Matched,
}

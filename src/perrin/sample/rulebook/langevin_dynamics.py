r"""Langevin dynamics at a fixed level, as the step that is exact when the prediction D is constant:

    x <- alpha D + rho (x - alpha D) + sqrt(1 - rho^2) sigma z,    rho = exp(-strength h / corrections)

(an Ornstein-Uhlenbeck process around the prediction). Tying rho to the step h lets its bias vanish as steps
are refined. The unadjusted step of Song et al. 2021 (algorithm 4) adds noise that is not exact on a point
mass, and its step size pools norms over the batch; neither happens here.
"""

from __future__ import annotations

import math

from perrin.errors import PerrinError
from perrin.sample.rule import finite_steps, rule
from perrin.sample.rulebook.first_order import ancestral
from perrin.sample.tracing import Linear, Point, Step, transfer


def _correct(step: Step, x: Linear, at: Point, corrections: int, strength: float) -> Linear:
    """`corrections` Langevin steps at one level, refreshing exp(-strength h) of the noise in all."""
    if corrections < 1 or strength <= 0:
        raise PerrinError(f"corrections = {corrections} must be >= 1 and strength = {strength} > 0")
    rho = math.exp(-strength * (step.t.lam - step.s.lam) / corrections)
    for visit in range(corrections):
        found = step.predict(x, at)
        z = step.fresh("corrector", at, visit)
        # x - alpha D as sigma E: the state that was evaluated, so that no earlier prediction need be kept
        kept = (rho * at.sigma) * found.noise
        x = at.alpha * found.mean + kept + (math.sqrt(1 - rho**2) * at.sigma) * z
    return x


def _evaluations(grid: list[float], *, corrections: int = 1, **options: object) -> int:
    return len(grid) - 1 + corrections * finite_steps(grid)


@rule("langevin", order=1, stochastic=True, evaluations=_evaluations)
def langevin(step: Step, *, corrections: int = 1, strength: float = 1.0) -> Linear:
    """Annealed Langevin: corrections at each level, then a DDIM step to the next; the last step denoises."""
    x = step.x
    if step.finite:
        x = _correct(step, x, step.s, corrections, strength)
    return transfer(x, step.predict(x).mean, step.s, step.t)


@rule("predictor_corrector", order=1, stochastic=True, evaluations=_evaluations)
def predictor_corrector(step: Step, *, corrections: int = 1, strength: float = 1.0) -> Linear:
    """A reverse-SDE step to the next level, then Langevin corrections there (Song et al. 2021, sec. 4.2)."""
    x = ancestral(step, step.x, step.predict().mean, step.s, step.t)
    return _correct(step, x, step.t, corrections, strength) if step.finite else x

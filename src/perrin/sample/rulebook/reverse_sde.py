r"""Euler-Maruyama on the reverse-time SDE, with the level as its clock.

In unit coordinates and rising level, dx = (sigma^2/2 x + sigma^2 score) dlevel + sigma dw (Anderson 1982; Song et
al. 2021, equation 6); with sigma^2 score = alpha D - x, a step that raises the level by h is

    x <- x + h (sigma^2/2 x + alpha D - x) + sigma sqrt(h) z

All is frozen at the step's start, the noise that is there included, so a point mass comes out with a wrong variance.
Near the clean end a step multiplies the noise by 1 - h: with h >= 2 that grows. `ddpm` is the exact step for the
same frozen D and costs the same.
"""

from __future__ import annotations

import math

from perrin.sample.rule import rule
from perrin.sample.rulebook.first_order import ancestral
from perrin.sample.tracing import Linear, Step


@rule("euler_maruyama", order=1, stochastic=True, exact_on_point_mass=False)
def euler_maruyama(step: Step) -> Linear:
    """Euler-Maruyama on the reverse SDE, stable for steps of the level below 2; the last step denoises."""
    s, t = step.s, step.t
    mean = step.predict().mean
    if not step.finite:  # out of pure noise, or the last step: h is infinite
        return ancestral(step, step.x, mean, s, t)
    h = t.level - s.level
    drift = (0.5 * s.sigma**2 - 1) * step.x + s.alpha * mean
    return step.x + h * drift + (s.sigma * math.sqrt(h)) * step.path(s, t)

r"""First-order rules: one prediction, held constant over the step.

    ddim             x_t = alpha_t D + sigma_t E                          (Song, Meng and Ermon 2021, eta = 0)
    ddpm             x_t ~ q(x_t given x_s, clean = D)                    (Ho et al. 2020, equation 7)
    euler_ancestral  x_t = alpha_t D + sqrt(sigma_t^2 - up^2) E + up z    (DDIM's eta; k-diffusion)

E = (x - alpha_s D) / sigma_s. With eta = 1 the last two are the same map.
"""

from __future__ import annotations

import math

from perrin.process import gaussian
from perrin.sample.rule import rule
from perrin.sample.tracing import Linear, Point, Step, transfer


@rule("ddim", order=1)
def ddim(step: Step) -> Linear:
    """DDIM, the exponential Euler method of the probability flow; `euler` is the same table."""
    return transfer(step.x, step.predict().mean, step.s, step.t)


def ancestral(step: Step, x: Linear, mean: Linear, s: Point, t: Point) -> Linear:
    """A draw from q(x_t given x_s, clean = mean): the reverse SDE, exact for a constant mean."""
    c_x, c_clean, std = (float(v) for v in gaussian.posterior(s.level, t.level))
    value = c_x * x + c_clean * mean
    return value if std == 0 else value + std * step.path(s, t)


@rule("ddpm", order=1, stochastic=True)
def ddpm(step: Step) -> Linear:
    """Ancestral sampling of DDPM, with the model's own variance where it has learned one."""
    s, t = step.s, step.t
    mean = step.predict().mean
    c_x, c_clean, std = (float(v) for v in gaussian.posterior(s.level, t.level))
    value = c_x * step.x + c_clean * mean
    if std == 0:  # the last step shows the mean; noise there would only be noise
        return value
    return value + step.path(s, t, variance=(std**2, c_clean**2))


@rule("euler_ancestral", order=1, stochastic=True)
def euler_ancestral(step: Step, *, eta: float = 1.0) -> Linear:
    """A DDIM step with part of the noise renewed; eta = 0 is ddim, eta = 1 the posterior of DDPM."""
    s, t = step.s, step.t
    mean = step.predict().mean
    if not t.finite:
        return transfer(step.x, mean, s, t)
    fresh = float(gaussian.shrink(s.level, t.level))
    up = eta * t.sigma * math.sqrt(fresh)
    down = t.sigma * math.sqrt((1 - fresh) + (1 - eta**2) * fresh)
    noise = (step.x - s.alpha * mean) / s.sigma
    value = t.alpha * mean + down * noise
    return value if up == 0 else value + up * step.path(s, t)

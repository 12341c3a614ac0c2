r"""DPM-Solver++ for the reverse SDE: the same predictions, with the path's noise.

    x_t = (sigma_t/sigma_s) e^-h x_s + alpha_t (1 - e^-2h) D' + sigma_t sqrt(1 - e^-2h) z

(Lu et al. 2022b, section 5 and appendix; k-diffusion's dpmpp_sde and dpmpp_2m_sde at eta = 1), which is the
posterior of DDPM with an extrapolated prediction.
"""

from __future__ import annotations

import math

from perrin.sample.rule import rule, two_stage
from perrin.sample.rulebook.first_order import ancestral
from perrin.sample.tracing import Linear, Step, transfer


@rule("dpmpp_sde", order=2, stochastic=True, evaluations=two_stage)
def dpmpp_sde(step: Step) -> Linear:
    """DPM-Solver++ SDE with a midpoint: both stages move along one Brownian path."""
    s, t = step.s, step.t
    first = step.predict()
    if not step.finite:
        return ancestral(step, step.x, first.mean, s, t)
    middle = step.at(0.5 * (s.level + t.level))
    second = step.predict(ancestral(step, step.x, first.mean, s, middle), middle)
    return ancestral(step, step.x, second.mean, s, t)


@rule("dpmpp_2m_sde", order=2, stochastic=True)
def dpmpp_2m_sde(step: Step, *, eta: float = 1.0) -> Linear:
    """DPM-Solver++ 2M SDE (midpoint form): the last two predictions and fresh noise; eta = 0 is dpmpp_2m."""
    s, t = step.s, step.t
    now = step.predict()
    if not t.finite:
        return transfer(step.x, now.mean, s, t)
    h = t.lam - s.lam
    mean = now.mean
    if step.finite and len(step.history) > 1 and step.history[1].at.finite:
        before = step.history[1]
        mean = mean + (0.5 * h / (s.lam - before.at.lam)) * (now.mean - before.mean)
    keep = math.exp(-eta * h) * (t.sigma / s.sigma)
    value = keep * step.x + (-t.alpha * math.expm1(-(1 + eta) * h)) * mean
    up = t.sigma * math.sqrt(-math.expm1(-2 * eta * h))
    return value if up == 0 else value + up * step.path(s, t)

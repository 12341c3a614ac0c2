r"""DPM-Solver++ for the probability flow: clean-state predictions, polynomial in lam = log(alpha/sigma).

    x_t = (sigma_t/sigma_s) x_s + alpha_t (1 - e^-h) D'      (Lu et al. 2022b, equation 8)

with D' extrapolated: from the midpoint (2S), or from earlier steps (2M, 3M; algorithms 1 and 2, and the
multistep third-order form of its reference implementation).
"""

from __future__ import annotations

import math

from perrin.sample.rule import rule, two_stage
from perrin.sample.tracing import Linear, Step, transfer


@rule("dpmpp_2s", order=2, evaluations=two_stage)
def dpmpp_2s(step: Step) -> Linear:
    """DPM-Solver++ 2S: the prediction at the midpoint in log SNR serves the whole step."""
    s, t = step.s, step.t
    first = step.predict()
    if not step.finite:
        return transfer(step.x, first.mean, s, t)
    middle = step.at(0.5 * (s.level + t.level))
    second = step.predict(transfer(step.x, first.mean, s, middle), middle)
    return transfer(step.x, second.mean, s, t)


@rule("dpmpp_2m", order=2)
def dpmpp_2m(step: Step) -> Linear:
    """DPM-Solver++ 2M: the last two predictions, extrapolated linearly to the middle of the step."""
    s, t = step.s, step.t
    now = step.predict()
    if not step.finite or len(step.history) < 2 or not step.history[1].at.finite:
        return transfer(step.x, now.mean, s, t)
    before = step.history[1]
    r = (s.lam - before.at.lam) / (t.lam - s.lam)
    return transfer(step.x, now.mean + (0.5 / r) * (now.mean - before.mean), s, t)


@rule("dpmpp_3m", order=3, start_order=2)
def dpmpp_3m(step: Step) -> Linear:
    """DPM-Solver++ 3M: the last three predictions, a parabola in log SNR integrated exactly."""
    s, t = step.s, step.t
    now = step.predict()
    past = [p for p in step.history[1:3] if p.at.finite]
    euler = transfer(step.x, now.mean, s, t)
    if not step.finite or not past:
        return euler
    h = t.lam - s.lam
    # integrals of exp(-(1-v) h) v^k h over v in [0, 1], k = 1 and 2
    linear = 1 + math.expm1(-h) / h
    square = 1 - 2 * linear / h
    r0 = (s.lam - past[0].at.lam) / h
    slope = (now.mean - past[0].mean) / r0
    if len(past) == 1:
        return euler + t.alpha * linear * slope
    r1 = (past[0].at.lam - past[1].at.lam) / h
    # Newton's form D + slope v + curve v (v + r0); the published code halves its last term and loses order
    curve = (slope - (past[0].mean - past[1].mean) / r1) / (r0 + r1)
    return euler + t.alpha * linear * (slope + r0 * curve) + t.alpha * square * curve

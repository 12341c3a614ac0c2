r"""UniPC (Zhao et al. 2023), predicting the clean state, with B(h) = 1 - e^-h (its "bh2").

With D_0 at the step's start and differences d_i = (D_i - D_0)/r_i at r_i = (lam_i - lam_s)/h,

    predictor  x_t = transfer(x_s, D_0) + alpha_t B sum_i rho_i d_i,      i over earlier predictions
    corrector  the same with the new prediction, r = 1, in the sum: no further evaluation

and rho solves sum_i rho_i r_i^(k-1) = b_k (equation 9). The corrected state is the base of the next step.
"""

from __future__ import annotations

import math

import numpy as np

from perrin.sample.rule import rule
from perrin.sample.tracing import Linear, Output, Point, Step, transfer


def _moments(h: float, count: int) -> list[float]:
    """b_k = k! phi_(k+1)(-h) / B(-h): what the differences must integrate to."""
    bound = math.expm1(-h)
    phi, factorial, result = bound / -h - 1, 1.0, []
    for k in range(1, count + 1):
        result.append(phi * factorial / bound)
        factorial *= k + 1
        phi = phi / -h - 1 / factorial
    return result


def _combine(x: Linear, base: Output, others: list[Output], t: Point) -> Linear:
    """The step from base's level to t with the differences of `others` to `base`."""
    s = base.at
    euler = transfer(x, base.mean, s, t)
    if not others:
        return euler
    h = t.lam - s.lam
    r = [(p.at.lam - s.lam) / h for p in others]
    if len(others) == 1:
        rho = [0.5]  # the paper's choice at one difference, for predictor and corrector
    else:
        rho = list(np.linalg.solve(np.vander(r, increasing=True).T, _moments(h, len(r))))
    weight = -t.alpha * math.expm1(-h)
    for share, ratio, other in zip(rho, r, others, strict=True):
        euler = euler + (weight * float(share) / ratio) * (other.mean - base.mean)
    return euler


def _unipc(step: Step, order: int) -> Linear:
    s, t = step.s, step.t
    base = step.history[0] if step.history else step.predict()
    past = [p for p in step.history[1:order] if p.at.finite] if step.finite else []
    # a step that touches an infinite level is first order
    value = _combine(step.x, base, past, t) if step.finite else transfer(step.x, base.mean, s, t)
    if step.index == step.count - 1:  # correcting the last state would cost an evaluation of its own
        return value
    new = step.predict(value, t)
    return _combine(step.x, base, [*past, new], t) if step.finite else value


@rule("unipc_2", order=2)
def unipc_2(step: Step) -> Linear:
    """UniPC of order 2: predictor and corrector share one evaluation a step."""
    return _unipc(step, 2)


@rule("unipc_3", order=3)
def unipc_3(step: Step) -> Linear:
    """UniPC of order 3: predictor and corrector share one evaluation a step."""
    return _unipc(step, 3)

r"""Second-order one-step rules in the coordinates of EDM, y = x/alpha and rho = sigma/alpha: dy/drho = E.

    heun   y_t = y + (rho_t - rho_s) (E_s + E_t) / 2     (Karras et al. 2022, algorithm 1)
    dpm_2  y_t = y + (rho_t - rho_s) E_m, rho_m the geometric mean   (k-diffusion's DPM-Solver-2)

Both are the first-order step plus a correction by a difference of noises. The second noise is that of a state
which the first prediction led to, x = alpha D_s + sigma E_s, so the difference is one of predictions,

    E - E_s = (alpha/sigma) (D_s - D),

which does not divide the rounding of the state by sigma.
"""

from __future__ import annotations

from perrin.sample.rule import rule, two_stage
from perrin.sample.tracing import Linear, Output, Point, Step, transfer


def heun_step(step: Step, x: Linear, first: Output, s: Point, t: Point) -> Linear:
    """Heun's step from s to t; Euler's where t is clean or s pure noise."""
    euler = transfer(x, first.mean, s, t)
    if not (s.finite and t.finite):
        return euler
    second = step.predict(euler, t)
    return euler + (0.5 * t.alpha * (1 - s.ratio / t.ratio)) * (first.mean - second.mean)


@rule("heun", order=2, evaluations=two_stage)
def heun(step: Step) -> Linear:
    """Heun's method in sigma/alpha: two evaluations a step, one in the last."""
    return heun_step(step, step.x, step.predict(), step.s, step.t)


@rule("dpm_2", order=2, evaluations=two_stage)
def dpm_2(step: Step) -> Linear:
    """The midpoint method in sigma/alpha, with the midpoint in log sigma."""
    s, t = step.s, step.t
    first = step.predict()
    if not step.finite:
        return transfer(step.x, first.mean, s, t)
    middle = step.at(0.5 * (s.level + t.level))
    second = step.predict(transfer(step.x, first.mean, s, middle), middle)
    euler = transfer(step.x, first.mean, s, t)
    return euler + (t.alpha * (t.ratio - s.ratio) / middle.ratio) * (first.mean - second.mean)

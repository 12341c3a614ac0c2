r"""Annealed Langevin dynamics as published: unadjusted steps at each noise scale, then a denoising step.

In the coordinates of the paper, y = x/alpha = clean + r noise with r = sigma/alpha, at each level `corrections` times

    y <- y + (delta/2) score + sqrt(delta) z,    score = (D - y)/r^2,    delta = step r^2

(Song and Ermon 2019, algorithm 1: 100 steps with delta = 0.2 r^2; 2020: 5 steps). The next level takes y as it is,
and the last step shows the mean (Jolicoeur-Martineau et al. 2020). Times alpha, a step is

    x <- x + (step/2) (alpha D - x) + sqrt(step) sigma z

It is exact nowhere, not on a point mass either. For data N(m, s^2) a step multiplies the deviation by 1 - a with
a = (step/2) r^2 / (s^2 + r^2), so the variance of y tends to (s^2 + r^2)/(1 - a/2), which is too large, and starts
from that of the noisier level. Neither vanishes with more levels, hence order 0. `langevin` has no such bias.
"""

from __future__ import annotations

import math

from perrin.errors import PerrinError
from perrin.sample.rule import rule
from perrin.sample.tracing import Linear, Point, Step, transfer


def _evaluations(grid: list[float], *, corrections: int = 5, **options: object) -> int:
    finite = sum(math.isfinite(level) for level in grid)
    leaving = grid[0] == -math.inf and finite > 0  # the step out of pure noise asks once
    return corrections * finite + leaving + (grid[-1] == math.inf)


def _unadjusted(step: Step, x: Linear, at: Point, corrections: int, size: float) -> Linear:
    for visit in range(corrections):
        found = step.predict(x, at)
        z = step.fresh("corrector", at, visit)
        # alpha D + sigma E is x itself, as one value: its history need not be kept
        x = (
            at.alpha * found.mean
            + ((1 - size / 2) * at.sigma) * found.noise
            + (math.sqrt(size) * at.sigma) * z
        )
    return x


@rule("annealed_langevin", order=0, stochastic=True, exact_on_point_mass=False, evaluations=_evaluations)
def annealed_langevin(step: Step, *, corrections: int = 5, step_size: float = 0.2) -> Linear:
    """Annealed Langevin of Song and Ermon: unadjusted steps at each level, biased; the last step denoises."""
    if corrections < 1 or not 0 < step_size < 4:
        raise PerrinError(
            f"corrections = {corrections} must be >= 1, and step_size = {step_size} between 0 and 4, "
            "where the dynamics are stable"
        )
    s, t, x = step.s, step.t, step.x
    if step.index == 0 and s.finite:
        x = _unadjusted(step, x, s, corrections, step_size)
    if not t.finite:
        return step.predict(x).mean
    # out of pure noise y is infinite: enter the first level on its marginal
    x = (t.alpha / s.alpha) * x if s.finite else transfer(x, step.predict(x).mean, s, t)
    return _unadjusted(step, x, t, corrections, step_size)

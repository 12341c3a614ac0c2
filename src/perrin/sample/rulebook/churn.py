r"""EDM's stochastic sampler: raise the noise a little, then take Heun's step (Karras et al. 2022, algorithm
2).

gamma = min(churn / N, sqrt(2) - 1) while low <= rho <= high;   rho' = rho (1 + gamma)
y' = y + sqrt(rho'^2 - rho^2) z,   then Heun from rho' to rho_t
"""

from __future__ import annotations

import math

from perrin.errors import PerrinError
from perrin.process import gaussian
from perrin.sample.rule import rule, two_stage
from perrin.sample.rulebook.runge_kutta import heun_step
from perrin.sample.tracing import Linear, Step


@rule("edm_heun", order=2, stochastic=True, evaluations=two_stage)
def edm_heun(
    step: Step, *, churn: float = 4.0, low: float = 0.05, high: float = 50.0, noise: float = 1.0
) -> Linear:
    """Heun with churn: `churn` is S_churn, [low, high] the range of sigma/alpha in which noise is added."""
    if noise != 1.0:
        raise PerrinError(
            f"noise = {noise}: noise other than 1 gives the output a wrong variance; leave it at 1"
        )
    if churn < 0:
        raise PerrinError(f"churn = {churn} must be >= 0")
    s, x = step.s, step.x
    gamma = min(churn / step.count, math.sqrt(2) - 1) if low <= s.ratio <= high else 0.0
    if gamma > 0:
        noisier = step.at(s.level - 2 * math.log1p(gamma))
        scale, std = (float(v) for v in gaussian.transition(s.level, noisier.level))
        x, s = scale * x + std * step.fresh("churn", s, visit=step.index), noisier
    return heun_step(step, x, step.predict(x, s), s, step.t)

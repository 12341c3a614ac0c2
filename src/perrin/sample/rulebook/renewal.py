r"""Sampling from a consistency function: show the clean end, then renew all of the noise.

    x_t = alpha_t f(x_s) + sigma_t z                      (Song et al. 2023, algorithm 1)

f is the end of the probability flow through x_s, which a distilled network gives as its prediction D; the law of x_t
is then that of the model at level t, whatever the step. Under an ordinary denoiser, whose D is a mean, every step
loses variance, and a finer grid does not help.
"""

from __future__ import annotations

from perrin.sample.rule import rule
from perrin.sample.tracing import Linear, Step


@rule("consistency", order=0, stochastic=True)
def consistency(step: Step) -> Linear:
    """The prediction under fresh noise of the next level: for models distilled to few evaluations."""
    s, t = step.s, step.t
    value = t.alpha * step.predict().mean
    return value if t.sigma == 0 else value + t.sigma * step.path(s, t)

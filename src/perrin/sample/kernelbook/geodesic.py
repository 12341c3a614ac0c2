r"""Steps along geodesics: samplers of angles and rotations (De Bortoli et al. 2022; Jing et al. 2022; Yim et al. 2023).

With D = s^2 score, the displacement in the tangent space at x, s_a and s_b the noise before and after, r = s_b / s_a,

    geodesic       x' = exp_x((1 - r^2) D + s_b sqrt(1 - r^2) z)      ancestral sampling, DDPM in this coordinate
    geodesic_flow  x' = exp_x((1 - r) D)                              the probability flow, DDIM in this coordinate

Where space is flat and the data one point, both are exact in steps of any size; the curvature, and clean states that are
not told from each other yet, are errors of first order. From the noise end, s_a infinite, the score is nothing: the
first step of `geodesic` adds noise s_b to what is uniform already.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.process.levels import ratio
from perrin.process.state import spread
from perrin.sample.kernel import Step, kernel


@kernel("geodesic", processes=("torus", "rotations"))
def geodesic(step: Step) -> Tensor:
    """Ancestral steps along geodesics."""
    fresh = -torch.expm1(step.noisy - step.cleaner)  # 1 - r^2
    back = _share(fresh, step)
    z = torch.special.ndtri(step.uniform(0, shape=step.process.places(tuple(step.x.shape[1:]))))
    return _moved(step, back + step.spread(ratio(step.cleaner) * torch.sqrt(fresh), z) * z)


@kernel("geodesic_flow", processes=("torus", "rotations"), stochastic=False)
def geodesic_flow(step: Step) -> Tensor:
    """The probability flow along geodesics: no noise but that of the start."""
    return _moved(step, _share(-torch.expm1(0.5 * (step.noisy - step.cleaner)), step))


def _share(share: Tensor, step: Step) -> Tensor:
    """A share [B] of the displacement, float64; nothing of what is said at the noise end."""
    mean = step.mean.to(torch.float64)
    return torch.where(step.spread(torch.isinf(step.noisy), mean), 0.0, step.spread(share, mean) * mean)


def _moved(step: Step, v: Tensor) -> Tensor:
    """The state a tangent vector further, but for what is held."""
    moved: Tensor = step.process.exp(step.x, v)
    return torch.where(spread(step.held, step.x), step.x, moved)

r"""Score-based models by stochastic differential equations (Song et al. 2021, arXiv:2011.13456).

    forward            dy = f(t) y dt + g(t) dw                                 schedule.drift, schedule.diffusion
    reverse            dy = (f y - g^2 score) dt + g dw,  time running back     (their equation 6)
    probability flow   dy = (f y - g^2 score / 2) dt                            (their equation 13)

`vp`, `ve` and `sub_vp` are three schedules of the one process: with y = scale_t x the state of a plan in unit
coordinates, score_y = score_x / scale_t. So one denoiser serves all three, and every solver is a rule:

    reverse SDE             euler_maruyama (weak order 1), dpmpp_2m_sde, ...
    predictor-corrector     predictor_corrector, langevin                       (their section 4.2)
    probability flow        heun, dpmpp_2m, ...; latent codes by `encode` and `decode`  (their section 4.3)
    a class from outside    `perrin.guide.ClassifierGuidance`                   (their section 5)
    maximum likelihood      weight `likelihood` on law `uniform_level`          (Song et al. 2021b)
"""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser
from perrin.errors import PerrinError
from perrin.learn.denoising import Denoising
from perrin.learn.laws import uniform_level, uniform_time
from perrin.learn.weighting import likelihood, simple
from perrin.likelihood.probability_flow import decode, encode
from perrin.process import sub_vp, ve, vp
from perrin.process.levels import float64
from perrin.process.schedule import Schedule

__all__ = [
    "decode",
    "encode",
    "flow_drift",
    "forward_sde",
    "interpolate",
    "make_objective",
    "reverse_sde",
    "score",
    "sub_vp",
    "ve",
    "vp",
]


def score(denoiser: Denoiser, schedule: Schedule, y: Tensor, t: float, condition: Condition = None) -> Tensor:
    """grad log p_t(y) [B, ...] in the schedule's own coordinates, at one time of finite level."""
    level, scale = schedule.level(t), schedule.scale(t)
    if not bool(torch.isfinite(level)):
        raise PerrinError(f"t = {t} has level {float(level)}, where the score is infinite or says nothing")
    x, levels = y / float(scale), float64(level).expand(len(y)).to(y.device)
    found = denoiser(x, levels, condition).score(x, levels)
    assert isinstance(found, Tensor)
    return found / float(scale)


def forward_sde(schedule: Schedule, y: Tensor, t: float) -> tuple[Tensor, float]:
    """(f(t) y [B, ...], g(t)): drift and diffusion of the noising process at y."""
    return float(schedule.drift(t)) * y, float(schedule.diffusion(t))


def reverse_sde(
    denoiser: Denoiser, schedule: Schedule, y: Tensor, t: float, condition: Condition = None
) -> tuple[Tensor, float]:
    """(drift [B, ...], diffusion) of the reverse-time SDE at y, for time running back (dt < 0)."""
    drift, diffusion = forward_sde(schedule, y, t)
    return drift - diffusion**2 * score(denoiser, schedule, y, t, condition), diffusion


def flow_drift(
    denoiser: Denoiser, schedule: Schedule, y: Tensor, t: float, condition: Condition = None
) -> Tensor:
    """dy/dt [B, ...] of the probability flow, whose marginals are those of the SDE."""
    drift, diffusion = forward_sde(schedule, y, t)
    return drift - 0.5 * diffusion**2 * score(denoiser, schedule, y, t, condition)


def make_objective(schedule: str = "vp", *, maximum_likelihood: bool = False, drop: float = 0.0) -> Denoising:
    """Denoising score matching of an SDE: lambda(t) = sigma_t^2 at uniform times, or the bound on -log p.

    Args:
        schedule: its registry name.
        maximum_likelihood: the likelihood weight, with levels drawn so that its variance is least: uniform in
            the level, which is the importance sampling of Song et al. 2021b.
    """
    if not maximum_likelihood:
        return Denoising(uniform_time(schedule), simple(), drop=drop)
    from perrin.registry import schedules

    law = uniform_level(*schedules.build(schedule).level_range)
    return Denoising(law, likelihood(law), drop=drop)


def interpolate(start: Tensor, stop: Tensor, steps: int) -> Tensor:
    r"""Latent codes on the great circle from one to another, item by item, ends included (Shoemake 1985).

        z(s) = sin((1-s) w) / sin w start + sin(s w) / sin w stop,   w the angle between the two

    Keeps codes of N(0, I) of typical length, which a straight line would not. Where the angle is 0 or pi, and the
    circle is none or not one, it is the straight line.

    Args:
        start, stop: latent codes [B, *shape]; steps: how many codes, at least 2.

    Returns:
        [steps, B, *shape]; the first is `start`, the last `stop`, to the bit.
    """
    if steps < 2 or start.shape != stop.shape:
        raise PerrinError(
            f"interpolate: steps = {steps} must be >= 2, and both codes of one shape, not {tuple(start.shape)} "
            f"and {tuple(stop.shape)}"
        )
    one, other = (v.to(torch.float64).flatten(1) for v in (start, stop))
    # the angle by its half's tangent: arccos of a cosine near one has lost its digits
    a, b = (v / v.norm(dim=1, keepdim=True) for v in (one, other))
    angle = 2 * torch.atan2((a - b).norm(dim=1), (a + b).norm(dim=1))
    s = torch.linspace(0, 1, steps, dtype=torch.float64, device=start.device)[:, None]
    straight = torch.sin(angle) < 1e-7
    shares = [
        torch.where(straight, share, torch.sin(share * angle) / torch.sin(angle)) for share in (1 - s, s)
    ]
    path = shares[0][..., None] * one + shares[1][..., None] * other
    path[0], path[-1] = one, other
    return path.reshape(steps, *start.shape).to(start.dtype)

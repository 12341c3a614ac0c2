r"""The one Gaussian process, in unit coordinates, with the level as its clock.

    marginal    x = alpha clean + sigma noise
    transition  x' given x, noisier: (alpha'/alpha) x + sqrt(sigma'^2 - (alpha'/alpha)^2 sigma^2) noise
    posterior   x given x' and clean: Gaussian, `posterior`
    SDE         dx = -(sigma^2/2) x dl + sigma dw,   l = -level rising (the derived SDE of every schedule)

Every isotropic Gaussian process of the field is this one up to a schedule's scale and clock (Kingma et al.
2021). A state is a tensor or named leaves; functions here act on one leaf.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.process import levels
from perrin.process.levels import Level, expand, float64


def marginal(clean: Tensor, level: Tensor, noise: Tensor) -> Tensor:
    """x = alpha clean + sigma noise for a batch: `clean`, `noise` [B, ...], `level` [B]."""
    return expand(levels.alpha(level), clean) * clean + expand(levels.sigma(level), clean) * noise


def transition(before: Level, after: Level) -> tuple[Tensor, Tensor]:
    """(scale, std) of the step to a noisier level: x_after = scale x_before + std noise."""
    before, after = float64(before), float64(after)
    scale = torch.exp(levels.log_alpha(after) - levels.log_alpha(before))
    return scale, levels.sigma(after) * torch.sqrt(shrink(before, after))


def shrink(before: Level, after: Level) -> Tensor:
    """1 - SNR(noisier)/SNR(cleaner) = -expm1(-|level difference|), the fraction of variance that is fresh.

    Equal levels give 0, infinite ones included.
    """
    before, after = float64(before), float64(after)
    return torch.where(before == after, 0.0, -torch.expm1(-(before - after).abs()))


def posterior(noisy: Level, cleaner: Level) -> tuple[Tensor, Tensor, Tensor]:
    """(c_x, c_clean, std) of q(x_cleaner given x_noisy, clean) = N(c_x x + c_clean clean, std^2).

    With h = level difference: c_x = (alpha/alpha') (sigma'/sigma)^2, c_clean = alpha' (1 - e^-h),
    std = sigma' sqrt(1 - e^-h); primes at the cleaner level (Ho et al. 2020, equation 7).
    """
    s, t = float64(noisy), float64(cleaner)
    fresh = shrink(t, s)
    # (alpha/alpha') (sigma'/sigma)^2 = (alpha'/alpha) e^-h: written so that alpha = 0 (s = -inf) gives 0
    c_x = torch.exp(levels.log_alpha(s) - levels.log_alpha(t) + 2 * (_log_sigma(t) - _log_sigma(s)))
    return c_x, levels.alpha(t) * fresh, levels.sigma(t) * torch.sqrt(fresh)


def drift(level: Level) -> Tensor:
    """Coefficient of x in the forward SDE per unit of rising -level: -sigma^2 / 2."""
    return -0.5 * levels.sigma(level) ** 2


def diffusion(level: Level) -> Tensor:
    """Coefficient of dw in the forward SDE per unit of rising -level: sigma."""
    return levels.sigma(level)


def _log_sigma(level: Tensor) -> Tensor:
    return levels.log_alpha(-level)

r"""What one noisy state adds to a bound: a rate in continuous time, a divergence for a step of a chain.

continuous  1/2 ||noise - noise_hat||^2 = 1/2 (alpha/sigma)^2 ||D - clean||^2, nats per unit of level
            (Kingma et al. 2021, equation 17)
chain       KL( q(x_s | x_t, clean) || p(x_s | x_t) ), s the cleaner level: Gaussians whose means differ by
            c_clean (D - clean) and whose variances are beta~ and the model's (Ho et al. 2020, equation 5)

The model's variance of a transition is beta~ ("posterior"), beta ("marginal"), or what a denoiser that predicts
the variance of the clean state implies: beta~ + c_clean^2 variance (Bao et al. 2022, equation 6). Functions of
noise that is given, differentiable; the expectation over the noise is taken elsewhere. Entries that are not free
(`given`) add nothing.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser
from perrin.likelihood.gaussians import kl
from perrin.likelihood.given import free, noised, total
from perrin.process import gaussian
from perrin.process.levels import expand
from perrin.process.state import Masks, State, leaves, like, map_leaves
from perrin.sample.keeping import NOTHING

Variance = Literal["posterior", "marginal"]


def rate(
    denoiser: Denoiser,
    clean: State,
    level: Tensor,
    noise: State,
    condition: Condition = None,
    masks: Masks = NOTHING,
) -> Tensor:
    """1/2 ||noise - noise_hat||^2 of every item, nats per unit of level [B], float64.

    Args:
        clean: states [B, ...]; level: [B], finite; noise: in the form of `clean`; masks: of the entries.
    """
    mean = denoiser(noised(clean, level, noise, masks), level, condition).mean
    squares = map_leaves(lambda a, b: (a.to(torch.float64) - b.to(torch.float64)).square(), mean, clean)
    return 0.5 * torch.exp(level) * total(squares, free(clean, masks))


def transition(
    denoiser: Denoiser,
    clean: State,
    noisy: Tensor,
    cleaner: Tensor,
    noise: State,
    condition: Condition = None,
    variance: Variance = "posterior",
    masks: Masks = NOTHING,
) -> Tensor:
    """KL(q(x_cleaner | x_noisy, clean) || p(x_cleaner | x_noisy)) of every item, nats [B], float64.

    Args:
        clean: states [B, ...]; noisy, cleaner: levels [B] of the step; noise: of the noisy state.
        variance: of the model's step where the denoiser predicts none; masks: of the entries.
    """
    found = denoiser(noised(clean, noisy, noise, masks), noisy, condition)
    _, c_clean, std = gaussian.posterior(noisy, cleaner)
    means, entries = leaves(found.mean), leaves(clean)
    spreads = leaves(found.variance) if found.variance is not None else None
    nats = {}
    for name, entry in entries.items():
        wide = entry.to(torch.float64)
        gain, own = expand(c_clean, wide), expand(std**2, wide)
        if spreads is not None:
            model = own + gain**2 * spreads[name].to(torch.float64).clamp(min=0)
        else:
            model = own if variance == "posterior" else expand(_marginal_variance(noisy, cleaner), wide)
        apart = gain * (means[name].to(torch.float64) - wide)
        nats[name] = kl(apart, own, torch.zeros_like(apart), model).expand(wide.shape)
    return total(like(nats, clean), free(clean, masks))


def scale(noisy: Tensor, cleaner: Tensor, variance: Variance = "posterior") -> Tensor:
    """What `transition` is per ||noise - noise_hat||^2: 1/2 (c_clean sigma/alpha)^2 / variance, [B]; 0 at -inf."""
    _, c_clean, std = gaussian.posterior(noisy, cleaner)
    own = std**2 if variance == "posterior" else _marginal_variance(noisy, cleaner)
    return torch.where(torch.isinf(noisy), 0.0, 0.5 * torch.exp(-noisy) * c_clean**2 / own)


def _marginal_variance(noisy: Tensor, cleaner: Tensor) -> Tensor:
    """beta: the variance that the forward step from `cleaner` to `noisy` adds."""
    return gaussian.transition(cleaner, noisy)[1] ** 2

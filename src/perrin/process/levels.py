r"""The clock of every Gaussian process: the level, and the coefficients that belong to it.

    level = log SNR = log(alpha^2 / sigma^2)
    alpha = sqrt(sigmoid(level)),   sigma = sqrt(sigmoid(-level)),   alpha^2 + sigma^2 = 1

Everything here is float64 and finite for every level from -inf (pure noise) to +inf (clean), since it is
computed from `logsigmoid` and never from a difference of numbers near one (Kingma et al., "Variational
Diffusion Models", 2021, section 3).
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

Level: TypeAlias = Tensor | float


def float64(value: Level) -> Tensor:
    """`value` as a float64 tensor (no copy where it is one already)."""
    return torch.as_tensor(value, dtype=torch.float64)


def alpha(level: Level) -> Tensor:
    """Scale of the clean state in unit coordinates, sqrt(sigmoid(level)), float64."""
    return torch.exp(0.5 * logsigmoid(float64(level)))


def sigma(level: Level) -> Tensor:
    """Standard deviation of the noise in unit coordinates, sqrt(sigmoid(-level)), float64."""
    return torch.exp(0.5 * logsigmoid(-float64(level)))


def log_alpha(level: Level) -> Tensor:
    """log(alpha), exact where alpha rounds to one or to zero."""
    return 0.5 * logsigmoid(float64(level))


def ratio(level: Level) -> Tensor:
    """sigma / alpha = exp(-level / 2): the noise of EDM's coordinates; 0 when clean, inf when pure noise."""
    return torch.exp(-0.5 * float64(level))


def level_of_ratio(ratio: Level) -> Tensor:
    """The level at which sigma / alpha equals `ratio` (>= 0)."""
    return -2.0 * torch.log(float64(ratio))


def minus_log_alpha_squared(level: Level) -> Tensor:
    """-log(alpha^2) = log(1 + exp(-level)) in a variance-preserving process."""
    return -logsigmoid(float64(level))


def expand(coefficient: Tensor, like: Tensor) -> Tensor:
    """`coefficient` [B] with trailing axes and the dtype and device of `like` [B, ...]: cast once, last."""
    shape = coefficient.shape + (1,) * (like.dim() - coefficient.dim())
    return coefficient.reshape(shape).to(device=like.device, dtype=like.dtype)

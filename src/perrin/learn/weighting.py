r"""Loss weights as functions of the level, on the squared error of the clean state, |D - clean|^2.

edm      1/sigma^2 + ... = (sigma^2 + sd^2 alpha^2) / (sigma sd)^2, one over c_out^2   (Karras et al. 2022)
simple   SNR: the plain noise loss                                                     (Ho et al. 2020)
min_snr  min(SNR, gamma)                                                               (Hang et al. 2023)
sigmoid  SNR sigmoid(bias - level): the noise loss, faded towards clean levels         (Hoogeboom et al. 2024)
uniform  1
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process import levels

Weight: TypeAlias = Callable[[Tensor], Tensor]
"""level [B] -> weight [B], float64."""


def edm(sigma_data: float = 0.5) -> Weight:
    """Makes the loss of the preconditioned network's own output unweighted."""
    if not sigma_data > 0:
        raise PerrinError(f"sigma_data = {sigma_data} must be > 0")
    return lambda level: 1 / sigma_data**2 + torch.exp(level)


def simple() -> Weight:
    """The noise loss of DDPM, |E - noise|^2."""
    return torch.exp


def min_snr(gamma: float = 5.0) -> Weight:
    """The noise loss, no heavier than gamma on the clean state."""
    if not gamma > 0:
        raise PerrinError(f"gamma = {gamma} must be > 0")
    return lambda level: torch.exp(level).clamp(max=gamma)


def sigmoid(bias: float = -1.0) -> Weight:
    """The noise loss times sigmoid(bias - level)."""
    return lambda level: torch.exp(level) * levels.sigma(level - bias) ** 2


def uniform() -> Weight:
    """The plain error of the clean state."""
    return torch.ones_like

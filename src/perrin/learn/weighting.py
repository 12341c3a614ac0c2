r"""Loss weights as functions of the level, on the squared error of the clean state, |D - clean|^2.

edm      1/sigma^2 + ... = (sigma^2 + sd^2 alpha^2) / (sigma sd)^2, one over c_out^2   (Karras et al. 2022)
edm_root the root of edm's, for a metric such as pseudo_huber
simple   SNR: the plain noise loss                                                     (Ho et al. 2020)
min_snr  min(SNR, gamma)                                                               (Hang et al. 2023)
sigmoid  SNR sigmoid(bias - level): the noise loss, faded towards clean levels         (Hoogeboom et al. 2024)
uniform  1
learned  any of them over exp(u(level)), u trained beside the network   (`learned_weight`, Karras et al. 2024)
likelihood  SNR / (2 density of the law): the bound on -log p, in nats per entry       (Song et al. 2021b)
bound    1 / density of the law: the same for tokens, whose error is the bound's rate
cross_entropy  1 / a: of masked tokens the plain cross entropy, at every level alike
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.learn.laws import Law, uniform_level
from perrin.process import levels

Weight: TypeAlias = Callable[[Tensor], Tensor]
"""level [B] -> weight [B], float64."""


def edm(sigma_data: float = 0.5) -> Weight:
    """Makes the loss of the preconditioned network's own output unweighted."""
    if not sigma_data > 0:
        raise PerrinError(f"sigma_data = {sigma_data} must be > 0")
    return lambda level: 1 / sigma_data**2 + torch.exp(level)


def edm_root(sigma_data: float = 0.5) -> Weight:
    """The root of `edm`, for metrics that grow with the error and not with its square."""
    square = edm(sigma_data)
    return lambda level: torch.sqrt(square(level))


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


def likelihood(law: Law | None = None) -> Weight:
    """The expected loss is the diffusion part of the bound on -log p(data), in nats per entry of the state.

    The bound is 1/2 times the integral of E|E - noise|^2 over the levels (Kingma et al. 2021, equation 11; likelihood
    weighting of Song et al., "Maximum likelihood training of score-based diffusion models", 2021, is the same
    in time). Under a law of density p the weight that makes an expectation of it is SNR / (2 p): with
    `uniform_level` SNR/2 times the range, with `uniform_time` SNR/2 |dlevel/dt|. The value depends on the two
    end levels alone, the gradient's variance on the law.

    Args:
        law: of the training levels (in a recipe, its own), `uniform_level()` by default. Times beyond the ends
            of its range, which `uniform_time` moves there, carry no weight.

    Raises:
        PerrinError: a law without a density.
    """
    density = _density(law, "likelihood")
    return lambda level: torch.exp(level) / (2 * density(level))


def bound(law: Law | None = None) -> Weight:
    """The expected loss of tokens is the bound on -log p(data), in nats per token.

    Their error is the bound's rate per unit of level (`process.categorical`), so that an expectation under a law has
    the weight 1 / density; of the masked process with time uniform in `log_linear` this is the 1/t of Sahoo et al.
    (2024).

    Args:
        law: of the training levels (in a recipe, its own), `uniform_level()` by default.

    Raises:
        PerrinError: a law without a density.
    """
    density = _density(law, "bound")
    return lambda level: 1 / density(level)


def cross_entropy() -> Weight:
    """The loss of masked tokens is the cross entropy of the network's own guess, unweighted: not a bound.

    The rate of the masked process is a times that, a = sigmoid(level) (`process.categorical`).
    """
    return lambda level: 1 / torch.sigmoid(level)


def times(weight: Weight, factor: float) -> Weight:
    """The weight, `factor` times."""
    return lambda level: factor * weight(level)


def _density(law: Law | None, weight: str) -> Callable[[Tensor], Tensor]:
    density: Callable[[Tensor], Tensor] | None = getattr(law or uniform_level(), "density", None)
    if density is None:
        raise PerrinError(
            f"the weight {weight!r} needs a law with a density of levels: uniform_level, uniform_time or lognormal"
        )
    return density

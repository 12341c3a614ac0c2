r"""DDPM: a Markov chain of small steps and its learned reverse (Ho et al. 2020; Nichol and Dhariwal 2021).

    forward    q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t),   t = 0 .. T-1,   x_{-1} = clean
    reverse    p(x_{t-1} | x_t) = N(c_x x_t + c_clean D(x_t), beta~_t + c_clean^2 V(x_t))
    loss       L_simple = E |E(x_t) - noise|^2,   L_hybrid = L_simple + 0.001 L_vlb

Everything here is a composition: the chain is a `discrete` schedule, the sampler the `ddpm` rule on some of the
chain's steps, the loss the denoising objective at uniform steps with the weight `simple`.

    chain = ddpm_linear()
    denoiser = wrap(UNet((1, 28, 28), out_channels=2), "noise", variance=learned_range("ddpm_linear"))
    loss = hybrid(chain)(denoiser, clean, None, seeds).mean()
    images = run(strided(chain, 50), denoiser, seeds=range(16), shape=(1, 28, 28))
    nats = bound_terms(chain, denoiser, clean).total().value
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from perrin.contracts import Lattice
from perrin.denoise.prediction import Denoiser
from perrin.errors import PerrinError
from perrin.learn.denoising import Denoising
from perrin.learn.hybrid import variational
from perrin.learn.laws import uniform_step
from perrin.learn.weighting import simple as noise_weight
from perrin.likelihood import Terms, terms
from perrin.process import gaussian
from perrin.process.schedulebook.table import Discrete
from perrin.process.state import State
from perrin.sample import Plan, make_plan


def spaced(chain: Discrete, steps: int) -> Tensor:
    """The steps of the chain, int64 [steps] falling, that a chain of fewer steps visits.

    Evenly from the noisy end (the trailing spacing of Lin et al. 2023), rounded to steps that the network knows.

    Raises:
        PerrinError: fewer than one step, or more than the chain has.
    """
    count = len(chain.levels)
    if not 1 <= steps <= count:
        raise PerrinError(f"steps = {steps} must lie between 1 and the chain's own {count}")
    k = torch.arange(steps)
    return count - 1 - torch.div(2 * k * count + steps, 2 * steps, rounding_mode="floor")


def betas(chain: Discrete, steps: int | None = None) -> Tensor:
    """beta_t, float64 [T] from the clean end: of the chain, or of it re-spaced to `steps`."""
    levels, previous = _links(chain, steps)
    return gaussian.transition(previous, levels)[1] ** 2


def posterior_variances(chain: Discrete, steps: int | None = None) -> Tensor:
    """beta~_t, float64 [T]: of x_{t-1} when x_t and the clean state are known; zero at the first step."""
    levels, previous = _links(chain, steps)
    return gaussian.posterior(levels, previous)[2] ** 2


def _links(chain: Discrete, steps: int | None) -> tuple[Tensor, Tensor]:
    """The levels of a chain, or of a re-spaced one, and those one step cleaner."""
    levels = chain.levels if steps is None else chain.levels[spaced(chain, steps).flip(0)]
    return levels, torch.cat([levels.new_tensor([torch.inf]), levels[:-1]])


def strided(chain: Discrete, steps: int) -> Plan:
    """Ancestral sampling along `steps` of the chain's steps, with the network's own variance where it has one."""
    levels = chain.levels[spaced(chain, steps)]
    return make_plan("ddpm", grid=[*levels.tolist(), torch.inf])


def simple(chain: Discrete, drop: float = 0.0) -> Denoising:
    """L_simple: the noise loss at uniformly drawn steps; `drop`: the share of conditions left out."""
    return Denoising(uniform_step(chain.config()), noise_weight(), drop=drop)


def hybrid(
    chain: Discrete, weight: float = 0.001, lattice: Lattice | None = None, drop: float = 0.0
) -> Denoising:
    """L_hybrid: L_simple, and `weight` times the variational bound in bits per entry, which the variance alone feels.

    `lattice`: of whole-numbered data (`codec.lattice`), for the bound's reconstruction term.
    """
    auxiliary = variational(chain.config(), weight, lattice)
    return Denoising(uniform_step(chain.config()), noise_weight(), drop=drop, auxiliary=auxiliary)


def bound_terms(
    chain: Discrete,
    denoiser: Denoiser,
    clean: State,
    steps: int | None = None,
    lattice: Lattice | None = None,
    **options: Any,
) -> Terms:
    """The variational bound term by term: prior, every transition, reconstruction; `.total()` is the bound, in nats.

    Args:
        chain: whose steps to sum; all of them, or those of a chain re-spaced to `steps`.
        clean: states [B, ...]; lattice: of whole-numbered data, for the discretised Gaussian of step 0.
        options: of `perrin.likelihood.terms`, such as `samples` (two for every step keep the steps apart).
    """
    levels = chain.levels if steps is None else chain.levels[spaced(chain, steps).flip(0)]
    form = {} if lattice is None else {"lattice": lattice, "reconstruction": "discretised"}
    return terms(denoiser, clean, **{"levels": levels.flip(0), "samples": 2 * len(levels), **form, **options})

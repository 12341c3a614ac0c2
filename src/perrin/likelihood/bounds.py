r"""Variational bounds: log p(x) from below, by the denoiser of a diffusion model, term by term.

    log p(x) >= - KL(q(z_noisy | x) || N(0, I)) - diffusion + E log p(x | z_clean)

    continuous time  diffusion = 1/2 integral over level of E ||noise - noise_hat||^2   (Kingma et al. 2021)
    a chain          diffusion = sum over steps of E KL(q(x_s | x_t, x) || p(x_s | x_t))      (Ho et al. 2020)

Levels (or steps) are stratified and every stratum has at least two independent draws, so that the standard error
of each item is unbiased. Draws are named by the items' seeds: an item alone is the item in a batch. Of states of which some
entries are given it is a bound of log p(the free | the observed).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser
from perrin.errors import PerrinError
from perrin.likelihood.categorical_bound import token_bound
from perrin.likelihood.draws import Draws, Rows
from perrin.likelihood.gaussians import prior_divergence
from perrin.likelihood.given import counts, free, total
from perrin.likelihood.lattices import Lattices
from perrin.likelihood.reconstruction import LastFactor, Reconstruction
from perrin.likelihood.result import LogProb
from perrin.likelihood.strata import continuous, steady, steps
from perrin.likelihood.transitions import Variance, rate, scale, transition
from perrin.process.categorical import Categorical
from perrin.process.state import Masks, State, map_leaves
from perrin.sample.noise import Key


@dataclass(frozen=True)
class Terms:
    """A bound term by term, in nats that add up to it, float64.

    Attributes:
        edges: levels [K + 1], noisy to clean: the ends of the strata of the level, or of the steps of a chain
            (of groups of consecutive steps, where fewer than two draws a step were asked for).
        prior: [B], minus the divergence at the noisiest level.
        diffusion: [K, B], minus the integral over a stratum, or the divergence of a step (summed over a group).
        reconstruction: [B].
        diffusion_error, reconstruction_error: their standard errors, [K, B] and [B].
        evaluations: calls of the denoiser.
    """

    edges: Tensor
    prior: Tensor
    diffusion: Tensor
    reconstruction: Tensor
    diffusion_error: Tensor
    reconstruction_error: Tensor
    evaluations: int

    def total(self) -> LogProb:
        """The bound: the sum, with its standard error."""
        parts = {
            "prior": self.prior,
            "diffusion": self.diffusion.sum(0),
            "reconstruction": self.reconstruction,
        }
        value = torch.stack(list(parts.values())).sum(0)
        stderr = torch.sqrt(self.diffusion_error.square().sum(0) + self.reconstruction_error.square())
        return LogProb(value, stderr, torch.isfinite(value), parts, self.evaluations)


def bound(denoiser: Denoiser, x: State, *, process: Categorical | None = None, **options: Any) -> LogProb:
    """A lower bound of log p(x) in nats per item: a density of states, or a probability of tokens or on a lattice.

    Args:
        denoiser: any `(x, level, condition) -> Prediction`; x: clean states [B, ...], or named leaves.
        process: of tokens x int64 [B, ...], `masked(K)` or `uniform(K)`; an absent position (-1) costs nothing.
        masks: of entries that items have, and of those that are given: the bound is of log p(the others | these).
        levels: of a chain, rising from noisy to clean (`schedule.levels.flip(0)` of a `discrete` schedule, or a
            part of them); None: continuous time over `level_range`, of tokens over all levels.
        samples: network evaluations an item for the diffusion term, in all; at least 2.
        seeds: a key an item, names its draws; None: an item's own numbers do. Never the place in the batch.
        lattice: of integer data (`codec.lattice`, or name -> lattice); None: continuous data.
        reconstruction: "gaussian", or with a lattice "lattice" (the default there) or "discretised".
        condition: tensors with the batch as leading axis.
        level_range: (noisy, clean) levels in continuous time.
        variance: of a chain's steps, "posterior" (beta~) or "marginal" (beta), unless the denoiser predicts it.
        batch: rows of a network call.

    Tokens have the options levels (up to +inf), samples, seeds, condition, masks and batch.

    Returns:
        parts `prior`, `diffusion`, `reconstruction`. The standard error is that of the draws alone.

    Raises:
        PerrinError: sizes that do not fit, levels in another order, integer forms asked for of continuous data,
            states off their lattice, a denoiser that is undefined at one of the levels.

    Example:
        >>> from perrin.denoise import exact
        >>> found = bound(exact.Gaussian(0.0, 1.0), torch.zeros(2, 3), samples=256)
        >>> found.value.shape, sorted(found.parts)
        (torch.Size([2]), ['diffusion', 'prior', 'reconstruction'])
    """
    if process is not None:
        return token_bound(denoiser, x, process, **options)
    return terms(denoiser, x, **options).total()


@torch.no_grad()
def terms(
    denoiser: Denoiser,
    x: State,
    *,
    levels: Tensor | Sequence[float] | None = None,
    samples: int = 128,
    seeds: Sequence[Key] | None = None,
    lattice: Lattices = None,
    reconstruction: Reconstruction | None = None,
    condition: Condition = None,
    masks: Masks | None = None,
    level_range: tuple[float, float] = (-10.0, 12.4),
    variance: Variance = "posterior",
    batch: int = 512,
) -> Terms:
    """The terms of `bound`, with the same arguments: prior, every stratum or step, reconstruction."""
    if variance not in ("posterior", "marginal"):
        raise PerrinError(f"variance {variance!r} is not known; known: posterior, marginal")
    strata = continuous(*level_range, samples) if levels is None else steps(levels, samples)
    strata.check(denoiser)
    draws = Draws(x, condition, masks, seeds, batch)
    size = counts(x, draws.masks)
    last = LastFactor(x, float(strata.edges[-1]), lattice, reconstruction, draws.masks)

    def one(rows: Rows) -> list[Tensor]:
        clean, held, own, number, u, noise = rows
        noisy, cleaner = strata.pick(number // strata.draws, u)
        if levels is None:
            nats, each = rate(denoiser, clean, noisy, noise, held, own), torch.full_like(u, 0.5)
        else:
            nats = transition(denoiser, clean, noisy, cleaner, noise, held, variance, masks=own)
            each = scale(noisy, cleaner, variance)
        return [nats, each, total(map_leaves(_square, noise), free(clean, own)) - counts(clean, own)]

    shape = (len(strata.weights), strata.draws, draws.items)
    nats, scales, excess = (t.reshape(shape) for t in draws.table(shape[0] * shape[1], "bound", one))
    diffusion, error = strata.integral(steady(nats, scales, excess, size))
    calls, constant, spread = draws.calls, last.constant, torch.zeros_like(size)
    if last.drawn:
        count = max(2, samples // 8)
        (found,) = draws.table(
            count, "reconstruction", lambda r: [last(denoiser, r.clean, r.noise, r.condition, r.masks)]
        )
        constant, spread = constant + found.mean(0), (found.var(0) / count).sqrt()
        calls = draws.calls if last.evaluates else calls
    prior = -prior_divergence(x, strata.edges[0], draws.masks)
    return Terms(strata.edges, prior, -diffusion, constant, error, spread, calls)


def _square(noise: Tensor) -> Tensor:
    return noise.to(torch.float64).square()

r"""Twisted sequential Monte Carlo: many particles for every sample, weighed and resampled until they are the posterior's.

    proposal   a row of the ancestral plan with the guided prediction,   x' = row(x, mean') + s z
    weight     w <- w p(x' | x) / q(x' | x) g'(x') / g(x),   q with mean', p with mean
    g(x)       what a noisy state promises: of a measurement N(y; A mean(x), s^2 + r^2 A A*) up to a constant, of an energy
               exp(-w E(mean(x)));   at the clean end the likelihood or exp(-w E) itself

What guidance gets wrong the weights put right: as particles grow, samples are from p(clean | y), or from the law that the
energy tilts, under the plan (Wu et al. 2023, "Practical and asymptotically exact conditional sampling in diffusion
models"). An energy may be infinite, where a state is ruled out, and need not have a derivative. Particles of one sample are
resampled, systematically, among themselves alone, whenever their effective number falls below a half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Prediction
from perrin.errors import PerrinError
from perrin.process import gaussian
from perrin.process.state import single
from perrin.sample import Plan
from perrin.sample.device import device_of
from perrin.sample.noise import Key, seed_of, seed_tensor, uniforms
from perrin.sample.running import prior
from perrin.sample.ticking import advance, start_slots


class Twist(Protocol):
    """What moves particles and weighs them: `restoring.Measured` and `energy.Energy` are such."""

    def shift(self, x: Tensor, level: Tensor, condition: Condition) -> tuple[Prediction, Tensor]:
        """The denoiser's prediction at x [B, ...], level [B], and what the proposal adds to its mean."""

    def log_twist(self, mean: Tensor, level: Tensor) -> Tensor:
        """log g [B] of noisy states with these means; finite wherever the clean state may yet be allowed."""

    def log_likelihood(self, clean: Tensor) -> Tensor:
        """The log-weight [B] of clean states, -inf where one is ruled out."""

    def repeated(self, count: int) -> Self:
        """The same for `count` rows in the place of each."""


@dataclass(frozen=True)
class Particles:
    """Weighted clean states.

    Attributes:
        state: [n, P, *shape]. weight: [n, P], of sum 1 for each sample.
        effective: [n, rows], how many particles' worth the weights were after every row.
    """

    state: Tensor
    weight: Tensor
    effective: Tensor

    def mean(self) -> Tensor:
        """The posterior mean, [n, *shape]."""
        return torch.einsum("np,np...->n...", self.weight.to(self.state), self.state)

    def drawn(self, keys: Sequence[Key]) -> Tensor:
        """One particle of every sample, by its weight, [n, *shape]."""
        u = uniforms(seed_tensor([seed_of(key, "", "particle") for key in keys]), 1).to(self.weight)
        place = torch.searchsorted(self.weight.cumsum(1), u).clamp(max=self.weight.shape[1] - 1)
        return self.state[torch.arange(len(self.state), device=self.state.device), place[:, 0]]

    def resampled(self, keys: Sequence[Key]) -> Tensor:
        """As many particles of equal weight [n, P, *shape]: every one as often as its weight says, systematically."""
        n = len(self.weight)
        seeds = seed_tensor([seed_of(key, "", "particles kept") for key in keys])
        place = _systematic(self.weight.cpu(), seeds).to(self.state.device)
        return self.state[torch.arange(n, device=place.device)[:, None], place]


@torch.no_grad()
def particles(
    plan: Plan,
    guide: Twist,
    *,
    seeds: Sequence[Key],
    shape: Sequence[int],
    count: int = 64,
    condition: Condition = None,
    callback: Callable[[int, int], object] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Particles:
    """Draw n samples with `count` particles each.

    Args:
        plan: of the rule `ddpm`, whose rows are draws from known Gaussians.
        guide: proposes and weighs: a measurement of `restoring` (one for all, or n), an `Energy`, or your own.
        seeds: n keys; a sample is a function of its key and `count`.
        condition: tensors with n rows. callback: called with (rows done, in all).

    Raises:
        PerrinError: another plan, a number of particles below 1, or a sample none of whose particles has any weight.
    """
    if plan.rule != "ddpm":
        raise PerrinError(
            f"particles move by plans of the rule 'ddpm', whose rows are Gaussians, not by {plan.name!r}"
        )
    if count < 1:
        raise PerrinError(f"count = {count} of particles must be at least 1")
    keys: list[Key] = [(seed_of(key, "", "particles") % 2**62, p) for key in seeds for p in range(count)]
    told = None if condition is None else {k: v.repeat_interleave(count, 0) for k, v in condition.items()}
    guide, n = guide.repeated(count), len(seeds)
    x = single(prior(keys, tuple(shape), dtype, device_of(guide)))
    log_weight, twist = torch.zeros(n, count, dtype=torch.float64, device=x.device), None
    effective = []
    for number, level in enumerate(plan.evaluated):
        at = torch.full((len(x),), level, dtype=torch.float64)
        found, shift = guide.shift(x, at, told)
        now = guide.log_twist(single(found.mean), at).view(n, count)
        order = None
        if twist is not None:
            log_weight = _weighed(log_weight + now - twist)
            effective.append(_effective(log_weight))
            order = _chosen(log_weight, [seed_of(key, "", "resample", number) for key in seeds])
        if order is not None:
            x, shift, mean = (v[order] for v in (x, shift, single(found.mean)))
            found, now = Prediction(mean), now.flatten()[order].view(n, count)
            log_weight = torch.where(_poor(log_weight)[:, None], 0.0, log_weight)
        x, ratio = _row(plan, number, x, found, shift, keys)
        log_weight, twist = log_weight + ratio.view(n, count), now
        if callback is not None:
            callback(number + 1, len(plan.evaluated))
    assert twist is not None  # a plan has rows
    log_weight = _weighed(log_weight + guide.log_likelihood(x).view(n, count) - twist)
    effective.append(_effective(log_weight))
    return Particles(x.view(n, count, *x.shape[1:]), torch.softmax(log_weight, 1), torch.stack(effective, 1))


def _row(
    plan: Plan, number: int, x: Tensor, found: Prediction, shift: Tensor, keys: Sequence[Key]
) -> tuple[Tensor, Tensor]:
    """The row of the guided prediction, and log p / q of where it went; the last, which draws nothing, is not guided."""
    mean, level, after = single(found.mean), plan.evaluated[number], plan.base_levels[number + 1]
    c_x, c_clean, std = (float(v) for v in gaussian.posterior(level, after))
    if std == 0:
        return single(advance(plan, number, start_slots(plan, x), found, keys)[0]), torch.zeros(len(x))
    moved = Prediction(mean + shift)
    y = single(advance(plan, number, start_slots(plan, x), moved, keys)[0])
    drawn = (y - c_x * x - c_clean * (mean + shift)).double()
    ratio = (drawn.square() - (drawn + c_clean * shift.double()).square()).flatten(1).sum(1) / (2 * std**2)
    return y, ratio


def _weighed(log_weight: Tensor) -> Tensor:
    """Weights [n, P], refused where a sample has none left."""
    if bool(log_weight.isnan().any()):
        raise PerrinError(
            "a particle's weight is not a number: the energy, or the network, gave NaN or infinities"
        )
    lost = (log_weight == -torch.inf).all(1)
    if bool(lost.any()):
        raise PerrinError(
            f"none of the {log_weight.shape[1]} particles of {int(lost.sum())} of {len(lost)} samples is allowed: use more "
            "particles (count), or guide towards what is"
        )
    return log_weight


def _effective(log_weight: Tensor) -> Tensor:
    return 1 / torch.softmax(log_weight, 1).square().sum(1)


def _poor(log_weight: Tensor) -> Tensor:
    return _effective(log_weight) < log_weight.shape[1] / 2


def _chosen(log_weight: Tensor, seeds: Sequence[int]) -> Tensor | None:
    """Rows [n P] that survive, systematically drawn in samples whose weights are poor; None: all as they are."""
    poor = _poor(log_weight)
    if not bool(poor.any()):
        return None
    n, count = log_weight.shape
    place = _systematic(torch.softmax(log_weight, 1), seed_tensor(list(seeds)))
    place = torch.where(poor[:, None], place, torch.arange(count, device=place.device))
    return (place + count * torch.arange(n, device=place.device)[:, None]).flatten()


def _systematic(weight: Tensor, seeds: Tensor) -> Tensor:
    """Places [n, P] drawn by the weights [n, P], one number of chance a row."""
    count = weight.shape[1]
    u = (torch.arange(count) + uniforms(seeds, 1)) / count
    return torch.searchsorted(weight.cumsum(1), u.to(weight)).clamp(max=count - 1)

r"""The denoising objective: law of levels x weight x metric, with losses per item and level.

    loss_i = weight(level_i) metric(D(alpha clean_i + sigma noise_i, level_i), clean_i) (+ auxiliary_i)

The metric of tokens is the rate of the bound (`process.categorical`), a weighted cross entropy.

It is a function of the items' seeds and of u in (0, 1), never of the batch: trainers choose how these arise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser, Prediction, unconditional
from perrin.errors import PerrinError
from perrin.learn.laws import Law, lognormal
from perrin.learn.learned_weight import weighted
from perrin.learn.weighting import Weight, edm
from perrin.process import gaussian
from perrin.process.categorical import ABSENT, Categorical
from perrin.process.state import State, batch_size, leaves, like
from perrin.sample.jumping import Process
from perrin.sample.noise import bits, normals, uniforms

Metric = Literal["squared", "pseudo_huber"]

Auxiliary: TypeAlias = Callable[[Prediction, Tensor, State], Tensor]
"""(prediction, level [B], clean) -> what is added to the losses [B], its weight included."""


@dataclass(frozen=True)
class Losses:
    """Losses of a batch: `value` [B] (weighted, differentiable), `level` [B], the clean state's error [B].

    The error of a leaf is a mean over its entries, of tokens over those that are there.
    """

    value: Tensor
    level: Tensor
    error: Tensor

    def mean(self) -> Tensor:
        """The scalar to minimise."""
        return self.value.mean()


@dataclass(frozen=True)
class Denoising:
    """A denoising objective.

    Attributes:
        law: u [B] -> level [B].
        weight: level [B] -> weight [B]; a `Learned` one adds its own term to the loss.
        metric: 'squared' error, or 'pseudo_huber' (Song and Dhariwal 2024); tokens have their own.
        drop: the share of items whose condition is dropped, which is what classifier-free guidance needs.
        auxiliary: a further loss of the same prediction, such as `hybrid.variational`.
        process: of tokens, or leaf -> process.
    """

    law: Law
    weight: Weight
    metric: Metric = "squared"
    drop: float = 0.0
    auxiliary: Auxiliary | None = None
    process: Process = None

    def __post_init__(self) -> None:
        if not 0 <= self.drop <= 1:
            raise PerrinError(f"drop = {self.drop} must lie between 0 and 1")
        if self.metric not in ("squared", "pseudo_huber"):
            raise PerrinError(f"metric {self.metric!r} is not known; known: squared, pseudo_huber")

    def __call__(
        self,
        denoiser: Denoiser,
        clean: State,
        condition: Condition,
        seeds: Tensor,
        u: Tensor | None = None,
    ) -> Losses:
        """Losses of a batch.

        Args:
            denoiser: in training.
            clean: states [B, ...]; condition: as the denoiser takes it.
            seeds: int64 [B], naming each item's noise and level.
            u: float64 [B] in (0, 1) for the law; drawn from the seeds by default. Stratified over the batch
                it lowers the gradient's variance.
        """
        x, level, condition = self.noised(clean, condition, seeds, u)
        parts = leaves(clean)
        found = denoiser(x, level, condition)
        error = torch.stack([self._error(n, found, parts[n], leaves(x)[n], level) for n in parts]).sum(0)
        value = weighted(self.weight, level, error)
        if self.auxiliary is not None:
            value = value + self.auxiliary(found, level, clean).to(value.dtype)
        return Losses(value, level, error)

    def noised(
        self, clean: State, condition: Condition, seeds: Tensor, u: Tensor | None = None
    ) -> tuple[State, Tensor, Condition]:
        """(noisy states, levels [B], conditions of which some are dropped): what the denoiser is given."""
        # one hashed seed for the choices and one a leaf: neighbouring seeds share nothing
        named = bits(seeds, 1 + len(leaves(clean)))
        choices = uniforms(named[:, 0], 2)
        level = self.law(choices[:, 0] if u is None else u)
        parts = leaves(clean)
        condition = _dropped(condition, choices[:, 1] < self.drop) if self.drop else condition
        level = level.to(next(iter(parts.values())).device)
        noisy = {n: self._noisy(n, v, level, named[:, 1 + i]) for i, (n, v) in enumerate(parts.items())}
        return like(noisy, clean), level, condition

    def _process(self, leaf: str) -> Categorical | None:
        return self.process if isinstance(self.process, Categorical) else (self.process or {}).get(leaf)

    def _noisy(self, leaf: str, clean: Tensor, level: Tensor, seeds: Tensor) -> Tensor:
        process = self._process(leaf)
        if process is None:
            return gaussian.marginal(
                clean, level, normals(seeds, clean.shape[1:], clean.dtype).to(clean.device)
            )
        u = uniforms(seeds, clean[0].numel()).reshape(clean.shape).to(clean.device)
        return process.noised(clean, level, u)

    def _error(self, leaf: str, found: Prediction, clean: Tensor, x: Tensor, level: Tensor) -> Tensor:
        process = self._process(leaf)
        if process is None:
            mean: Tensor = leaves(found.mean)[leaf]
            return distance(mean, clean, self.metric)
        rate = process.rate(x, clean, leaves(found.log_mean())[leaf], level).flatten(1)
        return rate.sum(1) / (clean != ABSENT).flatten(1).sum(1).clamp(min=1)


def distance(found: Tensor, wanted: Tensor, metric: Metric) -> Tensor:
    """What a metric says of clean states [B, ...] and those that were wanted: [B], per entry."""
    wide = torch.promote_types(wanted.dtype, torch.float32)  # half precision is too coarse for a loss
    square: Tensor = (found.to(wide) - wanted.to(wide)).pow(2).flatten(1)
    if metric == "squared":
        return square.mean(1)
    root = math.sqrt(square.shape[1])
    c = 0.00054 * root  # their constant, scaled by the root of the dimension
    return (torch.sqrt(square.sum(1) + c**2) - c) / root


def _dropped(condition: Condition, drop: Tensor) -> Condition:
    null = unconditional(condition)
    if condition is None or null is None:
        return None
    mixed = {}
    for name, value in condition.items():
        mask = drop.to(value.device).reshape(-1, *[1] * (value.dim() - 1))
        mixed[name] = torch.where(mask, null[name], value)
    return mixed


def objective(
    denoiser: Denoiser,
    batch: State | tuple[State, Condition],
    generator: torch.Generator | None = None,
    *,
    law: Law | None = None,
    weight: Weight | None = None,
    metric: Metric = "squared",
    drop: float = 0.0,
) -> Losses:
    """Losses for anyone's training loop.

    Args:
        denoiser: `wrap(net, ...)`, or any denoiser.
        batch: clean states [B, ...], or (states, condition).
        generator: where seeds come from; torch's own by default.
        law, weight, metric, drop: see `Denoising`; EDM's law and weight by default.

    Example:
        >>> from perrin.denoise import wrap
        >>> net = torch.nn.Linear(2, 2)
        >>> denoiser = wrap(lambda x, time, condition: net(x), "edm")
        >>> objective(denoiser, torch.randn(16, 2)).mean().backward()
    """
    clean, condition = batch if isinstance(batch, tuple) else (batch, None)
    count = batch_size(clean)
    seeds = torch.randint(-(2**63), 2**63 - 1, (count,), generator=generator, dtype=torch.int64)
    shift = torch.rand((), generator=generator, dtype=torch.float64)
    chosen = Denoising(law or lognormal(), weight or edm(), metric, drop)
    return chosen(denoiser, clean, condition, seeds, stratified(shift, torch.arange(count), count))


def stratified(shift: Tensor | float, index: Tensor, count: int) -> Tensor:
    """u in (0, 1), one in each of `count` strata, by one shared shift in [0, 1) (Kingma et al. 2021)."""
    u = (index.to(torch.float64) + shift) / count
    return u.clamp(1e-9, 1 - 1e-9)

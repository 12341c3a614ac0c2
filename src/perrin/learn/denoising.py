r"""The denoising objective: law of levels x weight x metric, with losses per item and level.

    loss_i = weight(level_i) metric(D(alpha clean_i + sigma noise_i, level_i), clean_i) (+ auxiliary_i)

The metric of tokens is the rate of the bound (`process.categorical`), a weighted cross entropy; on a manifold it is the
squared error of the displacement in units of its root mean square. Losses of leaves are added up.

It is a function of the items' seeds and of u in (0, 1), never of the batch: trainers choose how these arise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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
from perrin.process.levels import expand
from perrin.process.product import Manifold, Process, as_product
from perrin.process.state import Masks, State, batch_size, leaves, like, spread
from perrin.process.subspace import Centred
from perrin.sample.keeping import Kept
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
        weight: level [B] -> weight [B], of a product by leaf; a `Learned` one adds its own term to the loss.
        metric: 'squared' error, or 'pseudo_huber' (Song and Dhariwal 2024); tokens have their own.
        drop: the share of items whose condition is dropped, which is what classifier-free guidance needs.
        auxiliary: a further loss of the same prediction, such as `hybrid.variational`.
        process: of a state that is not Gaussian everywhere; each leaf is noised at its own level.
        previous: the share of items whose network is told its own first guess (Chen et al. 2023, self-conditioning): a
            second evaluation, with `previous.<leaf>` in the condition.
    """

    law: Law
    weight: Weight | Mapping[str, Weight]
    metric: Metric = "squared"
    drop: float = 0.0
    auxiliary: Auxiliary | None = None
    process: Process = None
    previous: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.drop <= 1:
            raise PerrinError(f"drop = {self.drop} must lie between 0 and 1")
        if not 0 <= self.previous <= 1:
            raise PerrinError(f"previous = {self.previous} must lie between 0 and 1")
        if self.metric not in ("squared", "pseudo_huber"):
            raise PerrinError(f"metric {self.metric!r} is not known; known: squared, pseudo_huber")

    def __call__(
        self,
        denoiser: Denoiser,
        clean: State,
        condition: Condition,
        seeds: Tensor,
        u: Tensor | None = None,
        masks: Masks | None = None,
    ) -> Losses:
        """Losses of a batch.

        Args:
            denoiser: in training.
            clean: states [B, ...]; condition: as the denoiser takes it.
            seeds: int64 [B], naming each item's noise and level.
            u: float64 [B] in (0, 1) for the law; drawn from the seeds by default. Stratified over the batch
                it lowers the gradient's variance.
            masks: which entries items have, which are given, and which are learned.
        """
        x, level, condition = self.noised(clean, condition, seeds, u, masks)
        if self.previous:
            condition = self._told(denoiser, x, level, condition, seeds)
        found, parts, own = denoiser(x, level, condition), leaves(clean), masks or Masks()
        clock = as_product(self.process).clock
        value, error = [], []
        for name in parts:
            here = clock(name)(level)
            error.append(self._error(name, found, parts[name], leaves(x)[name], here, own.of(name)))
            value.append(weighted(self._weight(name), here, error[-1]))
        total = torch.stack(value).sum(0)
        if self.auxiliary is not None:
            total = total + self.auxiliary(found, level, clean).to(total.dtype)
        return Losses(total, level, torch.stack(error).sum(0))

    def noised(
        self,
        clean: State,
        condition: Condition,
        seeds: Tensor,
        u: Tensor | None = None,
        masks: Masks | None = None,
    ) -> tuple[State, Tensor, Condition]:
        """(noisy states, levels [B], conditions of which some are dropped): what the denoiser is given."""
        # one hashed seed for the choices and one a leaf: neighbouring seeds share nothing
        named = bits(seeds, 1 + len(leaves(clean)))
        choices = uniforms(named[:, 0], 2)
        level = self.law(choices[:, 0] if u is None else u)
        parts, own = leaves(clean), masks or Masks()
        condition = _dropped(condition, choices[:, 1] < self.drop) if self.drop else condition
        level = level.to(next(iter(parts.values())).device)
        noisy = {
            n: self._noisy(n, v, level, named[:, 1 + i], own.of(n)) for i, (n, v) in enumerate(parts.items())
        }
        return like(noisy, clean), level, condition

    def _weight(self, leaf: str) -> Weight:
        return self.weight[leaf] if isinstance(self.weight, Mapping) else self.weight

    def _told(
        self, denoiser: Denoiser, x: State, level: Tensor, condition: Condition, seeds: Tensor
    ) -> Condition:
        """The condition with a first guess of some items, and without one (NaN) of the others."""
        with torch.no_grad():
            guess = leaves(denoiser(x, level, condition).mean)
        # the plain seeds name levels and noise
        told = uniforms(bits(~seeds, 1)[:, 0], 1)[:, 0] < self.previous
        first = {
            f"previous.{name}": torch.where(spread(told.to(v.device), v), v, torch.nan)
            for name, v in guess.items()
        }
        return {**(condition or {}), **first}

    def _noisy(self, leaf: str, clean: Tensor, level: Tensor, seeds: Tensor, masks: Masks) -> Tensor:
        processes = as_product(self.process)
        process, level = processes.of(leaf), processes.clock(leaf)(level)
        if process is None or isinstance(process, Centred):
            z = Kept(process, masks).noise(normals(seeds, clean.shape[1:], clean.dtype).to(clean.device))
            noisy = gaussian.marginal(clean, level, z)
        else:
            places = process.places(tuple(clean.shape[1:]))
            u = uniforms(seeds, math.prod(places)).reshape(len(clean), *places)
            noisy = process.noised(clean, level, u.to(clean.device))
        still = masks.observed
        if isinstance(process, Manifold) and masks.valid is not None:
            still = ~_tensor(masks.valid) if still is None else _tensor(still) | ~_tensor(masks.valid)
        return noisy if still is None else torch.where(spread(_tensor(still), clean), clean, noisy)

    def _error(
        self, leaf: str, found: Prediction, clean: Tensor, x: Tensor, level: Tensor, masks: Masks
    ) -> Tensor:
        process, learned = as_product(self.process).of(leaf), masks.learned
        if isinstance(process, Categorical):
            rate = process.rate(x, clean, leaves(found.log_mean())[leaf], level)
            there = clean != ABSENT if learned is None else spread(learned, clean) & (clean != ABSENT)
            return (rate * there).flatten(1).sum(1) / there.flatten(1).sum(1).clamp(min=1)
        mean: Tensor = leaves(found.mean)[leaf]
        wanted = clean
        if isinstance(process, Manifold):
            scale = expand(process.rms(level), mean).clamp(min=1e-12)
            mean, wanted = mean / scale, process.displacement(x, clean, level).to(mean) / scale
        return distance(mean, wanted, self.metric, learned)


def distance(found: Tensor, wanted: Tensor, metric: Metric, learned: Tensor | None = None) -> Tensor:
    """What a metric says of clean states [B, ...] and those that were wanted: [B], per entry.

    `learned`: the entries that count, a mask of the first axes; all by default.
    """
    wide = torch.promote_types(wanted.dtype, torch.float32)  # half precision is too coarse for a loss
    square: Tensor = (found.to(wide) - wanted.to(wide)).pow(2)
    count: Tensor | int = square[0].numel()
    if learned is not None:
        there = spread(learned, square).expand(square.shape)
        square, count = square * there, there.flatten(1).sum(1).clamp(min=1)
    total = square.flatten(1).sum(1)
    if metric == "squared":
        return total / count
    root = torch.as_tensor(count, dtype=wide, device=total.device).sqrt()
    c = 0.00054 * root  # their constant, scaled by the root of the dimension
    return (torch.sqrt(total + c**2) - c) / root


def _dropped(condition: Condition, drop: Tensor) -> Condition:
    null = unconditional(condition)
    if condition is None or null is None:
        return None
    mixed = {}
    for name, value in condition.items():
        if value.dtype == torch.bool:  # facts, such as which atoms are given
            mixed[name] = value
            continue
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


def _tensor(mask: State | None) -> Tensor:
    assert isinstance(mask, Tensor)  # of one leaf
    return mask

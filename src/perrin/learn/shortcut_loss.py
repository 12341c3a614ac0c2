r"""Shortcut distillation: a network that is told how far it steps learns long steps from two of half the length.

    D(x_s, s, r) = the average of the mean along the flow from level s to r, over k = alpha / sigma   (`denoise.until`)

    of one step of the grid    D = teacher(x_m, m),  x_m = follow(x_s, teacher(x_s, s), s, m)
    of 2, 4, .. of them        D = share D(x_s, s, m) + (1 - share) D(x_m, m, r),  x_m = follow(x_s, D(x_s, s, m), s, m)
    share = (k_m - k_s) / (k_r - k_s)

(Frans et al. 2024, "One step diffusion via shortcut models", with a teacher in the place of the data's own velocity;
Salimans and Ho 2022 halve one network after another.) The first line is the midpoint rule in k, of second order: m is
there the middle of k; in the second it is the middle of the grid's steps. The right sides are not differentiated. They are
averages of two answers, so that no small difference is divided by. At the clean end share is 0 and D is the end itself.

A guided teacher's guidance becomes part of the student.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser
from perrin.denoise.until import CLEAN, UNTIL
from perrin.errors import PerrinError
from perrin.learn.consistency_loss import follow
from perrin.learn.denoising import Denoising, Losses, Metric, distance
from perrin.learn.learned_weight import weighted
from perrin.learn.weighting import Weight
from perrin.process.levels import expand
from perrin.process.state import State
from perrin.sample.noise import uniforms

Answer: TypeAlias = Callable[[Tensor, Tensor, Tensor, Condition], Tensor]
"""x [B, ...], levels s [B] and r [B], condition -> D [B, ...]."""


@dataclass(frozen=True)
class Steps:
    """Steps of a batch, each of fields [B].

    Attributes:
        s, m, r: levels float64 where a step begins, has its middle and ends; inf is the clean end.
        share: of the answer of its first half, float64.
        taught: whether it is one of the grid, which the teacher answers.
    """

    s: Tensor
    m: Tensor
    r: Tensor
    share: Tensor
    taught: Tensor

    def of(self, rows: Tensor) -> Steps:
        """Those of some items."""
        return Steps(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class Shortcut:
    """The objective of shortcut distillation; called as `Denoising` is.

    Attributes:
        teacher: the denoiser whose flow is learned, guidance included.
        levels: where the grid's steps begin, rising, 2^K of them; the last step ends at the clean end.
        weight: level [B] -> weight [B], of the level where a step begins.
        metric: 'pseudo_huber' or 'squared' error of D.
        drop: the share of items whose condition is dropped.
        first: the share of items that learn steps of the grid, from the teacher; other lengths are equally likely.
            Below about a half the student runs away: of two halves that are too strong the whole is stronger still.
    """

    teacher: Denoiser
    levels: tuple[float, ...]
    weight: Weight
    metric: Metric = "pseudo_huber"
    drop: float = 0.0
    first: float = 0.75

    def __post_init__(self) -> None:
        count = len(self.levels)
        if count < 2 or count & (count - 1) or any(a >= b for a, b in pairwise(self.levels)):
            raise PerrinError(
                f"shortcuts are learned on a grid of 2, 4, 8, .. rising levels; this one is {list(self.levels)}"
            )
        if not 0 < self.first < 1:
            raise PerrinError(f"first = {self.first} must be a share above 0 and below 1")

    def __call__(
        self,
        student: Denoiser,
        clean: State,
        condition: Condition,
        seeds: Tensor,
        u: Tensor | None = None,
    ) -> Losses:
        """Losses [B] of clean states [B, ...]; the arguments are those of `Denoising`, u names the step."""
        assert isinstance(clean, Tensor)
        steps = self.steps((uniforms(seeds, 1)[:, 0] if u is None else u).to(clean.device))
        noising = Denoising(lambda _: steps.s, self.weight, drop=self.drop)
        x, level, condition = noising.noised(clean, condition, seeds, u)
        assert isinstance(x, Tensor)
        # before the target: older autocast keeps casts of weights, and those made without gradients learn nothing
        found = answer(student, x, steps.s, steps.r, condition)
        error = distance(found, self.target(student, x, steps, condition), self.metric)
        return Losses(weighted(self.weight, level, error), level, error)

    @property
    def shares(self) -> list[float]:
        """How likely steps of 1, 2, 4, .. of the grid are."""
        lengths = len(self.levels).bit_length() - 1
        return [self.first] + [(1 - self.first) / lengths] * lengths

    def steps(self, u: Tensor) -> Steps:
        """The steps of items of u [B] in (0, 1): short ones first, of one length from the noisy end on."""
        share = torch.tensor(self.shares, dtype=torch.float64, device=u.device)
        above = share.cumsum(0)
        doubled = torch.searchsorted(above[:-1], u, right=True)
        length = 2**doubled
        within = (u - above[doubled] + share[doubled]) / share[doubled]
        count = len(self.levels) // length
        start = torch.minimum((within * count).floor().long(), count - 1) * length
        grid = torch.tensor([*self.levels, math.inf], dtype=torch.float64, device=u.device)
        s, m, r = grid[start], grid[start + length // 2], grid[start + length]
        taught = length == 1
        between = 2 * torch.log((_k(s) + _k(r.clamp(max=CLEAN))) / 2)
        own = (_k(m) - _k(s)) / (_k(r) - _k(s))
        return Steps(s, torch.where(taught, between, m), r, torch.where(taught, 0.0, own), taught)

    @torch.no_grad()
    def target(self, student: Denoiser, x: Tensor, steps: Steps, condition: Condition) -> Tensor:
        """What the steps from x [B, ...] should answer: the teacher's of the grid's, else the student's two halves."""
        found = torch.empty_like(x)
        for rows, ask in ((steps.taught, self._mean), (~steps.taught, partial(answer, student))):
            some = rows.nonzero()[:, 0]
            if len(some):
                told = None if condition is None else {name: v[some] for name, v in condition.items()}
                found[some] = in_halves(ask, x[some], steps.of(some), told)
        return found

    def _mean(self, x: Tensor, s: Tensor, r: Tensor, condition: Condition) -> Tensor:
        mean = self.teacher(x, s, condition).mean
        assert isinstance(mean, Tensor)
        return mean


def answer(student: Denoiser, x: Tensor, s: Tensor, r: Tensor, condition: Condition) -> Tensor:
    """The student's D at x [B, ...] for steps from levels s [B] to r [B]."""
    found = student(x, s, {**(condition or {}), UNTIL: r[:, None]}).mean
    assert isinstance(found, Tensor)
    return found


def in_halves(ask: Answer, x: Tensor, steps: Steps, condition: Condition) -> Tensor:
    """D [B, ...] of steps from x [B, ...] that are taken in two."""
    one = ask(x, steps.s, steps.m, condition)
    two = ask(follow(x, one, steps.s, steps.m), steps.m, steps.r, condition)
    return torch.lerp(two, one, expand(steps.share, x))


def _k(level: Tensor) -> Tensor:
    """alpha / sigma: along the flow x / sigma moves with it, and the mean is its slope."""
    return torch.exp(0.5 * level)

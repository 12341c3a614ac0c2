r"""Consistency distillation: a network that answers with the end of the teacher's probability flow, not with a mean.

    x_s = alpha_s clean + sigma_s noise
    x_r = the teacher's flow from x_s to a cleaner level r, in one step
    loss = weight(s) |f(x_s, s) - stop(f(x_r, r))|,      f(x, clean end) = x

(Song et al. 2023, algorithm 2.) The student is a denoiser like any other and starts from the teacher's weights; with
c_skip = 1 and c_out = 0 at the clean end it keeps the boundary condition by its parameterisation. As in Geng et al.
2024 ("Consistency models made easy") the target is the student's own, without an average, and the pair of levels comes
closer in stages: (sigma/alpha)_r = (1 - 2^-k) (sigma/alpha)_s for k = 1, 2, ... The first stages are short-sighted
but stable, the last ones follow the flow closely. The metric is the pseudo-Huber one of Song and Dhariwal 2024.

A guided teacher's guidance becomes part of the student.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser
from perrin.errors import PerrinError
from perrin.learn.denoising import Denoising, Losses, Metric, distance
from perrin.learn.laws import Law
from perrin.learn.learned_weight import weighted
from perrin.learn.weighting import Weight
from perrin.process import levels
from perrin.process.levels import expand
from perrin.process.state import State


@dataclass(frozen=True)
class Consistency:
    """The objective of consistency distillation; called as `Denoising` is.

    Attributes:
        teacher: the denoiser whose flow is learned, guidance included.
        law: u [B] -> level s [B]; weight: level [B] -> weight [B].
        metric: 'pseudo_huber' or 'squared' error of the clean state.
        drop: the share of items whose condition is dropped.
        stages: how often the pair of levels comes closer, at equal shares of training.
        clean: the level from which on a state counts as clean.
        done: the share of training that is over; see `at`.
    """

    teacher: Denoiser
    law: Law
    weight: Weight
    metric: Metric = "pseudo_huber"
    drop: float = 0.0
    stages: int = 4
    clean: float = 9.0
    done: float = 0.0

    def __post_init__(self) -> None:
        if self.stages < 1:
            raise PerrinError(f"stages = {self.stages} of consistency distillation must be at least 1")

    def at(self, done: float) -> Consistency:
        """The same objective when a share `done` of training is over."""
        return replace(self, done=done)

    @property
    def gap(self) -> float:
        """What the level rises by from s to r: -2 log of the ratio of their noises."""
        stage = min(self.stages, 1 + int(self.done * self.stages))
        return -2 * math.log1p(-(2.0**-stage))

    def __call__(
        self,
        student: Denoiser,
        clean: State,
        condition: Condition,
        seeds: Tensor,
        u: Tensor | None = None,
    ) -> Losses:
        """Losses [B] of clean states [B, ...]; the arguments are those of `Denoising`."""
        noising = Denoising(self.law, self.weight, drop=self.drop)
        x, level, condition = noising.noised(clean, condition, seeds, u)
        assert isinstance(x, Tensor)
        # before the target: older autocast keeps casts of weights, and those made without gradients learn nothing
        found = student(x, level, condition).mean
        assert isinstance(found, Tensor)
        error = distance(found, self.target(student, x, level, condition), self.metric)
        return Losses(weighted(self.weight, level, error), level, error)

    @torch.no_grad()
    def target(self, student: Denoiser, x: Tensor, level: Tensor, condition: Condition) -> Tensor:
        """Where the student, one step of the teacher further, says that the flow ends."""
        mean = self.teacher(x, level, condition).mean
        assert isinstance(mean, Tensor)
        cleaner = level + self.gap
        nearer = follow(x, mean, level, cleaner)
        ends = cleaner >= self.clean  # f is the identity there, and one step of the teacher reaches the end
        found = student(nearer, torch.where(ends, level, cleaner), condition).mean
        assert isinstance(found, Tensor)
        return torch.where(expand(ends, x) > 0, mean, found)


def follow(x: Tensor, mean: Tensor, level: Tensor, cleaner: Tensor) -> Tensor:
    """alpha_r mean + (sigma_r/sigma_s) (x - alpha_s mean): the flow from `level` to `cleaner` [B] for a constant mean."""
    kept = expand(levels.sigma(cleaner) / levels.sigma(level), x)
    return expand(levels.alpha(cleaner), x) * mean + kept * (x - expand(levels.alpha(level), x) * mean)

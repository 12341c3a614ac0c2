r"""Learning the teacher's map from noise to sample: regression on the ends of its own trajectories.

    x_0 = noise, x_1, ..., x_K = sample: the teacher's probability flow, solved once with care
    loss = |f(x_k, level_k) - x_K|,   k among the levels that the student will evaluate

(Luhman and Luhman 2021, "Knowledge distillation in iterative generative models", for k = 0.) The flow is
deterministic, so the answer to one x_k is one sample, not a mean of many, and regression blurs only what the student
cannot tell apart. Trajectories cost as much as samples do, and every one is learned from many times.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser
from perrin.errors import PerrinError
from perrin.learn.denoising import Losses, Metric, distance
from perrin.process.state import State
from perrin.sample.noise import uniforms

PLACES = "trajectory"
"""The entry of a batch's condition that holds the states of trajectories, [B, K, ...]."""


@dataclass(frozen=True)
class Trajectory:
    """The objective of regression on a teacher's trajectories; called as `Denoising` is, their ends as clean states.

    Attributes:
        levels: of the states on a trajectory from which the student answers, rising.
        first: the share of items that start from the first of them, where the answer is hardest; the others are
            equally likely.
        metric: 'pseudo_huber' or 'squared' error of the clean state.
    """

    levels: tuple[float, ...]
    first: float = 0.5
    metric: Metric = "pseudo_huber"

    def __post_init__(self) -> None:
        if not 0 < self.first <= 1:
            raise PerrinError(f"first = {self.first} must be a share above 0 and at most 1")

    def __call__(
        self, student: Denoiser, clean: State, condition: Condition, seeds: Tensor, u: Tensor | None = None
    ) -> Losses:
        """Losses [B] of ends `clean` [B, ...]; the condition's entry "trajectory" [B, K, ...] holds what led there."""
        assert isinstance(clean, Tensor)
        given = dict(condition or {})
        states = given.pop(PLACES)
        place = self.place(uniforms(seeds, 1)[:, 0] if u is None else u).to(states.device)
        level = torch.tensor(self.levels, dtype=torch.float64, device=states.device)[place]
        x = states[torch.arange(len(states), device=states.device), place]
        found = student(x, level, given or None).mean
        assert isinstance(found, Tensor)
        error = distance(found, clean, self.metric)
        return Losses(error, level, error)

    def place(self, u: Tensor) -> Tensor:
        """Which of the levels an item of u in (0, 1) starts from, int64 [B]."""
        others = len(self.levels) - 1
        if others == 0:
            return torch.zeros_like(u, dtype=torch.int64)
        rest = (u - self.first) / (1 - self.first) if self.first < 1 else u - 1
        return torch.where(u < self.first, -1.0, rest * others).floor().long().clamp(-1, others - 1) + 1

"""Watching the loss: what a step says of itself, and when training is to stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perrin.errors import PerrinError

DIVERGED = 100.0
"""A smoothed loss so many times its smallest value is no longer training."""


@dataclass(frozen=True)
class Taken:
    """A step that was begun: its number, the items of its batch and their losses [B], the mean, gradient norm, rate."""

    step: int
    indices: list[int]
    losses: Tensor
    loss: Tensor
    norm: Tensor
    rate: float


class Watch:
    """The loss of a run, smoothed.

    Args:
        name: what item i of the training data is called; lr: the recipe's learning rate.

    Attributes:
        smooth: the smoothed loss; least: its smallest value; line: of the newest step that was looked at, for the log.
    """

    def __init__(self, name: Callable[[int], str], lr: float) -> None:
        self.name, self.lr = name, lr
        self.smooth, self.least = math.nan, math.inf
        self.line: dict[str, Any] = {}

    def look(self, taken: Taken) -> None:
        """Look at a step, before it ruins the weights or after it was not taken.

        Raises:
            PerrinError: a loss or a gradient that is not finite, with the step and its items; training that diverged.
        """
        loss, norm = float(taken.loss), float(taken.norm)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            bad = (~torch.isfinite(taken.losses)).nonzero().flatten().tolist() or range(len(taken.indices))
            names = [self.name(taken.indices[i]) for i in list(bad)[:5]]
            raise PerrinError(
                f"the loss became {loss} (gradient norm {norm}) at step {taken.step}, with items {', '.join(names)}; "
                f"the last saved state is untouched: look at these items, or lower training.lr"
            )
        self.smooth = loss if math.isnan(self.smooth) else 0.98 * self.smooth + 0.02 * loss
        self.least = min(self.least, self.smooth)
        if self.smooth > DIVERGED * self.least:
            raise PerrinError(
                f"training diverged by step {taken.step}: the loss is {self.smooth / self.least:.0f} times its "
                f"smallest value; lower training.lr ({self.lr})"
            )
        self.line = {"step": taken.step, "loss": loss, "lr": taken.rate, "grad_norm": norm}

    def facts(self) -> dict[str, float | None]:
        """What a saved state keeps of it."""
        smooth, least = self.smooth, self.least
        return {
            "smooth": None if math.isnan(smooth) else smooth,
            "least": None if math.isinf(least) else least,
        }

    def restore(self, facts: dict[str, Any]) -> None:
        """Go on from what `facts` gave."""
        self.smooth = math.nan if facts["smooth"] is None else facts["smooth"]
        self.least = math.inf if facts["least"] is None else facts["least"]

"""How to restore, all settled: the method, the plan, and what the network is told of what is restored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from perrin.contracts import Seen
from perrin.guide.operators import Operator
from perrin.process.state import Shape
from perrin.restoration.decoded import Decoded, decoded
from perrin.restoration.problem import Problem
from perrin.sample import Plan

if TYPE_CHECKING:
    from perrin.model import Model


@dataclass(frozen=True)
class Way:
    """How to restore.

    Attributes:
        method: a name of `registry.methods`; options: its own. particles: more than 1 for that many in place of samples
            that know nothing of one another (twisted sequential Monte Carlo).
        plan, seed: as of samples. label: class index, -1 for none. weight: of guidance by that label.
        seen: of states that are decoded, what they are of and come to; it says weight and label then.
    """

    plan: Plan
    samples: int
    seed: int
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    label: int = -1
    weight: float = 1.0
    particles: bool = False
    seen: Seen | None = None

    def shape(self, model: Model) -> Shape:
        """Of the states that are drawn."""
        return model.codec.shape if self.seen is None else self.seen.outline.shape

    def operator(self, problem: Problem) -> Operator:
        """What measures the states that are drawn."""
        if self.seen is None or self.seen.decode is None:
            return problem.operator
        shape = self.seen.outline.shape
        assert isinstance(shape, tuple)
        return Decoded(problem.operator, self.seen.decode, shape)

    def values(self, states: Tensor) -> Tensor:
        """What a problem's operator measures of states [B, *shape] that were drawn."""
        if self.seen is None or self.seen.decode is None:
            return states
        return decoded(self.seen.decode, states, self.seen.codec.shape)

    def condition(self, model: Model, rows: int) -> dict[str, Tensor] | None:
        """What the network is told."""
        device = model.device
        if self.seen is not None:
            told = self.seen.outline.condition
            return {
                name: value.to(device).expand(rows, *value.shape[1:]) for name, value in told.items()
            } or None
        return {"label": torch.full((rows,), self.label, device=device)} if model.codec.classes else None

    def denoiser(self, model: Model) -> nn.Module:
        """Under guidance."""
        if self.seen is None:
            return model.guided(self.weight)
        guided = model.guided(self.seen.weight)
        return guided if self.seen.outline.steer is None else self.seen.outline.steer(guided)

    def told(self, model: Model) -> dict[str, Any]:
        """What provenance says of guidance and of what is restored."""
        if self.seen is not None:
            return {"guidance": self.seen.weight, "wanted": dict(self.seen.outline.about[0])}
        made: dict[str, Any] = {} if self.weight == 1.0 else {"guidance": self.weight}
        if self.label >= 0:
            made |= {"label": self.label, "class": (model.codec.classes or [])[self.label]}
        return made

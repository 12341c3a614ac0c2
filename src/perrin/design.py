"""What a model is made of and how it samples by default: enough to rebuild it around its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from perrin.contracts import Codec
from perrin.denoise.parameterisation import Parameterisation
from perrin.denoise.parameterisation import make as make_parameterisation
from perrin.denoise.wrapped import Wrapped, wrap
from perrin.errors import PerrinError
from perrin.guide import Classifier
from perrin.registry import kinds, nets, schedules, variances
from perrin.sample import Plan, make_plan


@dataclass(frozen=True)
class Sampling:
    """How to sample unless told otherwise: solver with its options, steps, grid on a schedule, guidance on an interval."""

    solver: str = "dpmpp_2m"
    steps: int = 20
    grid: str = "karras"
    schedule: dict[str, Any] = field(default_factory=lambda: {"name": "edm"})
    guidance: float = 1.0
    interval: tuple[float, float] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def plan(self, solver: str | None = None, steps: int | None = None) -> Plan:
        """The plan of these settings, with another solver or number of steps where given."""
        name = solver or self.solver
        options = self.options if name == self.solver else {}
        return make_plan(
            name,
            schedules.build(self.schedule),
            steps=self.steps if steps is None else steps,
            grid=self.grid,
            **options,
        )


Role = Literal["denoiser", "classifier"]


@dataclass(frozen=True)
class Design:
    """What a model is made of, JSON-able: enough to rebuild it around its weights."""

    net: dict[str, Any]
    parameterisation: dict[str, Any]
    codec: dict[str, Any]
    role: Role = "denoiser"

    def module(self) -> Wrapped | Classifier:
        """The network with fresh weights, as what the role says."""
        net: nn.Module = nets.build(self.net)
        if self.role == "classifier":
            return Classifier(net, self._parameterisation())
        return wrap(net, self._parameterisation())

    def denoiser(self) -> Wrapped:
        """The network with fresh weights, as a denoiser."""
        return as_denoiser(self.module())

    def _parameterisation(self) -> Parameterisation:
        options = dict(self.parameterisation)
        name, schedule = options.pop("name"), options.pop("schedule", None)
        if "variance" in options:
            options["variance"] = variances.build(options["variance"])
        made = None if schedule is None else schedules.build(schedule)
        return make_parameterisation(name, made, options)

    def make_codec(self) -> Codec:
        """The codec."""
        made: Codec = kinds[self.codec["kind"]].codec.from_config(self.codec["config"])
        return made


def as_denoiser(module: Wrapped | Classifier) -> Wrapped:
    """The module, if it is a denoiser.

    Raises:
        PerrinError: a classifier.
    """
    if isinstance(module, Classifier):
        raise PerrinError(
            "this model is a classifier of noisy states, which draws nothing itself; it guides other models: "
            "model.sample(classifier=...), or perrin sample MODEL --classifier"
        )
    return module


def same_states(one: Codec, other: Codec) -> bool:
    """Whether two codecs mean the same data by a state, to a twentieth of its unit: two splits of one set do."""
    if one.kind != other.kind or one.shape != other.shape:
        return False
    probe = torch.stack([torch.full(one.shape, v) for v in (-1.0, 0.0, 1.0)])
    low, middle, high = (np.asarray(v, np.float64) for v in one.decode(probe))
    others = (np.asarray(v, np.float64) for v in other.decode(probe))
    tolerance = 0.025 * np.abs(high - low)
    return all(
        bool((np.abs(a - b) <= tolerance).all()) for a, b in zip((low, middle, high), others, strict=True)
    )

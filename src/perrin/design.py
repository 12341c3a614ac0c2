"""What a model is made of and how it samples by default: enough to rebuild it around its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import nn

from perrin.contracts import Codec
from perrin.denoise.parameterisation import Parameterisation
from perrin.denoise.parameterisation import make as make_parameterisation
from perrin.denoise.product import ProductDenoiser
from perrin.denoise.tokens import TokenDenoiser
from perrin.denoise.wrapped import Wrapped, wrap
from perrin.errors import PerrinError
from perrin.guide import Classifier, Projection
from perrin.guide.contrast import Rescale, check_interval
from perrin.guide.projected import as_projection
from perrin.process.categorical import Categorical
from perrin.process.product import Clock, Product
from perrin.registry import kinds, nets, processes, schedules, variances
from perrin.sample import Plan, make_plan
from perrin.sample.kernel import Kernel
from perrin.sample.making import solver
from perrin.sample.rule import Rule


@dataclass(frozen=True)
class Sampling:
    """How to sample unless told otherwise: solver with its options, steps, grid on a schedule, guidance on an interval.

    Attributes:
        rescale, projected: of guidance, see `guide.ClassifierFree` and `guide.Projection`; true for the default projection.
        solver: of a state with several leaves leaf -> solver, and `options` leaf -> options.
        temperature, top_p: of tokens: their probabilities to the power of 1/temperature, and without the least likely
            that make up less than 1 - top_p.
        evaluated: of a distilled model: for each number of steps that it supports the levels that it evaluates; its
            solver, grid and schedule are then not for the user to choose.
        distilled_guidance: the guidance weight that is part of a distilled model.
    """

    solver: str | dict[str, str] = "dpmpp_2m"
    steps: int = 20
    grid: str = "karras"
    schedule: dict[str, Any] = field(default_factory=lambda: {"name": "edm"})
    guidance: float = 1.0
    interval: tuple[float, float] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    top_p: float = 1.0
    evaluated: dict[int, tuple[float, ...]] | None = None
    distilled_guidance: float | None = None
    rescale: float = 0.0
    projected: Projection | dict[str, float | None] | bool = False

    def __post_init__(self) -> None:
        check_interval(self.interval)
        Rescale(self.rescale)
        as_projection(self.projected)
        if self.evaluated is not None:  # of JSON, whose keys are texts
            object.__setattr__(self, "evaluated", {int(n): tuple(v) for n, v in self.evaluated.items()})

    @property
    def projection(self) -> Projection | None:
        """How the guided mean is projected by default."""
        return as_projection(self.projected)

    @property
    def evaluations(self) -> tuple[int, ...] | None:
        """The numbers of evaluations that a distilled model supports; None: any."""
        return None if self.evaluated is None else tuple(sorted(self.evaluated))

    def plan(
        self,
        solver: str | None = None,
        steps: int | None = None,
        clocks: Mapping[str, Clock] | None = None,
    ) -> Plan:
        """The plan of these settings, with another solver or number of steps where given.

        Args:
            solver: of a state with several leaves it is for those that it can move, rule or kernel.
            clocks: of such a state's leaves.

        Raises:
            PerrinError: a solver or a number of steps that a distilled model does not support.
        """
        if isinstance(self.solver, Mapping):
            return self._of_leaves(self.solver, solver, steps, clocks)
        name = solver or self.solver
        if self.evaluated is not None:
            return self._distilled(name, self.steps if steps is None else steps)
        options = self.options if name == self.solver else {}
        return self._made(name, steps, **options)

    def _made(self, rule: str | dict[str, str], steps: int | None, **options: Any) -> Plan:
        count = self.steps if steps is None else steps
        return make_plan(rule, schedules.build(self.schedule), steps=count, grid=self.grid, **options)

    def _of_leaves(
        self,
        own: Mapping[str, str],
        other: str | None,
        steps: int | None,
        clocks: Mapping[str, Clock] | None,
    ) -> Plan:
        names = dict(own)
        if other is not None:
            names = {n: other if _alike(solver(v), solver(other)) else v for n, v in own.items()}
        options = {n: v for n, v in self.options.items() if names.get(n) == own.get(n)}
        return self._made(names, steps, options=options, clocks=dict(clocks or {}))

    def _distilled(self, name: str, steps: int) -> Plan:
        assert self.evaluated is not None
        if name != self.solver:
            raise PerrinError(
                f"solver {name!r}: this model is distilled, its prediction is no mean, and it samples with "
                f"{self.solver!r} alone"
            )
        if steps not in self.evaluated:
            known = ", ".join(str(n) for n in self.evaluations or ())
            raise PerrinError(f"steps = {steps}: this model was distilled for {known} evaluations")
        return make_plan(name, grid=[*self.evaluated[steps], math.inf], **self.options)

    def weight(self, guidance: float | None) -> float:
        """The guidance weight to sample with: the model's own, or the one that was asked for.

        Raises:
            PerrinError: another weight than the one that a distilled model has within it.
        """
        if self.distilled_guidance is None:
            return self.guidance if guidance is None else float(guidance)
        if guidance is not None and guidance != self.distilled_guidance:
            raise PerrinError(
                f"guidance = {guidance}: this model was distilled under guidance {self.distilled_guidance}, which "
                "is part of its weights; distil the teacher again under the other"
            )
        return 1.0


def _alike(one: Rule | Kernel, other: Rule | Kernel) -> bool:
    """Whether both are rules, or both kernels that can move the same."""
    if isinstance(one, Kernel) and isinstance(other, Kernel):
        return bool(set(one.processes) & set(other.processes))
    return isinstance(one, Kernel) == isinstance(other, Kernel)


Role = Literal["denoiser", "classifier"]


Denoising: TypeAlias = Wrapped | TokenDenoiser | ProductDenoiser


@dataclass(frozen=True)
class Design:
    """What a model is made of, JSON-able: enough to rebuild it around its weights.

    `process` is that of a model of tokens, or leaf -> process; None: Gaussian.
    """

    net: dict[str, Any]
    parameterisation: dict[str, Any]
    codec: dict[str, Any]
    role: Role = "denoiser"
    process: dict[str, Any] | None = None

    @property
    def categorical(self) -> Categorical | None:
        """The process of tokens, None for continuous states."""
        if self.process is None or "name" not in self.process:
            return None
        made: Categorical = processes.build(self.process)
        return made

    @property
    def product(self) -> Product | None:
        """The processes of a state with several leaves."""
        return None if self.process is None or "name" in self.process else product_of(self.process)

    def module(self) -> Denoising | Classifier:
        """The network with fresh weights, as what the role says."""
        net: nn.Module = nets.build(self.net)
        process = self.categorical
        if process is not None:
            return wrap(net, "logits", process=process)
        if self.product is not None:
            return ProductDenoiser(net, self.product, self._parameterisation())
        if self.role == "classifier":
            return Classifier(net, self._parameterisation())
        return wrap(net, self._parameterisation())

    def denoiser(self) -> Denoising:
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


def product_of(config: Mapping[str, dict[str, Any]]) -> Product:
    """The processes of leaf -> options, as `Product.config` gives them."""
    parts, clocks = {}, {}
    for leaf, section in config.items():
        options = dict(section)
        clock = options.pop("clock", None)
        if clock is not None:
            clocks[leaf] = Clock(*map(float, clock))
        if options != {"name": "gaussian"}:
            parts[leaf] = processes.build(options)
    return Product(parts, clocks)


def as_denoiser(module: Denoising | Classifier) -> Denoising:
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
    if isinstance(one.shape, Mapping) or isinstance(other.shape, Mapping):
        return one.config() == other.config()
    if one.categories is not None:
        return one.config().get("vocabulary") == other.config().get("vocabulary")
    probe = torch.stack([torch.full(one.shape, v) for v in (-1.0, 0.0, 1.0)])
    low, middle, high = (np.asarray(v, np.float64) for v in one.decode(probe))
    others = (np.asarray(v, np.float64) for v in other.decode(probe))
    tolerance = 0.025 * np.abs(high - low)
    return all(
        bool((np.abs(a - b) <= tolerance).all()) for a, b in zip((low, middle, high), others, strict=True)
    )

"""`Model.restore`: what the user asks for, checked and settled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from perrin.errors import PerrinError, check_counts
from perrin.guide.operators import Clip, Mask, Operator
from perrin.guide.restoring import descent
from perrin.process.state import Shape
from perrin.registry import methods
from perrin.restoration.drawing import restored
from perrin.restoration.noise import estimated
from perrin.restoration.problem import Problem, scale_of
from perrin.restoration.restored import Restored
from perrin.restoration.tasks import build
from perrin.restoration.viewing import seen_of
from perrin.restoration.way import Way
from perrin.sample import Plan

if TYPE_CHECKING:
    from perrin.model import Model

METHOD = "mmps"
"""The default method of linear measurements; docs/restoration.md has the figures that chose it."""


def method_of(operator: Operator, noise: float) -> str:
    """The default method.

    White noise on all of a state is undone exactly. Clipped neighbours say the same, of which methods that ask the Jacobian
    make too much (benchmarks/speech_restoration).
    """
    if isinstance(operator, Mask) and bool(operator.keep.all()) and noise > 0:
        return "pooled"
    return "proximal" if isinstance(operator, Clip) else METHOD


def restore(
    model: Model,
    measurement: Any,
    task: str | Operator,
    *,
    noise: float | Literal["auto"] = 0.0,
    samples: int = 8,
    method: str | None = None,
    particles: bool = False,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    steps: int | None = None,
    solver: str | None = None,
    label: Any = "none",
    prompt: str | None = None,
    negative: str | None = None,
    height: int | None = None,
    width: int | None = None,
    guidance: float | None = None,
    batch: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Restored:
    """Draw clean data that explain what was measured of them: their mean, and how sure it is.

    Args:
        measurement: y = A v + noise of values v in the user's units, one item or a batch [n, ...]: damaged images,
            complex k-space, sinograms, ...; see `perrin models --tasks`.
        task: its name, with its `options` (mask=, factor=, ...), or an operator of states.
        noise: its standard deviation in the same units, of complex measurements of each part; "auto" estimates it.
        samples: K of every item; sample k of item i is a function of (seed, i, k).
        method: see `perrin models --methods`; settings: its own options.
        particles: draw the K samples together, by twisted sequential Monte Carlo with the method as the proposal:
            dearer, and exact as K grows.
        steps, solver: of a plan for restoration, `guide.restoring.descent`.
        label, prompt, negative, guidance, batch, progress: as in `sample`; unconditional by default.
        height, width: in pixels, of pretrained models of any size; by default what the measurement says.

    Returns:
        `.mean`, `.std`, `.interval()`, `.state` [n, K, *shape], `.decoded`, `.residual`.

    Raises:
        PerrinError: what does not fit the model or the operator, a noise that cannot be estimated.

    Example:
        >>> model.restore(noisy, "denoise", noise="auto").mean  # doctest: +SKIP
    """
    check_counts(samples=samples, batch=1 if batch is None else batch)
    model.refuse_distilled("restoration")
    wanted = {"label": label, "prompt": prompt, "negative": negative, "height": height, "width": width}
    seen = seen_of(model, measurement, task, options, guidance, wanted)
    codec = model.codec if seen is None else seen.codec
    scale_of(codec)  # refuses other kinds
    operator = operator_of(codec.shape, task, options)
    level = estimated(task, operator, measurement) if noise == "auto" else float(noise)
    problem = Problem.of_values(codec, operator, measurement, level)
    index, weight = class_and_weight(model, label, guidance) if seen is None else (-1, seen.weight)
    plan = plan_of(model.codec.sigma_data, particles, solver, steps)
    if method is None:
        method = method_of(operator, level) if seen is None or seen.decode is None else METHOD
    way = Way(plan, samples, seed, method, settings or {}, index, weight, particles, seen)
    methods[way.method]  # refuses a name that is not known
    return restored(model, problem, way, batch, progress)


def class_and_weight(model: Model, label: Any, guidance: float | None) -> tuple[int, float]:
    """The index of a class, -1 for none, and the weight of guidance towards it.

    Raises:
        PerrinError: a class that is not known, or any of a model without classes.
    """
    if label != "none" and not model.codec.classes:
        raise PerrinError("this model was trained without classes; it takes no label")
    index = model.label(label) if model.codec.classes else -1
    return index, 1.0 if index < 0 else model.sampling.weight(guidance)


def operator_of(shape: Shape, task: str | Operator, options: Mapping[str, Any]) -> Operator:
    """The operator of a task of states of this shape.

    Raises:
        PerrinError: states of several leaves, an operator of other states.
    """
    if not isinstance(shape, tuple):
        raise PerrinError("restoration is of states of one leaf; this model's have several")
    if isinstance(task, str):
        return build(task, shape, options)
    if options:
        raise PerrinError(f"{next(iter(options))} is an option of tasks by name; an operator has its own")
    if task.shape != shape:
        raise PerrinError(f"{task.name} measures states {task.shape}; this model's are {shape}")
    return task


def plan_of(deviation: float, particles: bool, solver: str | None, steps: int | None) -> Plan:
    """The plan of a restoration: `guide.restoring.descent`, with another solver or number of steps where given.

    Raises:
        PerrinError: particles under another solver than ddpm.
    """
    if particles and solver not in (None, "ddpm"):
        raise PerrinError(f"particles move by the solver ddpm, not by {solver!r}")
    solver = "ddpm" if particles else solver
    given = {name: value for name, value in (("steps", steps), ("rule", solver)) if value is not None}
    return descent(deviation, **given)  # type: ignore[arg-type]

"""Drawing clean states that explain a measurement: the model's denoiser under a method, a chunk at a time."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from perrin.guide.particles import particles
from perrin.guide.restoring import Measured
from perrin.process.state import entries
from perrin.registry import methods, unknown
from perrin.restoration.problem import Problem
from perrin.restoration.restored import Restored
from perrin.sample import Plan, run
from perrin.sample.chunking import in_chunks
from perrin.sample.noise import Key, seed_of
from perrin.samples import drawn_by

if TYPE_CHECKING:
    from perrin.model import Model

ENTRIES_AT_A_TIME = 500_000
"""Default size of a chunk: so many numbers of state, since reverse passes keep what the network computed."""


@dataclass(frozen=True)
class Way:
    """How to restore, all settled.

    Attributes:
        method: a name of `registry.methods`; options: its own. particles: more than 1 for that many in place of samples
            that know nothing of one another (twisted sequential Monte Carlo).
        plan, seed: as of samples. label: class index, -1 for none. weight: of guidance by that label.
    """

    plan: Plan
    samples: int
    seed: int
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    label: int = -1
    weight: float = 1.0
    particles: bool = False


def restored(
    model: Model,
    problem: Problem,
    way: Way,
    batch: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Restored:
    """Samples of every item of a problem; sample k of item i is a function of (seed, i, k).

    Args:
        batch: samples at a time. progress: called with (evaluations done, in all).

    Raises:
        PerrinError: a method or an option that is not known, levels at which it is not defined.
    """
    known = inspect.signature(methods[way.method]).parameters
    for name in way.options:
        if name not in known:
            own = [n for n in known if n not in ("denoiser", "operator", "measurement", "noise", "deviation")]
            raise unknown(f"option of the method {way.method}", name, own)
    count = len(problem.measurement)
    rows = count * way.samples
    size = batch or max(1, min(256, ENTRIES_AT_A_TIME // entries(model.codec.shape)))
    size = max(1, size // way.samples) * way.samples if way.particles else size
    done = 0

    def work(part: slice) -> Tensor:
        nonlocal done

        def report(*_: object) -> None:
            nonlocal done
            done += part.stop - part.start
            if progress is not None:
                progress(min(done, rows * way.plan.nfe), rows * way.plan.nfe)

        return _chunk(model, problem, way, range(part.start, part.stop), report)

    with _counted(model.denoiser.net) as passes:
        states = torch.cat(in_chunks(rows, size, work, of=way.samples if way.particles else 1))
    made = [_provenance(model, problem, way, i) for i in range(count)]
    shape = states.shape[1:]
    return Restored(
        states.view(count, way.samples, *shape),
        problem,
        model.codec,
        passes.rows / rows,
        made,
    )


def _chunk(model: Model, problem: Problem, way: Way, rows: range, report: Callable[..., object]) -> Tensor:
    """States [rows, *shape] of rows (item, sample), samples fastest."""
    device = next(model.denoiser.parameters()).device
    places = torch.tensor(rows) // way.samples
    y = problem.measurement[places].to(device)
    y = y.to(torch.complex64 if y.is_complex() else torch.float32)
    condition = None
    if model.codec.classes:
        condition = {"label": torch.full((len(rows),), way.label, device=device)}
    denoiser = model.guided(way.weight)
    keys: list[Key] = [
        (seed_of((way.seed, i // way.samples), "", "restore") % 2**62, i % way.samples) for i in rows
    ]
    if way.particles:
        return _by_particles(way, problem, model, denoiser, y, condition, keys, report)
    guide = _guide(way, problem, denoiser, y, model)
    found = run(
        way.plan,
        guide,
        seeds=keys,
        shape=model.codec.shape,
        condition=condition,
        callback=report,
        device=device,
    )
    assert isinstance(found, Tensor)
    return found.cpu()


def _guide(way: Way, problem: Problem, denoiser: nn.Module, y: Tensor, model: Model) -> Measured:
    made: Measured = methods[way.method](
        denoiser, problem.operator, y, problem.noise, model.codec.sigma_data, **way.options
    )
    return made


def _by_particles(
    way: Way,
    problem: Problem,
    model: Model,
    denoiser: nn.Module,
    y: Tensor,
    condition: dict[str, Tensor] | None,
    keys: list[Key],
    report: Callable[..., object],
) -> Tensor:
    """Particles of every item, drawn by their weights as often as there are samples."""
    first = slice(0, None, way.samples)
    guide = _guide(way, problem, denoiser, y[first], model)
    told = None if condition is None else {name: value[first] for name, value in condition.items()}
    shape = model.codec.shape
    assert isinstance(shape, tuple)
    found = particles(
        way.plan, guide, seeds=keys[first], shape=shape, count=way.samples, condition=told, callback=report
    )
    return found.resampled(keys[first]).flatten(0, 1).cpu()


@dataclass
class _Passes:
    rows: int = 0


@contextmanager
def _counted(net: nn.Module) -> Iterator[_Passes]:
    """How many rows went through a network."""
    passes = _Passes()

    def count(_: nn.Module, given: tuple[Any, ...], __: Any) -> None:
        passes.rows += len(given[0])

    hook = net.register_forward_hook(count)
    try:
        yield passes
    finally:
        hook.remove()


def _provenance(model: Model, problem: Problem, way: Way, index: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        **drawn_by(model, way.plan),
        "method": "particles" if way.particles else way.method,
        "proposal": way.method if way.particles else None,
        "options": dict(way.options) or None,
        "operator": problem.operator.name,
        "noise": problem.noise,
        "seed": way.seed,
        "index": index,
        "samples": way.samples,
        "guidance": way.weight if way.weight != 1.0 else None,
    }
    if way.label >= 0:
        made |= {"label": way.label, "class": (model.codec.classes or [])[way.label]}
    return {name: value for name, value in made.items() if value is not None}

"""Drawing clean states that explain a measurement: the model's denoiser under a method, a chunk at a time."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from perrin.guide.particles import particles
from perrin.guide.restoring import Measured
from perrin.process.state import entries
from perrin.registry import methods, unknown
from perrin.restoration.problem import Problem
from perrin.restoration.restored import Restored
from perrin.restoration.way import Way
from perrin.sample import run
from perrin.sample.chunking import in_chunks
from perrin.sample.noise import Key, seed_of
from perrin.samples import drawn_by

if TYPE_CHECKING:
    from perrin.model import Model

ENTRIES_AT_A_TIME = 500_000
"""Default size of a chunk: so many numbers of state, since reverse passes keep what the network computed."""


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
    size = batch or max(1, min(256, ENTRIES_AT_A_TIME // entries(problem.operator.shape)))
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
    values = way.values(states.to(model.device)).cpu()
    return Restored(
        values.view(count, way.samples, *values.shape[1:]),
        problem,
        model.codec if way.seen is None else way.seen.codec,
        passes.rows / rows,
        made,
        states.view(count, way.samples, *states.shape[1:]),
    )


def _chunk(model: Model, problem: Problem, way: Way, rows: range, report: Callable[..., object]) -> Tensor:
    """States [rows, *shape] of rows (item, sample), samples fastest."""
    device = model.device
    places = torch.tensor(rows) // way.samples
    y = problem.measurement[places].to(device)
    y = y.to(torch.complex64 if y.is_complex() else torch.float32)
    condition, denoiser = way.condition(model, len(rows)), way.denoiser(model)
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
        shape=way.shape(model),
        condition=condition,
        callback=report,
        device=device,
    )
    assert isinstance(found, Tensor)
    return found.cpu()


def _guide(way: Way, problem: Problem, denoiser: nn.Module, y: Tensor, model: Model) -> Measured:
    made: Measured = methods[way.method](
        denoiser, way.operator(problem), y, problem.noise, model.codec.sigma_data, **way.options
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
    shape = way.shape(model)
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
        "dtype": model.about.get("dtype"),  # of pretrained weights, which may be rounded
        "changes": model.about.get("changes") or None,
        **way.told(model),
    }
    return {name: value for name, value in made.items() if value is not None}

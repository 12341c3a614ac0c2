r"""Fitting a plan's table to a model, so that few evaluations end where many would.

    minimise over levels and coefficients  sum_i log(1 + e_i^2 / c),     e_i = RMSE of seed i to a fine solution

Starts are explored on few seeds, since the loss has many valleys: the given plan, and rules on levels drawn where the
prediction changes. The best are polished on all seeds. Seeds that the fit has not seen choose among them, by median
times root mean square, and decide whether the choice is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from perrin.denoise.prediction import Denoiser
from perrin.errors import PerrinError
from perrin.guide import ClassifierFree
from perrin.learn import least_squares
from perrin.learn.history_table import HistoryTable
from perrin.learn.matching import Match, default_chunk, fitting
from perrin.learn.reference import solve
from perrin.learn.rollout import Conditions
from perrin.learn.starts import starting_points
from perrin.sample.device import device_of
from perrin.sample.plan import Plan
from perrin.sample.running import prior

Progress = Callable[[int, int, str], None]
"""(steps done, steps in all, a note)."""
Stages = tuple[tuple[float, float], ...]

EXPLORING: Stages = ((10.0, 0.5), (3.0, 0.5))
POLISHING: Stages = ((1.0, 1.0), (0.3, 1.0))
"""Stages of `least_squares.minimise`, their steps in units of `iterations`."""
KEPT = 3
"""Most starts that are polished; few starts leave one more than a quarter of them."""
FEW = (64, 256)
"""Least and most seeds on which starts are explored; a quarter of all in between."""


def tune(
    plan: Plan,
    denoiser: Denoiser,
    *,
    shape: tuple[int, ...],
    seeds: int = 2048,
    condition: Conditions = None,
    guidance: float | None = None,
    starts: int = 24,
    iterations: int = 12,
    finest: float | None = None,
    tolerance: float = 3e-4,
    chunk: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    facts: dict[str, Any] | None = None,
) -> Plan:
    """A plan of as many evaluations, fitted to a denoiser.

    Args:
        plan: where to start; deterministic.
        denoiser: the one to sample; shape: of its state, without the batch.
        seeds: how many to fit on; half as many others decide.
        condition: tensors [M, ...], the distribution of conditions: row i % M belongs to seed i.
        guidance: weight of classifier-free guidance to fit under; None or 1 for none.
        starts: how many starts are explored, the plan's own among them.
        iterations: for exploring a start; polishing takes two times as many.
        finest: the last level that the denoiser may be asked, beyond the plan's own; 12 by default.
        tolerance: of the fine solution, relative to the states.
        chunk: seeds at a time; by default what keeps derivatives small, halved when memory runs out.
        seed: names the seeds; progress: called as it goes; facts: are kept in the plan's `fitted`.

    Returns:
        The fitted plan, whose `fitted` says what it was fitted to and how it did; `plan` itself where unseen seeds
        do not confirm that the fit is better, in median and in root mean square.

    Raises:
        PerrinError: a stochastic plan, a fine solution that does not converge, or a chunk that memory cannot hold.
    """
    given = [("seeds", seeds, 2), ("starts", starts, 1), ("iterations", iterations, 1)]
    for name, value, least in [*given, *([] if chunk is None else [("chunk", chunk, 1)])]:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise PerrinError(f"{name} = {value!r} must be a whole number of at least {least}")
    table = HistoryTable.of(plan)
    if guidance is not None and guidance != 1:
        denoiser = ClassifierFree(denoiser, guidance)
    held_out = max(2, seeds // 2)
    whole = _match(table, denoiser, shape, seeds + held_out, condition, finest, tolerance, chunk, seed)
    problem, unseen = whole.on(slice(seeds)), whole.on(slice(seeds, None))
    polished = _search(problem, starts, iterations, seed, progress)
    before = unseen.errors(table.parameters())
    found, after = min(((v, unseen.errors(v)) for v in polished), key=lambda one: _worth(one[1]))
    if not (_median(after) < _median(before) and after.mean() <= before.mean()):
        return plan
    return unseen.at(found).plan(
        {
            "guidance": 1.0 if guidance is None else float(guidance),
            **(facts or {}),
            "start": {"rule": plan.rule, "grid": [v if math.isfinite(v) else str(v) for v in plan.grid]},
            "seeds": seeds,
            "median": [_median(before), _median(after)],
            "root_mean_square": [math.sqrt(before.mean()), math.sqrt(after.mean())],
        }
    )


def _match(
    table: HistoryTable,
    denoiser: Denoiser,
    shape: tuple[int, ...],
    count: int,
    condition: Conditions,
    finest: float | None,
    tolerance: float,
    chunk: int | None,
    seed: int,
) -> Match:
    """The start states, where the flow leads them, and the rest of the problem."""
    device = device_of(denoiser)
    weights = isinstance(denoiser, torch.nn.Module) and any(True for _ in denoiser.parameters())
    dtype = torch.float32 if weights else torch.float64
    start = prior([(seed, i) for i in range(count)], tuple(shape), dtype, device)
    assert isinstance(start, Tensor)
    if condition is not None:
        sizes = {name: len(value) for name, value in condition.items()}
        index = torch.arange(count)
        condition = {name: value[index % sizes[name]].to(device) for name, value in condition.items()}
    highest = max(12.0 if finest is None else finest, float(table.told[-1]))
    size = chunk or default_chunk(table, shape, start.device)
    made = fitting(Match(table, denoiser, start, start, condition, highest, size), chunk is not None)
    target, _ = solve(
        denoiser,
        start,
        condition,
        levels=(table.start, table.end),
        finest=highest,
        tolerance=tolerance,
        chunk=made.chunk,
    )
    return replace(made, target=target)


def _search(
    problem: Match, starts: int, iterations: int, seed: int, progress: Progress | None
) -> list[Tensor]:
    """The parameters in the best valleys."""
    exploring, polishing = (
        [(tail, max(1, round(share * iterations))) for tail, share in stages]
        for stages in (EXPLORING, POLISHING)
    )
    kept = min(KEPT, 1 + starts // 4)
    total, done = starts * _steps(exploring) + kept * _steps(polishing), 0

    def minimised(on: Match, v: Tensor, stages: list[tuple[float, int]], what: str) -> tuple[Tensor, Tensor]:
        nonlocal done
        count = 0

        def told(squares: Tensor) -> None:
            nonlocal count
            count += 1
            if progress is not None:
                note = f"{what}: median {_median(squares):.2g}, rms {math.sqrt(squares.mean()):.2g}"
                progress(done + count, total, note)

        found = least_squares.minimise(on, v, stages=stages, told=told)
        done += _steps(stages)
        return found

    few = problem.on(slice(min(FEW[1], max(FEW[0], len(problem.start) // 4))))
    pool = [minimised(few, v, exploring, "exploring") for v in starting_points(few, starts, seed)]
    return [minimised(problem, v, polishing, "polishing")[0] for v, _ in _ranked(pool)[:kept]]


def _steps(stages: list[tuple[float, int]]) -> int:
    return sum(steps for _, steps in stages)


def _ranked(pool: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """By the loss at one common c, the best first."""
    c = max(min(float(squares.mean()) for _, squares in pool), torch.finfo(torch.float64).tiny)
    return sorted(pool, key=lambda found: least_squares.robust(found[1], c))


def _median(squares: Tensor) -> float:
    return float(squares.sqrt().median())


def _worth(squares: Tensor) -> float:
    """Median times root mean square: neither may be bought with the other at a worse rate than one to one."""
    return _median(squares) * math.sqrt(squares.mean())

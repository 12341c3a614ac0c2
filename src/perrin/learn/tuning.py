r"""Fitting a plan's table to a model, so that few evaluations end where many would.

    minimise over levels and coefficients  sum_i log(1 + e_i^2 / c),     e_i = RMSE of seed i to a fine solution

Starts are explored on few seeds, since the loss has many valleys: the given plan, and rules on levels drawn where the
prediction changes. The best are refined, the very best polished on all seeds; seeds that the fit has not seen decide
whether it is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from perrin.denoise.prediction import Denoiser
from perrin.errors import PerrinError
from perrin.guide import ClassifierFree
from perrin.learn import least_squares
from perrin.learn.history_table import HistoryTable
from perrin.learn.reference import NOISIEST, reference_plan, solve
from perrin.learn.rollout import Conditions, linearise, rollout
from perrin.sample import Trace, make_plan, run
from perrin.sample.device import device_of, out_of_memory
from perrin.sample.plan import Plan
from perrin.sample.running import prior

Progress = Callable[[int, int, str], None]
"""(steps done, steps in all, a note)."""
Stages = tuple[tuple[float, float], ...]

RULES = ("dpmpp_2m", "unipc_2", "ddim")
EXPLORING: Stages = ((10.0, 0.5), (3.0, 0.5))
REFINING: Stages = ((3.0, 0.75), (1.0, 0.75))
POLISHING: Stages = ((1.0, 0.75), (0.3, 1.25))
"""Stages of `least_squares.minimise`, their steps in units of `iterations`."""
KEPT = 3
FEW = (64, 256)
"""Least and most seeds on which starts are explored and refined; a quarter of all in between."""
TANGENT_BYTES, MOST = {"cpu": 2**23, "cuda": 2**28}, {"cpu": 32, "cuda": 256}
"""Default memory for the derivatives of a chunk, and its most seeds. Larger blocks than these the CPU's allocator takes
from the system and gives back each time, which costs as much as the arithmetic."""


@dataclass(frozen=True)
class Match:
    """Residuals of a table on some seeds: the `least_squares.Problem` of fitting a plan."""

    table: HistoryTable
    denoiser: Denoiser
    start: Tensor
    target: Tensor
    condition: Conditions
    highest: float
    chunk: int

    def errors(self, v: Tensor) -> Tensor:
        """e_i^2, float64 [N]; inf for levels that do not rise."""
        table = self.table.replaced(v)
        if not table.rising(self.highest):
            return torch.full((len(self.start),), math.inf, dtype=torch.float64)
        found = [
            _squares(rollout(table, self.denoiser, start, condition) - target)
            for start, target, condition in self.parts()
        ]
        return torch.cat(found).nan_to_num(nan=math.inf).cpu()

    def normal(self, v: Tensor, c: float) -> tuple[Tensor, Tensor, Tensor]:
        """The weighted normal equations and e_i^2, chunk by chunk."""
        table, count = self.table.replaced(v), len(v)
        hessian, gradient = (
            torch.zeros(count, count, dtype=torch.float64),
            torch.zeros(count, dtype=torch.float64),
        )
        squares = []
        for start, target, condition in self.parts():
            found, slopes = linearise(table, self.denoiser, start, condition)
            residual = found - target
            squares.append(_squares(residual))
            weight = (1 / (c + squares[-1])).to(slopes.dtype)
            weighed = (slopes.flatten(2) * weight[:, None]).flatten(1)
            hessian += (weighed @ slopes.flatten(1).T).double().cpu()
            gradient += (weighed @ residual.flatten()).double().cpu()
        return hessian, gradient, torch.cat(squares).cpu()

    def parts(self) -> list[tuple[Tensor, Tensor, Conditions]]:
        """(start, target, condition) of every chunk."""
        slices = [slice(at, at + self.chunk) for at in range(0, len(self.start), self.chunk)]
        return [(self.start[s], self.target[s], _rows(self.condition, s)) for s in slices]

    def first(self, count: int) -> Match:
        """The same on the first seeds alone."""
        s = slice(0, count)
        return replace(self, start=self.start[s], target=self.target[s], condition=_rows(self.condition, s))


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
        iterations: for exploring a start; refining takes one and a half and polishing two times as many.
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
    for name, value, least in (("seeds", seeds, 2), ("starts", starts, 1), ("iterations", iterations, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise PerrinError(f"{name} = {value!r} must be a whole number of at least {least}")
    table = HistoryTable.of(plan)
    if guidance is not None and guidance != 1:
        denoiser = ClassifierFree(denoiser, guidance)
    held_out = max(2, seeds // 2)
    whole = _match(table, denoiser, shape, seeds + held_out, condition, finest, tolerance, chunk, seed)
    problem = whole.first(seeds)
    rest = slice(seeds, None)
    unseen = replace(
        whole, start=whole.start[rest], target=whole.target[rest], condition=_rows(whole.condition, rest)
    )
    found = _search(problem, starts, iterations, seed, progress)
    before, after = unseen.errors(_own(table)), unseen.errors(found)
    if not (_median(after) < _median(before) and after.mean() <= before.mean()):
        return plan
    return table.replaced(found).plan(
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
    size = chunk or _default_chunk(table, shape, start.device)
    made = _fitting(Match(table, denoiser, start, start, condition, highest, size), chunk is not None)
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


def _default_chunk(table: HistoryTable, shape: tuple[int, ...], device: torch.device) -> int:
    numbers = len(table.vector()) * table.evaluations * math.prod(shape)
    kind = device.type if device.type in MOST else "cuda"
    return max(1, min(MOST[kind], TANGENT_BYTES[kind] // (8 * numbers)))


def _fitting(problem: Match, asked: bool) -> Match:
    """The problem with a chunk that memory holds.

    Raises:
        PerrinError: the chunk that was asked for does not fit; says which does.
    """
    size, v = problem.chunk, _own(problem.table)
    while True:
        try:
            replace(problem, chunk=size).first(size).normal(v, 1.0)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if size == 1:
                raise PerrinError(
                    "there is not enough memory for the derivatives of a single seed"
                ) from error
            size //= 2
            continue
        if asked and size < problem.chunk:
            raise PerrinError(f"there is not enough memory for chunk = {problem.chunk}; chunk = {size} fits")
        return replace(problem, chunk=size)


def _search(problem: Match, starts: int, iterations: int, seed: int, progress: Progress | None) -> Tensor:
    """The parameters of the best valley."""
    exploring, refining, polishing = (
        [(tail, max(1, round(share * iterations))) for tail, share in stages]
        for stages in (EXPLORING, REFINING, POLISHING)
    )
    kept = min(KEPT, 1 + starts // 4)
    total, done = starts * _steps(exploring) + kept * _steps(refining) + _steps(polishing), 0

    def refined(on: Match, v: Tensor, stages: list[tuple[float, int]], what: str) -> tuple[Tensor, Tensor]:
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

    few = problem.first(min(FEW[1], max(FEW[0], len(problem.start) // 4)))
    pool = [refined(few, v, exploring, "exploring") for v in _starts(few, starts, seed)]
    best = _ranked(pool)[:kept]
    best = _ranked([refined(few, v, refining, "refining") for v, _ in best])
    return refined(problem, best[0][0], polishing, "polishing")[0]


def _steps(stages: list[tuple[float, int]]) -> int:
    return sum(steps for _, steps in stages)


def _ranked(pool: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """By the loss at one common c, the best first."""
    c = max(min(float(squares.mean()) for _, squares in pool), torch.finfo(torch.float64).tiny)
    return sorted(pool, key=lambda found: least_squares.robust(found[1], c))


def _starts(problem: Match, count: int, seed: int) -> list[Tensor]:
    """The table's own parameters, and rules on levels drawn where the prediction changes."""
    table, evaluations = problem.table, problem.table.evaluations
    generator = torch.Generator().manual_seed(seed)
    level_at = _busy_levels(problem)
    found = [_own(table)]
    for number in range(count - 1):
        places = torch.rand(evaluations, generator=generator, dtype=torch.float64).sort().values
        even = (torch.arange(evaluations, dtype=torch.float64) + 0.5) / evaluations
        levels = level_at((places + even) / 2)
        grid = [table.start, *levels[1:].tolist(), table.end]
        other = HistoryTable.of(make_plan(RULES[number % len(RULES)], grid=grid))
        found.append(torch.cat([levels[:1], other.vector()[1:]]))
    return found


def _busy_levels(problem: Match) -> Callable[[Tensor], Tensor]:
    """Shares of the way that the predictions go along the fine solution, [n] in (0, 1) -> levels [n]."""
    table = problem.table
    start, _, condition = problem.first(64).parts()[0]
    fine = reference_plan(table.start, table.end, problem.highest, 64)
    trace = Trace()
    run(fine, problem.denoiser, seeds=range(len(start)), start=start, condition=condition, trace=trace)
    means = torch.stack([m for m in trace.means if isinstance(m, Tensor)])
    way = (means[1:] - means[:-1]).square().flatten(2).mean(2).sqrt().mean(1).double().cpu()
    reached = torch.cat([torch.zeros(1, dtype=torch.float64), way.cumsum(0)]) / way.sum()
    at = torch.tensor(fine.evaluated, dtype=torch.float64).clamp(min=NOISIEST)

    def level_at(share: Tensor) -> Tensor:
        after = torch.searchsorted(reached, share).clamp(1, len(at) - 1)
        width = (reached[after] - reached[after - 1]).clamp(min=1e-12)
        found: Tensor = at[after - 1] + (at[after] - at[after - 1]) * (share - reached[after - 1]) / width
        return found

    return level_at


def _own(table: HistoryTable) -> Tensor:
    """The table's parameters; an infinite first level, which has no derivative, as a very noisy one."""
    return table.vector().clamp(min=NOISIEST) if math.isinf(table.start) else table.vector()


def _squares(residual: Tensor) -> Tensor:
    return residual.double().square().flatten(1).mean(1)


def _median(squares: Tensor) -> float:
    return float(squares.sqrt().median())


def _rows(condition: Conditions, rows: slice) -> Conditions:
    return None if condition is None else {name: value[rows] for name, value in condition.items()}

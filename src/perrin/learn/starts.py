"""Where fits of a plan start: its own table, and rules on levels drawn where the prediction changes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from perrin.learn.history_table import NOISIEST, HistoryTable
from perrin.learn.matching import Match
from perrin.learn.reference import reference_plan
from perrin.sample import Trace, make_plan, run

RULES = ("dpmpp_2m", "unipc_2", "ddim")


def starting_points(problem: Match, count: int, seed: int) -> list[Tensor]:
    """The table's own parameters, and rules on levels drawn where the prediction changes."""
    table, evaluations = problem.table, problem.table.evaluations
    generator = torch.Generator().manual_seed(seed)
    level_at = _busy_levels(problem)
    found = [table.parameters()]
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
    start, _, condition = problem.on(slice(64)).parts()[0]
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

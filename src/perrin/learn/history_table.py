r"""A deterministic plan as numbers that can be fitted: every state a mix of the start and all predictions so far.

    x_k = p_k x_start + sum_{j < k} c_kj D_j,      D_k = the prediction at x_k, told the level l_k

A point mass (D = c) must keep the noise and the signal of its level. So p_k = sigma_k / sigma_start, and a row's
sum over D is alpha_k - (sigma_k / sigma_start) alpha_start. What is left free are the levels and all coefficients of
a row but the newest. The first level is only told: the start is so noisy that a prediction there says little more
than the mean of the data, and one told a cleaner level says more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process import levels
from perrin.sample.plan import Plan, Row

NOISIEST = -12.0
"""Stands for a start at pure noise, whose infinite level has no derivative."""
RULE = "tuned"
"""The name of the rule of a fitted plan; no registered rule gives its table."""


@dataclass(frozen=True)
class HistoryTable:
    """The table of K evaluations.

    Attributes:
        start: the level of the start state; end: of the result.
        told: float64 [K], rising, the levels that the denoiser is told.
        mix: row k of 1 .. K, float64 [k]: the coefficients of D_0 .. D_{k-1}; the last row gives the result.
    """

    start: float
    end: float
    told: Tensor
    mix: tuple[Tensor, ...]

    @staticmethod
    def of(plan: Plan) -> HistoryTable:
        """The table of a plan.

        Raises:
            PerrinError: a plan that draws noise, or that is not exact on a point mass.
        """
        if plan.stochastic:
            raise PerrinError(f"plan {plan.rule!r} draws noise; only a deterministic plan can be fitted")
        told, rows = _replay(plan)
        table = HistoryTable(plan.grid[0], plan.grid[-1], told, tuple(r[1 : 1 + k] for k, r in rows))
        for k, row in rows:
            if (
                abs(float(row[0]) - table.share(k)) > 1e-8
                or abs(float(row[1:].sum()) - table.total(k)) > 1e-8
            ):
                raise PerrinError(
                    f"plan {plan.rule!r} is not exact on a point mass at evaluation {k}; it cannot be fitted"
                )
        return table

    @property
    def evaluations(self) -> int:
        """K."""
        return len(self.told)

    def level(self, k: int) -> float:
        """The level of x_k, k = 0 .. K."""
        if k == 0:
            return self.start
        return self.end if k == self.evaluations else float(self.told[k])

    def share(self, k: int) -> float:
        """p_k, the coefficient of the start state in x_k."""
        return float(levels.sigma(self.level(k)) / levels.sigma(self.start))

    def total(self, k: int) -> float:
        """The sum of row k that a point mass dictates."""
        return float(levels.alpha(self.level(k)) - self.share(k) * levels.alpha(self.start))

    def vector(self) -> Tensor:
        """The free parameters [K + K (K - 1) / 2]: the told levels, then row by row all coefficients but the newest."""
        return torch.cat([self.told, *(row[:-1] for row in self.mix)])

    def parameters(self) -> Tensor:
        """The vector from which to fit: an infinite first level as a very noisy one."""
        return self.vector().clamp(min=NOISIEST) if math.isinf(self.start) else self.vector()

    def replaced(self, vector: Tensor) -> HistoryTable:
        """The table with other free parameters."""
        moved = HistoryTable(self.start, self.end, vector[: self.evaluations], ())
        rows, at = [], self.evaluations
        for k in range(1, self.evaluations + 1):
            free = vector[at : at + k - 1]
            rows.append(torch.cat([free, (moved.total(k) - free.sum()).reshape(1)]))
            at += k - 1
        return HistoryTable(self.start, self.end, vector[: self.evaluations], tuple(rows))

    def rising(self, highest: float) -> bool:
        """Whether the levels rise from the start and none is above `highest`."""
        path = [self.start, *self.told.tolist()]
        return all(a < b for a, b in pairwise(path[1:])) and path[0] <= path[1] and path[-1] <= highest

    def plan(self, fitted: dict[str, Any] | None = None) -> Plan:
        """The table as a plan: x_k moved to x_{k+1}, with all predictions kept."""
        count = self.evaluations
        slots = 2 + count - 1
        before = torch.zeros(count, dtype=torch.float64)
        rows = []
        for k in range(count):
            keep = self.share(k + 1) / self.share(k)
            after = torch.zeros(count, dtype=torch.float64)
            after[: k + 1] = self.mix[k]
            step = after - keep * before
            matrix = torch.zeros(slots, slots + 2, dtype=torch.float64)
            matrix[:2, 0] = keep
            for j in range(k):
                matrix[:2, 2 + j] = step[j]
                matrix[2 + j, 2 + j] = 1.0
            matrix[:2, slots] = step[k]
            if k < count - 1:
                matrix[2 + k, slots] = 1.0
            rows.append(Row(float(self.told[k]), self.level(k), matrix))
            before = after
        grid = (self.start, *(float(v) for v in self.told[1:]), self.end)
        # the first evaluation is told another level than its state's, which a check of the point mass would refuse
        exact = float(self.told[0]) == self.start
        return Plan(RULE, grid, tuple(rows), slots, declared=count, exact=exact, fitted=fitted)


def _replay(plan: Plan) -> tuple[Tensor, list[tuple[int, Tensor]]]:
    """The told levels, and x_k for k = 1 .. K by the start state and the predictions, float64 [1 + K]."""
    count, k = plan.nfe, 0
    state = torch.zeros(plan.slots, 1 + count, dtype=torch.float64)
    state[:2, 0] = 1.0
    told, rows = [], []
    for row in plan.rows:
        mean = noise = torch.zeros(1, 1 + count, dtype=torch.float64)
        if row.level is not None:
            if k:
                rows.append((k, state[1].clone()))
            told.append(row.level)
            mean = torch.zeros(1, 1 + count, dtype=torch.float64)
            mean[0, 1 + k] = 1.0
            noise = (state[1:2] - levels.alpha(row.level) * mean) / levels.sigma(row.level)
            k += 1
        state = row.matrix @ torch.cat([state, mean, noise])
    rows.append((k, state[0]))
    if not all(math.isfinite(v) for v in told[1:]):
        raise PerrinError(
            f"plan {plan.rule!r} evaluates at an infinite level after its start; it cannot be fitted"
        )
    return torch.tensor(told, dtype=torch.float64), rows

r"""A deterministic plan as numbers that can be fitted: every state a mix of the start and all predictions so far.

    x_k = p_k x_start + sum_{j < k} c_kj D_j,      D_k = the prediction at x_k, told the level l_k

A point mass (D = c) must keep the signal of its level: a row's sum over D is alpha_k - p_k alpha_start. Its noise,
p_k sigma_start, is sigma_k in a rule's plan and free here until the last row, since it is not best that the denoiser be
told as much noise as the state has. For a sharp denoiser the fit keeps more: told less, it decides sooner. What is
free are the told levels, the shares p_k and all coefficients of a row but the newest. The first level is told in the
same spirit: the start is so noisy that a prediction there says little more than the mean of the data, and one told a
cleaner level says more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
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
        shares: float64 [K - 1], p_1 .. p_{K-1}.
        mix: row k of 1 .. K, float64 [k]: the coefficients of D_0 .. D_{k-1}; the last row gives the result.
    """

    start: float
    end: float
    told: Tensor
    shares: Tensor
    mix: tuple[Tensor, ...]

    @staticmethod
    def of(plan: Plan) -> HistoryTable:
        """The table of a plan.

        Raises:
            PerrinError: a plan that draws noise, or that is not exact on a point mass.
        """
        if plan.stochastic:
            raise PerrinError(f"plan {plan.name!r} draws noise; only a deterministic plan can be fitted")
        told, rows = _replay(plan)
        shares = torch.stack([row[0] for _, row in rows])[:-1]
        table = HistoryTable(plan.grid[0], plan.grid[-1], told, shares, tuple(r[1 : 1 + k] for k, r in rows))
        for k, row in rows:
            if abs(float(row[0]) - table.share(k)) + abs(float(row[1:].sum()) - table.total(k)) > 1e-8:
                raise PerrinError(
                    f"plan {plan.name!r} is not exact on a point mass at evaluation {k}; it cannot be fitted"
                )
        return table

    @property
    def evaluations(self) -> int:
        """K."""
        return len(self.told)

    def level(self, k: int) -> float:
        """The level whose signal x_k has, k = 0 .. K."""
        if k == 0:
            return self.start
        return self.end if k == self.evaluations else float(self.told[k])

    def share(self, k: int) -> float:
        """p_k, the coefficient of the start state in x_k; the last is that of the end's level."""
        if k == self.evaluations:
            return float(levels.sigma(self.end) / levels.sigma(self.start))
        return float(self.shares[k - 1])

    def total(self, k: int) -> float:
        """The sum of row k that a point mass dictates."""
        return float(levels.alpha(self.level(k)) - self.share(k) * levels.alpha(self.start))

    @property
    def exact(self) -> bool:
        """Whether every state has the noise of the level that the denoiser is told, as a check of the point mass asks."""
        first, noise = levels.sigma(self.start), levels.sigma(self.told[1:])
        return float(self.told[0]) == self.start and torch.allclose(self.shares * first, noise, 0.0, 1e-11)

    def vector(self) -> Tensor:
        """The free parameters [2 K - 1 + K (K - 1) / 2]: the told levels, the shares, then row by row the coefficients but
        the newest."""
        return torch.cat([self.told, self.shares, *(row[:-1] for row in self.mix)])

    def parameters(self) -> Tensor:
        """The vector from which to fit: an infinite first level as a very noisy one."""
        return self.vector().clamp(min=NOISIEST) if math.isinf(self.start) else self.vector()

    def replaced(self, vector: Tensor) -> HistoryTable:
        """The table with other free parameters."""
        told, shares, _ = vector.tensor_split((self.evaluations, 2 * self.evaluations - 1))
        moved = HistoryTable(self.start, self.end, told, shares, ())
        rows, at = [], 2 * self.evaluations - 1
        for k in range(1, self.evaluations + 1):
            free = vector[at : at + k - 1]
            rows.append(torch.cat([free, (moved.total(k) - free.sum()).reshape(1)]))
            at += k - 1
        return replace(moved, mix=tuple(rows))

    def rising(self, highest: float) -> bool:
        """Whether the levels rise from the start and none is above `highest`."""
        path = [self.start, *self.told.tolist()]
        return all(a < b for a, b in pairwise(path[1:])) and path[0] <= path[1] and path[-1] <= highest

    def plan(self, fitted: dict[str, Any] | None = None) -> Plan:
        """The table as a plan: every state mixed anew from the start and the predictions, which are all kept."""
        count = self.evaluations
        slots = 3 + count - 1
        rows = []
        for k in range(count):
            matrix = torch.zeros(slots, slots + 2, dtype=torch.float64)
            begin = 2 if k else 0  # the start state moves to a slot of its own
            matrix[:2, begin] = self.share(k + 1)
            matrix[2, begin] = 1.0
            matrix[:2, 3 : 3 + k] = self.mix[k][:k]
            matrix[3 : 3 + k, 3 : 3 + k] = torch.eye(k, dtype=torch.float64)
            matrix[:2, slots] = self.mix[k][k]
            if k < count - 1:
                matrix[3 + k, slots] = 1.0
            rows.append(Row(float(self.told[k]), self.level(k), matrix))
        grid = (self.start, *(float(v) for v in self.told[1:]), self.end)
        return Plan(RULE, grid, tuple(rows), slots, declared=count, exact=self.exact, fitted=fitted)


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
            f"plan {plan.name!r} evaluates at an infinite level after its start; it cannot be fitted"
        )
    return torch.tensor(told, dtype=torch.float64), rows

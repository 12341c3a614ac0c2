r"""What `Plan.check` verifies, on the table alone and in closed form.

The point mass: when all data are one point c, the denoiser answers D = c and E = (x - alpha c)/sigma, so
every slot is (coefficient) c + noise of a known covariance. A sound table keeps, at every evaluation, the
coefficient alpha and the noise sigma of the level that the denoiser is told.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process import levels
from perrin.registry import rules
from perrin.sample.plan import Plan, Row

TOLERANCE = 1e-10


def check(plan: Plan) -> None:
    """Raise PerrinError at the first defect of the table."""
    if not isinstance(plan.rule, str):
        for leaf, rule in plan.rule.items():
            _check_leaf(plan, leaf, rule)
        return
    _shapes(plan)
    if plan.leaps:  # whose kernels are held to their promises by tests
        return
    _noise(plan)
    if plan.declared is not None and plan.nfe != plan.declared:
        raise PerrinError(f"{_name(plan)} declares {plan.declared} evaluations and has {plan.nfe}")
    states = point_mass(plan)
    _endpoints(plan, states)
    if plan.exact:
        for index, (row, state) in enumerate(zip(plan.rows, states, strict=False)):
            _compare(plan, index, state[0], row.base)
            if row.level is not None:
                _compare(plan, index, state[1], row.level)
        _compare(plan, len(plan.rows), states[-1][0], plan.grid[-1])


def _check_leaf(plan: Plan, leaf: str, rule: str) -> None:
    """The tables of a leaf that rules move, as a plan of their own."""
    rows = [row.table_of(leaf) for row in plan.rows]
    if rows[0] is None:
        return
    slope, shift = plan.clocks.get(leaf, (1.0, 0.0))
    grid = tuple(slope * v + shift for v in plan.grid)
    found = tuple(row for row in rows if row is not None)
    exact = getattr(rules[rule], "exact_on_point_mass", False)
    check(Plan(rule, grid, found, found[0].matrix.shape[0], exact=exact))


def _name(plan: Plan) -> str:
    return f"plan {plan.name!r} of {len(plan.grid) - 1} steps"


def _shapes(plan: Plan) -> None:
    if not plan.rows:
        raise PerrinError(f"{_name(plan)} has no rows")
    for index, row in enumerate(plan.rows):
        if row.matrix.shape != (plan.slots, plan.slots + 2 + len(row.draws)):
            raise PerrinError(f"{_name(plan)}, row {index}: the matrix has shape {tuple(row.matrix.shape)}")
        if not bool(torch.isfinite(row.matrix).all()):
            raise PerrinError(f"{_name(plan)}, row {index}: a coefficient is not finite")
        if row.level is None and bool((row.matrix[:, plan.slots : plan.slots + 2] != 0).any()):
            raise PerrinError(f"{_name(plan)}, row {index} uses a prediction that it does not ask for")
        if row.level == math.inf:
            raise PerrinError(f"{_name(plan)}, row {index} evaluates at the clean level")
    _causality(plan)


def _causality(plan: Plan) -> None:
    """No row may read a slot that nothing has written."""
    written = {0, 1}
    for index, row in enumerate(plan.rows):
        for line in row.program:
            for column, _ in line:
                if column >= 0 and column not in written:
                    raise PerrinError(f"{_name(plan)}, row {index} reads slot {column} before it is written")
        written = {place for place, line in enumerate(row.program) if line}


def _noise(plan: Plan) -> None:
    """Path increments must be disjoint and lie inside the grid; every other draw has a name of its own."""
    draws = [(index, d) for index, row in enumerate(plan.rows) for d in row.draws]
    path = sorted((d.start, d.stop, index) for index, d in draws if d.stream == "path")
    for (_, stop, _), (start, _, index) in pairwise(path):
        if start < stop:
            raise PerrinError(
                f"{_name(plan)}, row {index}: path noise over an interval that was drawn before"
            )
    if len({d for _, d in draws}) != len(draws):
        raise PerrinError(f"{_name(plan)} draws the same noise twice")
    for start, stop, index in path:
        if not (plan.grid[0] <= start < stop <= plan.grid[-1]):
            raise PerrinError(
                f"{_name(plan)}, row {index}: path noise over ({start}, {stop}), outside the grid"
            )


def _endpoints(plan: Plan, states: list[Tensor]) -> None:
    if plan.levels[0] != plan.grid[0] or plan.levels[-1] != plan.grid[-1]:
        raise PerrinError(f"{_name(plan)} does not run from the grid's first level to its last")
    if plan.grid[-1] == math.inf and float(states[-1][0][1:].norm()) > TOLERANCE:
        raise PerrinError(
            f"{_name(plan)} leaves noise of {float(states[-1][0][1:].norm()):.3g} in its output"
        )


def _compare(plan: Plan, index: int, state: Tensor, level: float) -> None:
    alpha, sigma = float(levels.alpha(level)), float(levels.sigma(level))
    for what, found, right in (("signal", float(state[0]), alpha), ("noise", float(state[1:].norm()), sigma)):
        if abs(found - right) > TOLERANCE:
            raise PerrinError(
                f"{_name(plan)}, row {index}: on a point mass the {what} is {found:.12g} "
                f"and the level says {right:.12g}"
            )


def point_mass(plan: Plan) -> list[Tensor]:
    """The slots before every row and after the last when all data are one point c.

    Returns:
        A list of float64 [slots, 1 + normals]: the coefficient of c, then of each independent unit normal.
    """
    normals = 1 + sum(len(row.draws) for row in plan.rows)
    state = torch.zeros(plan.slots, 1 + normals, dtype=torch.float64)
    start = plan.grid[0]
    state[:2, 0], state[:2, 1] = levels.alpha(start), levels.sigma(start)
    states, used = [state], 2
    for row in plan.rows:
        state = row.matrix @ _inputs(row, state, used)
        used += len(row.draws)
        states.append(state)
    return states


def _inputs(row: Row, state: Tensor, used: int) -> Tensor:
    clean = torch.zeros(1, state.shape[1], dtype=torch.float64)
    clean[0, 0] = 1.0
    noise = torch.zeros_like(clean)
    if row.level is not None:
        noise = (state[1:2] - levels.alpha(row.level) * clean) / levels.sigma(row.level)
    draws = torch.zeros(len(row.draws), state.shape[1], dtype=torch.float64)
    spread = 1.0 if row.variance is None else math.sqrt(row.variance[0])
    for index in range(len(row.draws)):
        draws[index, used + index] = spread
    return torch.cat([state, clean, noise, draws])

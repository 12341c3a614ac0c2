r"""Robust least squares by Levenberg and Marquardt.

    minimise  sum_i log(1 + e_i^2 / c),      e_i^2 = |r_i|^2 / d, d entries

Errors over seeds are heavy-tailed: a few seeds near a boundary between two outcomes dominate the mean square. So
residuals are weighed by 1 / (c + e_i^2), the derivative of the loss (iteratively reweighted Gauss-Newton), and c
follows the mean square error. A step is taken only where the loss falls; otherwise the damping grows (Nielsen 1999),
so the iteration cannot diverge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

LARGEST = 0.5
"""Bound of one step in any parameter: beyond it the linear model says nothing."""
TRIES = 8
FLAT = 1e-4
"""A relative fall of the loss below this, twice running, ends the iteration."""


class Problem(Protocol):
    """Residuals that depend on parameters v [P]."""

    def errors(self, v: Tensor) -> Tensor:
        """e_i^2, float64 [N]; inf where the parameters are not allowed."""

    def normal(self, v: Tensor, c: float) -> tuple[Tensor, Tensor, Tensor]:
        """sum w J^T J [P, P], sum w J^T r [P] and e_i^2 [N], with w_i = 1 / (c + e_i^2)."""


def robust(squares: Tensor, c: float) -> float:
    """The mean of log(1 + e^2/c)."""
    return float(torch.log1p(squares / c).mean())


def minimise(
    problem: Problem,
    v: Tensor,
    *,
    stages: Sequence[tuple[float, int]],
    told: Callable[[Tensor], object] | None = None,
) -> tuple[Tensor, Tensor]:
    """The parameters that some steps reach, and e_i^2 there.

    Args:
        v: float64 [P], where to start.
        stages: (tail, steps): c is tail times the mean square error. Large tails care for the worst items and see far,
            small ones for the typical item; from large to small finds better valleys than either alone.
        told: called with e_i^2 after every step.
    """
    squares = problem.errors(v)
    for tail, steps in stages:
        v, squares = _stage(problem, v, squares, tail, steps, told)
    return v, squares


def _stage(
    problem: Problem,
    v: Tensor,
    squares: Tensor,
    tail: float,
    steps: int,
    told: Callable[[Tensor], object] | None,
) -> tuple[Tensor, Tensor]:
    damping, still = 1e-2, 0
    for _ in range(steps):
        c = tail * float(squares.mean())
        if not 0 < c < float("inf"):
            break
        hessian, gradient, squares = problem.normal(v, c)
        before = robust(squares, c)
        step = _step(problem, v, hessian, gradient, c, before, damping)
        if step is None:
            break
        v, squares, damping = step
        if told is not None:
            told(squares)
        still = still + 1 if before - robust(squares, c) < FLAT * before else 0
        if still == 2:
            break
    return v, squares


def _step(
    problem: Problem, v: Tensor, hessian: Tensor, gradient: Tensor, c: float, before: float, damping: float
) -> tuple[Tensor, Tensor, float] | None:
    """The first damped step that lowers the loss: parameters, e_i^2 and the next damping; None if none does."""
    scale, growth = hessian.diagonal(), 2.0
    scale = scale + 1e-9 * scale.max() + torch.finfo(scale.dtype).tiny
    for _ in range(TRIES):
        move = -torch.linalg.solve(hessian + damping * torch.diag(scale), gradient)
        moved = v + move.clamp(-LARGEST, LARGEST)
        squares = problem.errors(moved)
        if robust(squares, c) < before:
            return moved, squares, max(damping / 3, 1e-8)
        damping, growth = damping * growth, growth * 2
    return None

r"""Integration of dy/dlevel = f(y, level) by the Runge-Kutta pair 5(4) of Dormand and Prince (1980).

    k_i = f(y + h sum_j a_ij k_j, level + c_i h),   y' = y + h sum_i b_i k_i,   error = h sum_i e_i k_i

Every item of the batch has its own level, its own step and its own error, and leaves when it has arrived, so
that its result is the one it would have alone. The last slope of a step is the first of the next. An item
that does not arrive is NaN and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from perrin.errors import PerrinError

Field = Callable[[Tensor, Tensor, Tensor], Tensor]
"""f(y [b, n], level [b], items [b]) -> [b, n]: `items` says which of the batch the rows are."""

A = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (
        35 / 384,
        0.0,
        500 / 1113,
        125 / 192,
        -2187 / 6784,
        11 / 84,
    ),  # b as well: the last stage is the new state
)
C = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
E = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
STAGES = len(A)

TOLERANCE = 1e-5
"""Of one step's error: about what a float32 network can resolve."""
SMALLEST = 1e-6
"""The step, in levels, below which an item is given up: nothing smooth needs it."""


@dataclass(frozen=True)
class Stepping:
    """How to step.

    Attributes:
        steps: that many equal steps; None: each item adapts its own.
        tolerance: of one step's error, in the measure of `error_measure`; adaptive steps keep below it.
        max_evaluations: of adaptive steps; an item that has not arrived by then has not converged.

    Raises:
        PerrinError: a tolerance that is not positive, or fewer than one step.
    """

    steps: int | None = None
    tolerance: float = TOLERANCE
    max_evaluations: int = 5000

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise PerrinError(f"tolerance = {self.tolerance} must be > 0")
        if self.steps is not None and self.steps < 1:
            raise PerrinError(f"steps = {self.steps} must be at least 1, or None for adaptive steps")


@dataclass(frozen=True)
class Integrated:
    """The end of an integration.

    Attributes:
        value: [B, n] float64; NaN where an item did not arrive.
        converged: bool [B], whether it arrived and every step's error was within the tolerance.
        error: [B], the sum of the steps' estimated errors, in the measure of `error_measure`.
        evaluations: calls of the field.
    """

    value: Tensor
    converged: Tensor
    error: Tensor
    evaluations: int


def integrate(
    field: Field, y: Tensor, start: float, stop: float, entries: int, stepping: Stepping
) -> Integrated:
    """Carry y [B, n] from level `start` to level `stop`, rising or falling.

    Args:
        field: the slopes.
        y: float64; the first `entries` columns are a state, the others integrals along its way.
        stepping: fixed or adaptive steps.
    """
    if stepping.steps is not None:
        return _fixed(field, y, start, stop, entries, stepping.tolerance, stepping.steps)
    return _Adaptive(field, y, start, stop, entries, stepping.tolerance).go(stepping.max_evaluations)


def step(
    field: Field, y: Tensor, level: Tensor, h: Tensor, slope: Tensor, items: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One step: (new y, its slope, error of y), all [b, n]; level and h are [b], `slope` is f(y, level)."""
    slopes, width, new = [slope], h[:, None], y
    for row, c in zip(A, C, strict=True):
        new = y + width * _combine(row, slopes)
        slopes.append(field(new, level + c * h, items))
    return new, slopes[-1], width * _combine(E, slopes)


def _combine(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    total = torch.zeros_like(slopes[0])
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            total = total + weight * slope
    return total


def error_measure(error: Tensor, before: Tensor, after: Tensor, entries: int) -> Tensor:
    """Error of each item [b]: the larger of two, neither of which knows the rest of the batch.

    The root mean square of the state's errors, entry by entry in units of 1 + |entry|, and the largest error
    of an integral per entry of the state (nats per dimension).
    """
    scale = 1 + torch.maximum(before[:, :entries].abs(), after[:, :entries].abs())
    state = (error[:, :entries] / scale).pow(2).mean(1).sqrt()
    if error.shape[1] == entries:
        return state
    return torch.maximum(state, error[:, entries:].abs().amax(1) / entries)


def _fixed(
    field: Field, y: Tensor, start: float, stop: float, entries: int, tolerance: float, steps: int
) -> Integrated:
    grid = torch.linspace(start, stop, steps + 1, dtype=torch.float64, device=y.device)
    items = torch.arange(len(y), device=y.device)
    slope = field(y, grid[:1].expand(len(y)), items)
    total = torch.zeros(len(y), dtype=torch.float64, device=y.device)
    fine = torch.ones_like(total, dtype=torch.bool)
    for here, there in pairwise(grid):
        width = (there - here).expand(len(y))
        new, slope, error = step(field, y, here.expand(len(y)), width, slope, items)
        size = error_measure(error, y, new, entries)
        total, fine, y = total + size, fine & (size <= tolerance), new
    arrived = torch.isfinite(y).all(1)
    return Integrated(torch.where(arrived[:, None], y, torch.nan), fine & arrived, total, 1 + STAGES * steps)


class _Adaptive:
    """The items under way, each at its own level with its own step."""

    def __init__(
        self, field: Field, y: Tensor, start: float, stop: float, entries: int, tolerance: float
    ) -> None:
        self.field, self.stop, self.entries, self.tolerance = field, stop, entries, tolerance
        self.items = torch.arange(len(y), device=y.device)
        self.y, self.level = y, torch.full_like(y[:, 0], start)
        # the flow changes over levels of order one, whatever the data
        self.h = torch.full_like(self.level, min(tolerance**0.2, abs(stop - start)))
        self.slope = field(y, self.level, self.items)
        self.evaluations = 1
        error = torch.zeros_like(self.level)
        self.value, self.converged = torch.full_like(y, torch.nan), torch.zeros_like(error, dtype=torch.bool)
        self.error = error

    def go(self, max_evaluations: int) -> Integrated:
        self._keep(torch.isfinite(self.slope).all(1))
        while len(self.items) and self.evaluations + STAGES <= max_evaluations:
            self._attempt()
        return Integrated(self.value, self.converged, self.error, self.evaluations)

    def _attempt(self) -> None:
        """One step of every item: taken or refused, item by item; those that arrive or give up leave."""
        left = self.stop - self.level
        last = self.h >= left.abs()
        h = torch.where(last, left, torch.copysign(self.h, left))
        y, slope, error = step(self.field, self.y, self.level, h, self.slope, self.items)
        self.evaluations += STAGES
        size = error_measure(error, self.y, y, self.entries)
        taken = (size <= self.tolerance) & torch.isfinite(y).all(1)
        self.error[self.items] += torch.where(taken, size, 0.0)
        self.level = torch.where(taken, self.level + h, self.level)
        self.y = torch.where(taken[:, None], y, self.y)
        self.slope = torch.where(taken[:, None], slope, self.slope)
        self.h = self.h * growth(size / self.tolerance, taken)
        arrived = taken & last
        self.value[self.items[arrived]] = self.y[arrived]
        self.converged[self.items[arrived]] = True
        self._keep(~arrived & (self.h > SMALLEST))

    def _keep(self, stays: Tensor) -> None:
        if not bool(stays.all()):
            self.items, self.level, self.h = self.items[stays], self.level[stays], self.h[stays]
            self.y, self.slope = self.y[stays], self.slope[stays]


def growth(size: Tensor, taken: Tensor) -> Tensor:
    """The factor of each next step: the error, `size` tolerances, goes as its fifth power; a refused step shrinks."""
    factor = (0.9 * size.clamp(min=1e-10) ** -0.2).clamp(0.2, 5.0)
    # in 64ths: a last bit that differs with the place in the batch must not reach the step
    factor = torch.floor(64 * factor) / 64
    refused = torch.where(torch.isfinite(size), factor.clamp(max=0.9), 0.2)
    return torch.where(taken, factor, refused)

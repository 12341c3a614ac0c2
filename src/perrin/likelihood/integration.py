r"""Integration of dy/dlevel = f(y, level), every item with its own level, its own step and its own error.

An item leaves when it has arrived, so that its result is the one it would have alone. One that does not arrive is NaN and
says so. The steps are those of `runge_kutta`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.likelihood.runge_kutta import STAGES, Field, step

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
    field: Field,
    y: Tensor,
    start: float,
    stop: float,
    entries: int,
    stepping: Stepping,
    counts: Tensor | None = None,
) -> Integrated:
    """Carry y [B, n] from level `start` to level `stop`, rising or falling.

    Args:
        field: the slopes.
        y: float64; the first `entries` columns are a state, the others integrals along its way.
        stepping: fixed or adaptive steps.
        counts: [B], how many of those entries an item has, if not all: the rest are zero, and so are their slopes.
    """
    sizes = torch.full_like(y[:, 0], entries) if counts is None else counts.clamp(min=1)
    if stepping.steps is not None:
        return _fixed(field, y, start, stop, entries, sizes, stepping.tolerance, stepping.steps)
    return _Adaptive(field, y, start, stop, entries, sizes, stepping.tolerance).go(stepping.max_evaluations)


def error_measure(error: Tensor, before: Tensor, after: Tensor, entries: int, sizes: Tensor) -> Tensor:
    """Error of each item [b]: the larger of two, neither of which knows the rest of the batch.

    The root mean square of the state's errors, entry by entry in units of 1 + |entry|, and the largest error
    of an integral per entry of the state (nats per dimension). `sizes` [b]: how many entries items have.
    """
    scale = 1 + torch.maximum(before[:, :entries].abs(), after[:, :entries].abs())
    state = ((error[:, :entries] / scale).pow(2).sum(1) / sizes).sqrt()
    if error.shape[1] == entries:
        return state
    return torch.maximum(state, error[:, entries:].abs().amax(1) / sizes)


def _fixed(
    field: Field,
    y: Tensor,
    start: float,
    stop: float,
    entries: int,
    sizes: Tensor,
    tolerance: float,
    steps: int,
) -> Integrated:
    grid = torch.linspace(start, stop, steps + 1, dtype=torch.float64, device=y.device)
    items = torch.arange(len(y), device=y.device)
    slope = field(y, grid[:1].expand(len(y)), items)
    total = torch.zeros(len(y), dtype=torch.float64, device=y.device)
    fine = torch.ones_like(total, dtype=torch.bool)
    for here, there in pairwise(grid):
        width = (there - here).expand(len(y))
        new, slope, error = step(field, y, here.expand(len(y)), width, slope, items)
        size = error_measure(error, y, new, entries, sizes)
        total, fine, y = total + size, fine & (size <= tolerance), new
    arrived = torch.isfinite(y).all(1)
    return Integrated(torch.where(arrived[:, None], y, torch.nan), fine & arrived, total, 1 + STAGES * steps)


class _Adaptive:
    """The items under way, each at its own level with its own step."""

    def __init__(
        self,
        field: Field,
        y: Tensor,
        start: float,
        stop: float,
        entries: int,
        sizes: Tensor,
        tolerance: float,
    ) -> None:
        self.field, self.stop, self.entries, self.tolerance = field, stop, entries, tolerance
        self.sizes = sizes
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
        size = error_measure(error, self.y, y, self.entries, self.sizes)
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
            self.y, self.slope, self.sizes = self.y[stays], self.slope[stays], self.sizes[stays]


def growth(size: Tensor, taken: Tensor) -> Tensor:
    """The factor of each next step: the error, `size` tolerances, goes as its fifth power; a refused step shrinks."""
    factor = (0.9 * size.clamp(min=1e-10) ** -0.2).clamp(0.2, 5.0)
    # in 64ths: a last bit that differs with the place in the batch must not reach the step
    factor = torch.floor(64 * factor) / 64
    refused = torch.where(torch.isfinite(size), factor.clamp(max=0.9), 0.2)
    return torch.where(taken, factor, refused)

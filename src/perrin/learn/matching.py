"""What a plan is fitted to: how far a table ends from the fine solution, seed by seed, and its normal equations.

Seeds go through in chunks, so memory is bounded by one chunk's derivatives, whatever the number of seeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from perrin.denoise.prediction import Denoiser
from perrin.errors import PerrinError
from perrin.learn.history_table import HistoryTable
from perrin.learn.rollout import Conditions, linearise, rollout
from perrin.sample.device import out_of_memory

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

    def at(self, v: Tensor) -> HistoryTable:
        """The table of parameters. A level beyond the ends stays at the end: a step that pushes one there may help else."""
        count = self.table.evaluations
        return self.table.replaced(torch.cat([v[:count].clamp(self.table.start, self.highest), v[count:]]))

    def errors(self, v: Tensor) -> Tensor:
        """e_i^2, float64 [N]; inf for levels that do not rise."""
        table = self.at(v)
        if not table.rising(self.highest):
            return torch.full((len(self.start),), math.inf, dtype=torch.float64)
        found = [
            _squares(rollout(table, self.denoiser, start, condition) - target)
            for start, target, condition in self.parts()
        ]
        return torch.cat(found).nan_to_num(nan=math.inf).cpu()

    def normal(self, v: Tensor, c: float) -> tuple[Tensor, Tensor, Tensor]:
        """The weighted normal equations and e_i^2, chunk by chunk."""
        table, count = self.at(v), len(v)
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

    def on(self, seeds: slice) -> Match:
        """The same on some of the seeds."""
        return replace(
            self, start=self.start[seeds], target=self.target[seeds], condition=_rows(self.condition, seeds)
        )


def default_chunk(table: HistoryTable, shape: tuple[int, ...], device: torch.device) -> int:
    """How many seeds at a time by default."""
    numbers = len(table.vector()) * table.evaluations * math.prod(shape)
    kind = device.type if device.type in MOST else "cuda"
    return max(1, min(MOST[kind], TANGENT_BYTES[kind] // (8 * numbers)))


def fitting(problem: Match, asked: bool) -> Match:
    """The problem with a chunk that memory holds.

    Raises:
        PerrinError: the chunk that was asked for does not fit; says which does.
    """
    size, v = problem.chunk, problem.table.parameters()
    while True:
        try:
            replace(problem, chunk=size).on(slice(size)).normal(v, 1.0)
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


def _squares(residual: Tensor) -> Tensor:
    return residual.double().square().flatten(1).mean(1)


def _rows(condition: Conditions, rows: slice) -> Conditions:
    return None if condition is None else {name: value[rows] for name, value in condition.items()}

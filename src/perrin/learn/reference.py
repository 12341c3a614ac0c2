"""A fine solution of the probability flow, to which plans are fitted: as many steps as it takes not to matter."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from perrin.denoise.prediction import Denoiser
from perrin.errors import PerrinError
from perrin.learn.history_table import NOISIEST
from perrin.learn.rollout import Conditions
from perrin.sample import make_plan, run
from perrin.sample.plan import Plan

RULE = "unipc_3"
FIRST, LAST = 64, 4096


def reference_plan(start: float, end: float, finest: float, steps: int) -> Plan:
    """The reference of so many evaluations, uniform in level from the start to `finest`, and on to the end."""
    high = min(finest, end)
    infinite = math.isinf(start)
    low = NOISIEST if infinite else start
    grid = torch.linspace(low, high, steps - infinite + 1 - math.isinf(end), dtype=torch.float64).tolist()
    return make_plan(RULE, grid=[*([start] if infinite else []), *grid, *([end] if math.isinf(end) else [])])


def solve(
    denoiser: Denoiser,
    start: Tensor,
    condition: Conditions,
    *,
    levels: tuple[float, float],
    finest: float,
    tolerance: float,
    chunk: int,
) -> tuple[Tensor, int]:
    """The clean states [N, ...] that the flow leads to, and the evaluations that each took.

    The steps are doubled until, on the first items, the median change is below tolerance times their root mean square.

    Args:
        start: [N, ...] at the level `levels[0]`; levels: (start, end); finest: the last finite level.
        chunk: items at a time.

    Raises:
        PerrinError: the solution does not settle.
    """
    probe = min(len(start), chunk, 64)
    head = _part(condition, slice(0, probe))
    steps, change = FIRST, math.inf
    coarse = _run(denoiser, start[:probe], head, reference_plan(*levels, finest, steps), probe)
    while change > tolerance:
        if steps >= LAST:
            raise PerrinError(
                f"the reference does not converge: the median change from {steps // 2} to {steps} evaluations is "
                f"{change:.2g} of the states, above the tolerance {tolerance:g}; look at the model near the ends "
                f"of its levels, or allow a larger tolerance"
            )
        steps *= 2
        fine = _run(denoiser, start[:probe], head, reference_plan(*levels, finest, steps), probe)
        size = float(fine.square().mean().sqrt())
        change = float((fine - coarse).square().flatten(1).mean(1).sqrt().median()) / size
        if not math.isfinite(change):
            raise PerrinError(
                "the reference does not converge: the denoiser gives values that are not finite"
            )
        coarse = fine
    return _run(denoiser, start, condition, reference_plan(*levels, finest, steps), chunk), steps


def _run(denoiser: Denoiser, start: Tensor, condition: Conditions, plan: Plan, chunk: int) -> Tensor:
    parts = []
    for at in range(0, len(start), chunk):
        rows = slice(at, at + chunk)
        found = run(
            plan,
            denoiser,
            seeds=range(len(start[rows])),
            start=start[rows],
            condition=_part(condition, rows),
        )
        assert isinstance(found, Tensor)
        parts.append(found)
    return torch.cat(parts)


def _part(condition: Conditions, rows: slice) -> dict[str, Tensor] | None:
    return None if condition is None else {name: value[rows] for name, value in condition.items()}

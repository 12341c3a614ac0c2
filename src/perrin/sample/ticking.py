r"""`advance`: one tick, in which every sample moves by its own row of its own plan.

The update is a sum of products, elementwise, in one fixed order, with coefficients cast once to the state's
dtype. Products and sums are separate operations, since a fused multiply-add would round differently in a
vector's tail. So the rounding does not depend on the batch: a sample alone, or beside strangers on other rows
of other plans, is the same sample bit for bit (as far as the denoiser itself works row by row).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from perrin.denoise.prediction import Prediction
from perrin.errors import PerrinError
from perrin.process.levels import expand
from perrin.process.state import State, leaves, like
from perrin.sample.noise import Key, normals, seed_of, seed_tensor
from perrin.sample.plan import DRAW, MEAN, NOISE, Plan, Row
from perrin.sample.tracing import Draw

Slots: TypeAlias = list[State]
Source: TypeAlias = Callable[[int], Tensor]


def start_slots(plan: Plan, x: State, count: int | None = None) -> Slots:
    """The slots before row 0: the start state as x_base and x_eval, nothing kept yet.

    `count`: more slots than the plan needs, for a batch in which another plan needs them.
    """
    count = plan.slots if count is None else count
    empty = like({name: torch.zeros_like(v) for name, v in leaves(x).items()}, x) if count > 2 else x
    return [x, x, *([empty] * (count - 2))]


def advance(
    plans: Plan | Sequence[Plan],
    rows: int | Sequence[int],
    slots: Slots,
    predictions: Prediction | None,
    keys: Sequence[Key],
) -> Slots:
    """One tick of the only sampling loop.

    Args:
        plans: one plan for all B samples, or one for each.
        rows: one row index for all, or one each.
        slots: states [B, ...], as `start_slots` or the last tick gave them.
        predictions: of the denoiser at x_eval (`slots[1]`); None where no row evaluates.
        keys: the samples' keys [B], which name their noise.

    Returns:
        The new slots; `slots[0]` is the state.

    Raises:
        PerrinError: plans, rows and keys of different lengths.
    """
    row_of = _rows(plans, rows, len(keys))
    shared = all(row is row_of[0] for row in row_of)
    raw: dict[str, Tensor] | None = None
    if predictions is not None and any(row.uses_noise for row in row_of):
        raw = leaves(predictions.noise_at(slots[1], _levels(row_of, slots[1])))
    mean: dict[str, Tensor] = leaves(predictions.mean) if predictions is not None else {}
    variance = (
        leaves(predictions.variance) if predictions is not None and predictions.variance is not None else {}
    )
    old: list[dict[str, Tensor]] = [leaves(slot) for slot in slots]
    new: list[dict[str, Tensor]] = [{} for _ in slots]
    for name in old[0]:
        draws = _draws(row_of, shared, name, keys, old[0][name], variance.get(name))

        def source(index: int, name: str = name, draws: list[Tensor] = draws) -> Tensor:
            if index >= 0:
                return old[index][name]
            if index == NOISE and raw is not None:
                return raw[name]
            return mean[name] if index == MEAN else draws[DRAW - index]

        results = _uniform(row_of[0], source) if shared else _mixed(row_of, len(slots), source, old[0][name])
        for place, slot in enumerate(new):
            slot[name] = results[place] if place < len(results) else old[place][name]
    return [like(slot, slots[0]) for slot in new]


def _rows(plans: Plan | Sequence[Plan], rows: int | Sequence[int], count: int) -> list[Row]:
    if isinstance(plans, Plan) and isinstance(rows, int):
        return [plans.rows[rows]] * count
    plan_of = [plans] * count if isinstance(plans, Plan) else list(plans)
    index_of = [rows] * count if isinstance(rows, int) else list(rows)
    if len(plan_of) != count or len(index_of) != count:
        raise PerrinError(f"{count} keys need as many plans and rows; got {len(plan_of)} and {len(index_of)}")
    return [plan.rows[index] for plan, index in zip(plan_of, index_of, strict=True)]


def _levels(row_of: Sequence[Row], x: State) -> Tensor:
    device = next(iter(leaves(x).values())).device
    told = [0.0 if row.level is None else row.level for row in row_of]
    return torch.tensor(told, dtype=torch.float64, device=device)


def _uniform(row: Row, source: Source) -> list[Tensor]:
    """All samples on one row: coefficients are plain numbers."""
    done: list[Tensor] = []
    for place, line in enumerate(row.program):
        if line in row.program[:place]:
            done.append(done[row.program.index(line)])
        elif len(line) == 1 and line[0][1] == 1.0:
            done.append(source(line[0][0]))
        elif not line:
            done.append(torch.zeros_like(source(0)))
        else:
            total = source(line[0][0]) * line[0][1]
            for index, coefficient in line[1:]:
                total = total + source(index) * coefficient
            done.append(total)
    return done


def _mixed(row_of: Sequence[Row], count: int, source: Source, x: Tensor) -> list[Tensor]:
    """Every sample on its own row: coefficients are tensors [B]."""
    results = []
    for place in range(count):
        lines = [dict(row.program[place]) if place < len(row.program) else {} for row in row_of]
        total = torch.zeros_like(x)
        first = True
        for index in sorted({i for line in lines for i in line}, key=lambda i: i if i >= 0 else 1000 - i):
            column = torch.tensor([line.get(index, 0.0) for line in lines], dtype=torch.float64)
            term = source(index) * expand(column, x)
            total, first = (term if first else total + term), False
        results.append(total)
    return results


def _draws(
    row_of: Sequence[Row], shared: bool, leaf: str, keys: Sequence[Key], x: Tensor, variance: Tensor | None
) -> list[Tensor]:
    """The unit normals of each row, draw by draw [B, ...]; samples without that draw get zeros."""
    results = []
    for index in range(max(len(row.draws) for row in row_of)):
        having = [i for i, row in enumerate(row_of) if index < len(row.draws)]
        z = _normals([row_of[i].draws[index] for i in having], leaf, [keys[i] for i in having], x)
        if len(having) < len(row_of):
            full = torch.zeros_like(x)
            full[torch.tensor(having, device=x.device)] = z
            z = full
        spreads = {row.variance for row in row_of}
        results.append(z if spreads == {None} else z * _spread(row_of, shared, x, variance))
    return results


def _normals(draws: Sequence[Draw], leaf: str, keys: Sequence[Key], x: Tensor) -> Tensor:
    seeds = [seed_of(k, leaf, d.stream, d.start, d.stop, d.visit) for k, d in zip(keys, draws, strict=True)]
    return normals(seed_tensor(seeds, x.device), x.shape[1:], x.dtype)


def _spread(row_of: Sequence[Row], shared: bool, x: Tensor, variance: Tensor | None) -> Tensor | float:
    """sqrt(a + b variance): the standard deviation of a draw whose model has learned its variance."""
    pairs = [(1.0, 0.0) if row.variance is None else row.variance for row in row_of]
    if variance is None:
        roots = [math.sqrt(a) for a, _ in pairs]
        return roots[0] if shared else expand(torch.tensor(roots, dtype=torch.float64), x)
    a = expand(torch.tensor([p[0] for p in pairs], dtype=torch.float64), x)
    b = expand(torch.tensor([p[1] for p in pairs], dtype=torch.float64), x)
    return torch.sqrt(a + b * variance)

r"""Running a table, and its derivative by every free parameter, forward in one pass.

    dx_k = dp_k x_start + sum_j (dc_kj D_j + c_kj dD_j),      dD_k = (dD/dx) dx_k + (dD/dlevel) dl_k

A parameter of row k moves nothing before row k, so an evaluation is differentiated only along the parameters of the
rows so far. Tangents go through the denoiser by forward-mode differentiation, some at a time: no graph is stored, and
memory does not grow with the number of steps beyond the tangents themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from perrin.denoise.prediction import Denoiser
from perrin.errors import PerrinError
from perrin.learn.forward_mode import forward_mode
from perrin.learn.history_table import HistoryTable
from perrin.process import levels

Conditions = Mapping[str, Tensor] | None


def predict(denoiser: Denoiser, x: Tensor, level: Tensor, condition: Conditions) -> Tensor:
    """The predicted clean states [B, ...] at one level for all."""
    mean = denoiser(x, level.expand(len(x)), None if condition is None else dict(condition)).mean
    if not isinstance(mean, Tensor):
        raise PerrinError("a plan is fitted on states that are one tensor; this denoiser's have named leaves")
    return mean


@torch.no_grad()
def rollout(table: HistoryTable, denoiser: Denoiser, start: Tensor, condition: Conditions = None) -> Tensor:
    """The result [B, ...] of the table from the start states [B, ...]."""
    x, means = start, list[Tensor]()
    for k in range(table.evaluations):
        means.append(predict(denoiser, x, table.told[k].to(start.device), condition))
        x = _mixed(table, k + 1, start, means)
    return x


@torch.no_grad()
def linearise(
    table: HistoryTable,
    denoiser: Denoiser,
    start: Tensor,
    condition: Conditions = None,
    tangents_at_once: int = 8,
) -> tuple[Tensor, Tensor]:
    """The result of the table and its derivatives.

    Args:
        start: [B, ...]; tangents_at_once: how many go through the denoiser together, for memory and speed.

    Returns:
        [B, ...] and [P, B, ...], P parameters in the order of `HistoryTable.vector`.
    """
    count = table.evaluations
    places, x = [0], start  # the parameters so far, by their place in the vector
    moved = torch.zeros(1, *start.shape, dtype=start.dtype, device=start.device)  # dx_k
    means, slopes = list[Tensor](), list[Tensor]()
    at = 2 * count - 1
    for k in range(count):
        mean, slope = _push(denoiser, x, table.told[k], moved, places.index(k), condition, tangents_at_once)
        means.append(mean)
        slopes.append(slope)
        row, x = table.mix[k].tolist(), _mixed(table, k + 1, start, means)
        own = ([k + 1, count + k] if k + 1 < count else []) + list(range(at, at + k))
        moved = torch.zeros(len(places) + len(own), *start.shape, dtype=start.dtype, device=start.device)
        for coefficient, earlier in zip(row, slopes, strict=True):
            moved[: len(earlier)] += coefficient * earlier
        if k + 1 < count:
            moved[len(places)] = _by_level(table.level(k + 1)) * mean
            moved[len(places) + 1] = start - float(levels.alpha(table.start)) * mean
        for j in range(k):
            moved[len(places) + len(own) - k + j] = means[j] - mean
        places += own
        at += k
    order = torch.tensor(places, device=start.device).argsort()
    return x, moved[order]


def _mixed(table: HistoryTable, k: int, start: Tensor, means: list[Tensor]) -> Tensor:
    total = table.share(k) * start
    for coefficient, mean in zip(table.mix[k - 1].tolist(), means, strict=True):
        total = total + coefficient * mean
    return total


def _by_level(level: float) -> float:
    """d alpha/dl = alpha sigma^2 / 2: what the newest coefficient takes up so that the state keeps its level's signal."""
    return float(levels.alpha(level) * levels.sigma(level) ** 2) / 2


def _push(
    denoiser: Denoiser,
    x: Tensor,
    level: Tensor,
    tangents: Tensor,
    told: int,
    condition: Conditions,
    at_once: int,
) -> tuple[Tensor, Tensor]:
    """D [B, ...] and its tangents [P, B, ...]; tangent `told` moves the level as well."""
    level = level.to(x.device)
    by_level = torch.zeros(len(tangents), dtype=level.dtype, device=x.device)
    by_level[told] = 1.0

    def along(dx: Tensor, dlevel: Tensor) -> tuple[Tensor, Tensor]:
        found = torch.func.jvp(lambda y, at: predict(denoiser, y, at, condition), (x, level), (dx, dlevel))
        return found[0], found[1]

    many: Any = torch.func.vmap
    many = many(along, out_dims=(None, 0))
    mean, parts = x, []
    for dx, dlevel in zip(torch.split(tangents, at_once), torch.split(by_level, at_once), strict=True):
        with forward_mode():
            mean, part = many(dx, dlevel)
        parts.append(part)
    return mean, torch.cat(parts)

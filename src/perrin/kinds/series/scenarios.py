r"""Windows steered towards a scenario: an event that is to hold, quantiles that a number is to have; see `guide.Tilted`.

An event is a union of boxes of its statistics. What the user says in units is measured where the column's transform adds up
(logarithms of a price), since there a statistic is nearly linear in the state: `log y > log 90` for `y > 90`.

A target `q90(WTI[30]) = 95` wants the value above 95 on one path in ten. Of all laws that have it the one nearest to the
model's is the model's own on either side, with other shares of the two; so every path has a quantile level u of its own
(as in Kollovieh et al. 2023), and is drawn with the statistic between the two targets that u lies between. Levels are those
of a golden section sequence, `u_i = (u_0(seed) + i / golden) mod 1`: the shares of n paths are right within about 1 / n.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from perrin.contracts import Outline
from perrin.denoise.prediction import Condition
from perrin.errors import PerrinError
from perrin.guide.disjoint import Box, disjoint
from perrin.guide.tilted import Tilted
from perrin.kinds.series.encoding import Scaling, plain
from perrin.kinds.series.events import Event, Statistic, parse_event
from perrin.kinds.series.quantile_targets import Targets, parse_targets
from perrin.kinds.series.transforms import Chain
from perrin.process.state import single

LEVEL = "quantile"
"""The condition's entry that says the quantile level of each path, float64 [B]."""
GOLDEN = (5**0.5 - 1) / 2


class Scales(Protocol):
    """A codec of series: what is needed of it here."""

    @property
    def names(self) -> list[str]: ...
    @property
    def scaling(self) -> Scaling: ...
    @property
    def sigma_data(self) -> float: ...


@dataclass(frozen=True)
class Measured:
    """A statistic of drawn paths, where the transform of its column adds up; `horizon`: how many steps are drawn."""

    statistic: Statistic
    chain: Chain
    horizon: int

    @property
    def extreme(self) -> bool:
        """Whether it is the largest or smallest of several values."""
        return self.statistic.function in ("max", "min") and self.count > 1

    @property
    def count(self) -> int:
        """How many values it is of: those of an extreme's range, or itself."""
        first, last = self.statistic.rows(self.horizon)
        return last - first if self.statistic.function in ("max", "min") else 1

    def values(self, paths: Tensor) -> Tensor:
        """[B, count], of paths [B, C, H]."""
        if self.statistic.function not in ("max", "min"):
            return self.level(self.statistic.of(paths))[:, None]
        first, last = self.statistic.rows(self.horizon)
        return self.level(paths[:, self.statistic.column, first:last])

    def of(self, values: Tensor) -> Tensor:
        """The statistic [...] of its values [..., count]."""
        return values.amin(-1) if self.statistic.function == "min" else values.amax(-1)

    def level(self, value: Tensor) -> Tensor:
        """The coordinate of values or bounds; -inf of what the transform does not take, which lies below all else."""
        if self.statistic.function == "change":  # of two values, in no coordinate of either
            return value
        first, last = self.statistic.rows(self.horizon)
        part = value / (last - first) if self.statistic.function == "sum" else value
        return torch.where(part.isinf(), part, self.chain.level(part).nan_to_num(nan=-torch.inf))


@dataclass(frozen=True)
class Scenario:
    """What is wanted of the rows `rows` of windows.

    Attributes:
        measured: K statistics. boxes: where they are to lie, lower and upper bounds [M, K], in their own coordinates.
        targets: of the statistic `place`: levels and values [n]; None: none.
    """

    measured: tuple[Measured, ...]
    boxes: tuple[Tensor, Tensor]
    scaling: Scaling
    rows: slice
    targets: tuple[int, Tensor, Tensor] | None = None

    def values(self, condition: Condition) -> Callable[[Tensor], Tensor]:
        """Clean states [B, C, T] -> what the statistics are of, [B, L]."""
        told = condition or {}
        decode = self.scaling.decoder(plain(told, "given"), plain(told, "before"), told["given"].device)

        def values(clean: Tensor) -> Tensor:
            paths = decode(clean)[..., self.rows]
            return torch.cat([one.values(paths) for one in self.measured], 1)

        return values

    def statistics(self, values: Tensor) -> Tensor:
        """The statistics [..., K] of what they are of, [..., L]."""
        parts = values.split([one.count for one in self.measured], -1)
        return torch.stack([one.of(part) for one, part in zip(self.measured, parts, strict=True)], -1)

    def region(self, condition: Condition, count: int) -> tuple[Tensor, Tensor]:
        """Bounds [B, M, K] of every path's boxes."""
        lower, upper = (side.repeat(count, 1, 1) for side in self.boxes)
        if self.targets is None:
            return lower, upper
        place, levels, values = self.targets
        above = torch.searchsorted(levels, (condition or {})[LEVEL].cpu(), right=True)
        edges = torch.cat([values.new_tensor([-torch.inf]), values, values.new_tensor([torch.inf])])
        lower[..., place] = lower[..., place].maximum(edges[above, None])
        upper[..., place] = upper[..., place].minimum(edges[above + 1, None])
        return lower, upper

    def steer(self, deviation: float, weight: float) -> Any:
        """Denoiser -> the denoiser that draws this scenario."""
        curved = any(one.extreme for one in self.measured)

        def steer(denoiser: nn.Module) -> nn.Module:
            return Tilted(
                denoiser, self.values, self.region, weight,
                statistics=self.statistics if curved else None, free=_free, deviation=deviation,
            )  # fmt: skip

        return steer


def steered(
    codec: Scales,
    outline: Outline,
    rows: slice,
    seed: int,
    first: int,
    scenario: str | None,
    weight: float,
    targets: str | None,
) -> Outline:
    """The outline of windows whose rows `rows` are steered.

    Raises:
        PerrinError: texts that cannot be read, steps that are not drawn, what cannot come true, a weight below 0.
    """
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < np.inf:
        raise PerrinError(f"scenario_weight = {weight!r} must be a number of at least 0; 1 is Bayes' rule")
    n = len(outline.about)
    event = None if scenario is None else parse_event(scenario, codec.names)
    wanted = None if targets is None else parse_targets(targets, codec.names)
    made = _scenario(codec.scaling, rows, single(outline.shape)[1], event, wanted)
    said = {"scenario": None if event is None else str(event), "scenario_weight": float(weight)}
    said["targets"] = None if wanted is None else str(wanted)
    condition = dict(outline.condition)
    if wanted is not None:
        condition[LEVEL] = quantile_levels(n, seed, first)
    return replace(
        outline,
        condition=condition,
        about=[{**one, **{k: v for k, v in said.items() if v is not None}} for one in outline.about],
        steer=made.steer(codec.sigma_data, float(weight)),
    )


def quantile_levels(n: int, seed: int, first: int) -> Tensor:
    """The levels in (0, 1) of paths (seed, first) .. (seed, first + n - 1), float64 [n]."""
    begin = np.random.Generator(np.random.PCG64(seed % 2**64)).random()
    return torch.from_numpy((begin + GOLDEN * np.arange(first, first + n)) % 1)


def _scenario(
    scaling: Scaling, rows: slice, length: int, event: Event | None, wanted: Targets | None
) -> Scenario:
    horizon = len(range(length)[rows])
    clauses = () if event is None else event.clauses
    said = [comparison.statistic for clause in clauses for comparison in clause]
    said += [] if wanted is None else [wanted.statistic]
    statistics = list(dict.fromkeys(said))
    measured = tuple(Measured(one, scaling.chains[one.column], horizon) for one in statistics)
    boxes = disjoint(_boxes(event, measured))
    found = Scenario(measured, _sides(boxes, len(measured)), scaling, rows)
    if wanted is not None:
        place = statistics.index(wanted.statistic)
        values = measured[place].level(torch.tensor(wanted.values, dtype=torch.float64))
        levels = torch.tensor(wanted.levels, dtype=torch.float64)
        found = replace(found, targets=(place, levels, values))
    _possible(found, event, wanted)
    return found


def _boxes(event: Event | None, measured: Sequence[Measured]) -> list[Box]:
    """One box for every clause."""
    found = []
    for clause in () if event is None else event.clauses:
        box = [(-np.inf, np.inf)] * len(measured)
        for one in clause:
            place = [m.statistic for m in measured].index(one.statistic)
            bound = float(measured[place].level(torch.tensor(one.number, dtype=torch.float64)))
            low, high = box[place]
            box[place] = (max(low, bound), high) if one.above else (low, min(high, bound))
        found.append(tuple(box))
    return found if event is not None else [((-np.inf, np.inf),) * len(measured)]


def _sides(boxes: Sequence[Box], size: int) -> tuple[Tensor, Tensor]:
    bounds = torch.tensor(list(boxes), dtype=torch.float64).reshape(-1, size, 2)
    return bounds[..., 0], bounds[..., 1]


def _possible(found: Scenario, event: Event | None, wanted: Targets | None) -> None:
    """Refuse what cannot come true of some path."""
    levels = None if wanted is None else torch.tensor([0.0, *wanted.levels], dtype=torch.float64)
    rows = 1 if levels is None else len(levels)
    lower, upper = found.region(None if levels is None else {LEVEL: levels}, rows)
    if not bool((lower < upper).all(2).any(1).all()):
        what = " with ".join(f"{one}" for one in (event, wanted) if one is not None)
        raise PerrinError(f"scenario {what!r} cannot come true: no value lies within its bounds")


def _free(condition: Condition) -> Tensor | None:
    told: Mapping[str, Tensor] = condition or {}
    return told["valid"] & ~told["observed"]

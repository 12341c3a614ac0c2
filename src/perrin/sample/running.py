"""`run`: carry a batch of samples through their plans, alone or mixed with others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.errors import PerrinError
from perrin.process.state import Shape, State, batch_size, leaves, like, map_leaves
from perrin.sample.noise import Key, normals, seed_of, seed_tensor
from perrin.sample.plan import Plan
from perrin.sample.ticking import Slots, advance, start_slots


@dataclass(frozen=True)
class Tick:
    """What is known after a row.

    Attributes:
        count: ticks so far; items: which of the batch took part.
        levels: the level of each of these items' states after the row.
        state: their states (x_base); mean: their predictions (None where nothing was evaluated).
    """

    count: int
    items: tuple[int, ...]
    levels: tuple[float, ...]
    state: State
    mean: State | None


@dataclass
class Trace:
    """A record of a run: give an empty one as `trace=` and read its `ticks` afterwards."""

    ticks: list[Tick] = field(default_factory=list)

    @property
    def levels(self) -> list[float]:
        """The level of the first item after every tick."""
        return [tick.levels[0] for tick in self.ticks]

    @property
    def states(self) -> list[State]:
        """The state after every tick."""
        return [tick.state for tick in self.ticks]

    @property
    def means(self) -> list[State]:
        """The predicted clean states, one per tick that evaluated."""
        return [tick.mean for tick in self.ticks if tick.mean is not None]


class Cancelled(Exception):
    """Raised by `run` when its callback returned False; `tick` is the last one."""

    def __init__(self, tick: Tick) -> None:
        super().__init__(f"cancelled after tick {tick.count}")
        self.tick = tick


@torch.no_grad()
def run(
    plan: Plan | Sequence[Plan],
    denoiser: Denoiser,
    *,
    seeds: Sequence[Key],
    shape: Shape | None = None,
    start: State | None = None,
    condition: Condition = None,
    trace: Trace | None = None,
    callback: Callable[[Tick], object] | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> State:
    """Draw samples: the clean states at the end of the plan, in unit coordinates.

    Args:
        plan: one for all, or one for each seed (samples at different rows then share network calls).
        denoiser: any `(x, level, condition) -> Prediction`.
        seeds: one key a sample, an int or (seed, index); a sample is a function of its key, not of the batch.
        shape: the state's shape without the batch, or name -> shape; not needed with `start`.
        start: states [B, ...] at the plan's first level, in unit coordinates; else N(0, I).
        condition: tensors with the batch as leading axis.
        trace: records states, means and levels after every tick.
        callback: called with a `Tick` after every row; returning False cancels.
        dtype: of the state (float32 or float64), where `start` does not say; device: else the denoiser's.

    Raises:
        PerrinError: sizes that do not fit, or a denoiser that is undefined at a level of the plan.
        Cancelled: the callback returned False.

    Example:
        >>> from perrin.denoise import exact
        >>> from perrin.process import vp
        >>> from perrin.sample import make_plan
        >>> plan = make_plan("dpmpp_2m", vp(), steps=8)
        >>> run(plan, exact.Gaussian(3.0, 0.1), seeds=range(4), shape=(2,)).shape
        torch.Size([4, 2])
    """
    keys = list(seeds)
    plans = [plan] * len(keys) if isinstance(plan, Plan) else list(plan)
    _check(keys, plans, denoiser, start, condition)
    if start is None:
        if shape is None:
            raise PerrinError("run needs the shape of the state, or a start state")
        start = prior(keys, shape, dtype, _device(denoiser, device))
    return _Run(plans, denoiser, keys, condition, trace, callback).go(start)


class _Run:
    """The loop: samples leave the batch as their plans end."""

    def __init__(
        self,
        plans: list[Plan],
        denoiser: Denoiser,
        keys: list[Key],
        condition: Condition,
        trace: Trace | None,
        callback: Callable[[Tick], object] | None,
    ) -> None:
        self.plans, self.denoiser, self.keys = plans, denoiser, keys
        self.condition, self.trace, self.callback = condition, trace, callback
        self.same = all(p is plans[0] for p in plans)
        self.count = 0

    def go(self, start: State) -> State:
        slots = start_slots(self.plans[0], start, max(p.slots for p in self.plans))
        if self.same:
            for row in range(len(self.plans[0].rows)):
                slots = self.tick(list(range(len(self.keys))), [row] * len(self.keys), slots)
            return slots[0]
        return self._mixed(slots)

    def _mixed(self, slots: Slots) -> State:
        active = list(range(len(self.keys)))
        row_of = [0] * len(active)
        results: dict[int, State] = {}
        while active:
            slots = self.tick(active, row_of, slots)
            row_of = [r + 1 for r in row_of]
            stays = [
                i for i, (a, r) in enumerate(zip(active, row_of, strict=True)) if r < len(self.plans[a].rows)
            ]
            for i in set(range(len(active))) - set(stays):
                results[active[i]] = _take(slots[0], [i])
            if len(stays) < len(active):
                active, row_of = [active[i] for i in stays], [row_of[i] for i in stays]
                slots = [_take(slot, stays) for slot in slots]
        ordered = [results[i] for i in range(len(self.keys))]
        return map_leaves(lambda *parts: torch.cat(parts), *ordered)

    def tick(self, active: list[int], row_of: list[int], slots: Slots) -> Slots:
        plans = [self.plans[a] for a in active]
        keys = [self.keys[a] for a in active]
        asked = [i for i, (p, r) in enumerate(zip(plans, row_of, strict=True)) if p.rows[r].level is not None]
        prediction = self._predict(active, asked, plans, row_of, slots[1]) if asked else None
        if self.same:
            slots = advance(plans[0], row_of[0], slots, prediction, keys)
        else:
            slots = advance(plans, row_of, slots, prediction, keys)
        self._report(active, plans, row_of, slots, prediction)
        return slots

    def _predict(
        self, active: list[int], asked: list[int], plans: list[Plan], row_of: list[int], x: State
    ) -> Prediction:
        device = next(iter(leaves(x).values())).device
        levels = torch.tensor(
            [plans[i].rows[row_of[i]].level for i in asked], dtype=torch.float64, device=device
        )
        rows = [active[i] for i in asked]
        condition = self.condition
        if condition is not None and len(rows) < len(self.keys):
            condition = {n: v[torch.tensor(rows, device=v.device)] for n, v in condition.items()}
        if len(asked) == len(active):
            return self.denoiser(x, levels, condition)
        return _scatter(self.denoiser(_take(x, asked), levels, condition), asked, x)

    def _report(
        self,
        active: list[int],
        plans: list[Plan],
        row_of: list[int],
        slots: Slots,
        prediction: Prediction | None,
    ) -> None:
        self.count += 1
        if self.trace is None and self.callback is None:
            return
        levels = tuple(p.base_levels[r + 1] for p, r in zip(plans, row_of, strict=True))
        mean = None if prediction is None else prediction.mean
        tick = Tick(self.count, tuple(active), levels, slots[0], mean)
        if self.trace is not None:
            self.trace.ticks.append(tick)
        if self.callback is not None and self.callback(tick) is False:
            raise Cancelled(tick)


def prior(keys: Sequence[Key], shape: Shape, dtype: torch.dtype, device: torch.device | str) -> State:
    """N(0, I), every process at its noisy end in unit coordinates.

    It depends on the key alone: one seed on different grids, rules and steps leads to like samples.
    """
    parts = {}
    for name, size in leaves(shape).items():
        seeds = [seed_of(key, name, "start") for key in keys]
        parts[name] = normals(seed_tensor(seeds, device), tuple(size), dtype)
    return like(parts, shape)


def _check(
    keys: list[Key], plans: list[Plan], denoiser: Denoiser, start: State | None, condition: Condition
) -> None:
    if not keys:
        raise PerrinError("run needs at least one seed")
    if len(plans) != len(keys):
        raise PerrinError(f"{len(plans)} plans for {len(keys)} seeds; give one plan, or one a seed")
    if start is not None and batch_size(start) != len(keys):
        raise PerrinError(f"start holds {batch_size(start)} states for {len(keys)} seeds")
    for name, value in (condition or {}).items():
        if value.shape[:1] != (len(keys),):
            raise PerrinError(f"condition {name!r} has {tuple(value.shape)[:1]} rows for {len(keys)} seeds")
    check: Any = getattr(denoiser, "check", None)
    if check is not None:
        check(torch.tensor([v for p in set(plans) for v in p.evaluated], dtype=torch.float64))


def _device(denoiser: Any, device: torch.device | str | None) -> torch.device | str:
    if device is not None:
        return device
    if isinstance(denoiser, torch.nn.Module):
        parameter = next(denoiser.parameters(), None)
        if parameter is not None:
            return parameter.device
    return "cpu"


def _take(state: State, items: list[int]) -> State:
    return map_leaves(lambda v: v[torch.tensor(items, dtype=torch.long, device=v.device)], state)


def _scatter(prediction: Prediction, items: list[int], x: State) -> Prediction:
    """Predictions of some items as predictions of all; the others are never used."""

    def place(value: Tensor, like_x: Tensor) -> Tensor:
        full = torch.zeros_like(like_x)
        full[torch.tensor(items, dtype=torch.long, device=like_x.device)] = value
        return full

    def spread(part: State | None) -> State | None:
        return None if part is None else map_leaves(place, part, x)

    return Prediction(
        map_leaves(place, prediction.mean, x), spread(prediction.noise), spread(prediction.variance)
    )

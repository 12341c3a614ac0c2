"""`run`: carry a batch of samples through their plans, alone or mixed with others."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.errors import PerrinError
from perrin.process.categorical import Categorical
from perrin.process.state import Shape, State, batch_size, leaves, like, map_leaves
from perrin.sample.device import device_of
from perrin.sample.jumping import Process, Tokens, tokens_of
from perrin.sample.noise import Key, normals, seed_of, seed_tensor, uniforms
from perrin.sample.plan import Plan
from perrin.sample.ticking import move, start_slots
from perrin.sample.timetable import Stop, back, timetable


@dataclass(frozen=True)
class Tick:
    """What is known after a row.

    Attributes:
        count: ticks so far; items: which of the batch took part.
        levels: the level of each of these items' states after the row.
        state: their states (x_base); mean: their predictions (None where nothing was evaluated), of tokens probabilities.
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
    process: Process = None,
    observed: State | None = None,
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
        start: states [B, ...] at the plan's first level, in unit coordinates; else N(0, I), and the noise end of tokens.
        condition: tensors with the batch as leading axis.
        process: of tokens (int64): `masked(K)` or `uniform(K)`, or leaf -> process.
        observed: bool like `start`: tokens that never change; of a masked process those that `start` knows by default.
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
        start = prior(keys, shape, dtype, device_of(denoiser) if device is None else device, process)
    tokens = tokens_of(process, start, observed)
    return _Run(plans, denoiser, keys, condition, tokens, trace, callback).go(start)


class _Run:
    """The loop: samples leave the batch as their plans end."""

    def __init__(
        self,
        plans: list[Plan],
        denoiser: Denoiser,
        keys: list[Key],
        condition: Condition,
        tokens: dict[str, Tokens],
        trace: Trace | None,
        callback: Callable[[Tick], object] | None,
    ) -> None:
        self.plans, self.denoiser, self.keys = plans, denoiser, keys
        self.condition, self.tokens, self.trace, self.callback = condition, tokens, trace, callback

    def go(self, start: State) -> State:
        count = max(plan.slots for plan in self.plans)
        slots = start_slots(self.plans[0], start, count)
        stops = timetable(self.plans, self.keys, count, start)
        order = back(stops, start)
        watched = self.trace is not None or self.callback is not None
        parts: list[State] = []
        for number, stop in enumerate(stops, 1):
            prediction = None if stop.levels is None else self._predict(stop, stop.levels, slots[1])
            slots = move(stop.ready, slots, prediction, self.tokens)
            if watched:
                self._report(number, stop, slots[0], prediction)
            if stop.ended is not None:
                parts.append(_take(slots[0], stop.ended))
            if stop.stays is not None:
                slots = [_take(slot, stop.stays) for slot in slots]
                self.tokens = {name: part.of(stop.stays) for name, part in self.tokens.items()}
        if not parts:
            return slots[0]
        return map_leaves(lambda *values: torch.cat(values).index_select(0, order), *parts)

    def _predict(self, stop: Stop, levels: Tensor, x: State) -> Prediction:
        condition, rows = self.condition, stop.rows
        if condition is not None and rows is not None:
            condition = {name: v[rows.to(v.device)] for name, v in condition.items()}
        if stop.asked is None:
            return self.denoiser(x, levels, condition)
        return _scatter(self.denoiser(_take(x, stop.asked), levels, condition), stop.asked, x)

    def _report(self, number: int, stop: Stop, state: State, prediction: Prediction | None) -> None:
        after = tuple(self.plans[i].base_levels[number] for i in stop.items)
        mean = None if prediction is None else prediction.mean
        tick = Tick(number, tuple(stop.items), after, state, mean)
        if self.trace is not None:
            self.trace.ticks.append(tick)
        if self.callback is not None and self.callback(tick) is False:
            raise Cancelled(tick)


def prior(
    keys: Sequence[Key],
    shape: Shape,
    dtype: torch.dtype,
    device: torch.device | str,
    process: Process = None,
) -> State:
    """Every process at its noisy end: N(0, I) in unit coordinates, masks or uniform tokens.

    It depends on the key alone: one seed on different grids, rules and steps leads to like samples.
    """
    categorical = {"": process} if isinstance(process, Categorical) else process or {}
    parts = {}
    for name, size in leaves(shape).items():
        seeds = seed_tensor([seed_of(key, name, "start") for key in keys], device)
        if name in categorical:
            u = uniforms(seeds, math.prod(size)).reshape(len(keys), *size)
            parts[name] = categorical[name].prior(u)
        else:
            parts[name] = normals(seeds, tuple(size), dtype)
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


def _take(state: State, items: Tensor) -> State:
    return map_leaves(lambda v: v.index_select(0, items), state)


def _scatter(prediction: Prediction, items: Tensor, x: State) -> Prediction:
    """Predictions of some items as predictions of all; the others are never used."""

    def place(value: Tensor, like_x: Tensor) -> Tensor:
        dtype = like_x.dtype if like_x.is_floating_point() else value.dtype  # of tokens probabilities
        return value.new_zeros(len(like_x), *value.shape[1:], dtype=dtype).index_copy(
            0, items, value.to(dtype)
        )

    def spread(part: State | None) -> State | None:
        return None if part is None else map_leaves(place, part, x)

    return Prediction(
        map_leaves(place, prediction.mean, x), spread(prediction.noise), spread(prediction.variance)
    )

"""`run`: carry a batch of samples through their plans, alone or mixed with others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from perrin.denoise.ahead import AtLevel, ahead
from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.errors import PerrinError
from perrin.heap import kept_memory
from perrin.process.categorical import ABSENT, Categorical
from perrin.process.product import LeafProcess, Process, as_product
from perrin.process.state import Masks, Shape, State, batch_size, leaves, like, map_leaves, spread
from perrin.process.subspace import Centred
from perrin.sample.device import device_of
from perrin.sample.keeping import Kept, check_masks, keep
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
    masks: Masks | None = None,
    known: State | None = None,
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
        start: states [B, ...] at the plan's first level, in unit coordinates; else the noise end of every process.
        condition: tensors with the batch as leading axis.
        process: of a state that is not Gaussian everywhere: `masked(K)`, or leaf -> process, or a `Product`.
        masks: `valid`, entries that items have; `observed`, those that never change; of a masked process tokens that
            `start` knows are observed by default.
        known: like the state, the values of observed entries, where no `start` has them.
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
        where = device_of(denoiser) if device is None else device
        start = prior(keys, shape, dtype, where, process, masks, known)
    kept = keep(process, start, masks)
    with kept_memory():
        return _Run(plans, denoiser, keys, condition, kept, trace, callback).go(start)


class _Run:
    """The loop: samples leave the batch as their plans end."""

    def __init__(
        self,
        plans: list[Plan],
        denoiser: Denoiser,
        keys: list[Key],
        condition: Condition,
        kept: dict[str, Kept],
        trace: Trace | None,
        callback: Callable[[Tick], object] | None,
    ) -> None:
        self.plans, self.denoiser, self.keys = plans, denoiser, keys
        self.condition, self.kept, self.trace, self.callback = condition, kept, trace, callback

    def go(self, start: State) -> State:
        count = max(plan.slots for plan in self.plans)
        slots = start_slots(self.plans[0], start, count)
        moved = {name for name, part in self.kept.items() if _is_moved(part)}
        stops = timetable(self.plans, self.keys, count, start, moved)
        order = back(stops, start)
        watched = self.trace is not None or self.callback is not None
        prepared = self._ahead(stops, slots[1])
        parts: list[State] = []
        for number, stop in enumerate(stops, 1):
            prediction = None
            if stop.levels is not None:
                known = next(prepared, None)
                prediction = self._predict(stop, stop.levels, slots[1]) if known is None else known(slots[1])
            slots = move(stop.ready, slots, prediction, self.kept)
            if watched:
                self._report(number, stop, slots[0], prediction)
            if stop.ended is not None:
                parts.append(_take(slots[0], stop.ended))
            if stop.stays is not None:
                slots = [_take(slot, stop.stays) for slot in slots]
                self.kept = {name: part.of(stop.stays) for name, part in self.kept.items()}
        if not parts:
            return slots[0]
        return map_leaves(lambda *values: torch.cat(values).index_select(0, order), *parts)

    def _ahead(self, stops: Sequence[Stop], x: State) -> Iterator[AtLevel]:
        """The predictions of a run in which all samples take every step together; of any other none."""
        if any(stop.asked is not None or stop.rows is not None or stop.stays is not None for stop in stops):
            return iter(())
        told = [stop.levels for stop in stops if stop.levels is not None]
        return iter(ahead(self.denoiser, torch.stack(told), x, self.condition) if told else ())

    def _predict(self, stop: Stop, levels: Tensor, x: State) -> Prediction:
        condition, rows = self.condition, stop.rows
        if condition is not None and rows is not None:
            condition = {name: v[rows.to(v.device)] for name, v in condition.items()}
        if stop.asked is None:
            return self.denoiser(x, levels, condition)
        return _scatter(self.denoiser(_take(x, stop.asked), levels, condition), stop.asked, x)

    def _report(self, number: int, stop: Stop, state: State, prediction: Prediction | None) -> None:
        mean = None if prediction is None else prediction.mean
        tick = Tick(number, stop.items, stop.after, state, mean)
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
    masks: Masks | None = None,
    known: State | None = None,
) -> State:
    """Every process at its noisy end, but for what is known: N(0, I) in unit coordinates, masks, uniform tokens.

    It depends on the key alone: one seed on different grids, rules and steps leads to like samples. Entries that an item
    does not have are 0, and tokens `ABSENT`.
    """
    parts, own, facts = as_product(process), {}, masks or Masks()
    given = {} if known is None else leaves(known)
    for name, size in leaves(shape).items():
        seeds = seed_tensor([seed_of(key, name, "start") for key in keys], device)
        mask = facts.of(name).map(lambda v: v.to(device))
        check_masks(name, (len(keys), *size), mask)
        x = _noise_end(parts.of(name), seeds, tuple(size), dtype, mask)
        if mask.observed is not None and name in given:
            x = torch.where(spread(_tensor(mask.observed), x), given[name].to(x), x)
        own[name] = x
    return like(own, shape)


def _noise_end(
    process: LeafProcess | None, seeds: Tensor, size: tuple[int, ...], dtype: torch.dtype, masks: Masks
) -> Tensor:
    if process is None or isinstance(process, Centred):
        return Kept(process, masks).noise(normals(seeds, size, dtype))
    places = process.places(size)
    x = process.prior(uniforms(seeds, math.prod(places)).reshape(len(seeds), *places))
    x = x.to(dtype) if x.is_floating_point() else x
    if masks.valid is None:
        return x
    nothing = ABSENT if isinstance(process, Categorical) else 0
    return x.masked_fill(~spread(_tensor(masks.valid), x), nothing)


def _is_moved(kept: Kept) -> bool:
    return kept.process is not None and not isinstance(kept.process, Centred)


def _tensor(mask: State | None) -> Tensor:
    assert isinstance(mask, Tensor)  # of one leaf
    return mask


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
    parts = leaves(x)

    def place(name: str, value: Tensor) -> Tensor:
        of = parts[name]
        dtype = of.dtype if of.is_floating_point() else value.dtype  # of tokens probabilities
        empty = value.new_zeros(len(of), *value.shape[1:], dtype=dtype)
        return empty.index_copy(0, items, value.to(dtype))

    def spread_out(part: State | None) -> State | None:
        if part is None:
            return None
        return like({name: place(name, value) for name, value in leaves(part).items()}, part)

    mean = spread_out(prediction.mean)
    assert mean is not None
    return Prediction(mean, spread_out(prediction.noise), spread_out(prediction.variance))

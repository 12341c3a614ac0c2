"""A run's timetable: who takes part in every tick and what the tick needs, all made before the first.

Every sample starts on row 0 of its plan and moves by one row a tick, so the table of the whole run is known when
it starts. Nothing in the loop then asks the host, or copies from it.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from perrin.process.state import State, leaves
from perrin.sample.noise import Key
from perrin.sample.plan import Plan, Row
from perrin.sample.preparing import Ready, level_tensor, prepare


@dataclass(slots=True)  # one is made in every tick of every run: a frozen one takes thrice as long
class Stop:
    """One tick of a run.

    Attributes:
        items: which of the batch take part; ready: their update; after: the levels of their states then.
        levels: float64 [A], told to the denoiser; None where no row asks.
        asked: which of the items [A] are evaluated, and rows: which of the batch these are; None: all of them.
        stays: which of the items go on; None: all of them, or none after this tick.
        ended: which of the items are done, and done: which of the batch these are; None: nobody is.
    """

    items: tuple[int, ...]
    ready: Ready
    after: tuple[float, ...]
    levels: Tensor | None
    asked: Tensor | None = None
    rows: Tensor | None = None
    stays: Tensor | None = None
    ended: Tensor | None = None
    done: tuple[int, ...] = ()


def timetable(
    plans: Sequence[Plan], keys: Sequence[Key], slots: int, x: State, moved: Container[str] = ()
) -> list[Stop]:
    """The stops of samples with `keys` [B] on `plans` [B], which carry `slots` states like `x` [B, ...].

    `moved`: the leaves that kernels move.
    """
    if all(plan is plans[0] for plan in plans):
        return _together(plans[0], keys, slots, x, moved)
    return [_apart(plans, keys, slots, x, tick, moved) for tick in range(max(len(p.rows) for p in plans))]


def back(stops: Sequence[Stop], x: State) -> Tensor:
    """Where each of the batch lies among those that are done, one after another: int64 [B]."""
    done = torch.tensor([i for stop in stops for i in stop.done], dtype=torch.long, device="cpu")
    return done.argsort().to(_device(x))


def _together(plan: Plan, keys: Sequence[Key], slots: int, x: State, moved: Container[str]) -> list[Stop]:
    told = level_tensor(plan.rows, _device(x))[:, None].expand(-1, len(keys)).contiguous()
    everyone, count = tuple(range(len(keys))), len(keys)
    after = plan.base_levels[1:]
    return [
        Stop(
            everyone,
            prepare(row, keys, slots, x, moved),
            (level,) * count,
            None if row.level is None else levels,
        )
        for row, level, levels in zip(plan.rows, after, told.unbind(), strict=True)
    ]


def _apart(
    plans: Sequence[Plan], keys: Sequence[Key], slots: int, x: State, tick: int, moved: Container[str]
) -> Stop:
    device = _device(x)

    def index(chosen: Sequence[int]) -> Tensor:
        return torch.tensor(chosen, dtype=torch.long, device=device)

    items = [i for i, plan in enumerate(plans) if tick < len(plan.rows)]
    row_of: list[Row] = [plans[i].rows[tick] for i in items]
    asked = [a for a, row in enumerate(row_of) if row.level is not None]
    stays = [a for a, i in enumerate(items) if tick + 1 < len(plans[i].rows)]
    ended = [a for a, i in enumerate(items) if tick + 1 == len(plans[i].rows)]
    return Stop(
        tuple(items),
        prepare(row_of, [keys[i] for i in items], slots, x, moved),
        tuple(plans[i].base_levels[tick + 1] for i in items),
        levels=level_tensor([row_of[a] for a in asked], device) if asked else None,
        asked=index(asked) if len(asked) < len(items) else None,
        rows=index([items[a] for a in asked]) if len(asked) < len(keys) else None,
        stays=index(stays) if ended and stays else None,
        ended=index(ended) if ended else None,
        done=tuple(items[a] for a in ended),
    )


def _device(x: State) -> torch.device:
    device: torch.device = next(iter(leaves(x).values())).device
    return device

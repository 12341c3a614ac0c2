"""What a tick needs to move tokens, and the move: the sibling of a table's sums, driven by the same loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process.categorical import ABSENT, Categorical
from perrin.process.state import State, leaves
from perrin.registry import kernels
from perrin.sample.kernel import Jump, Options
from perrin.sample.noise import Key, bits, seed_of, seed_tensor

if TYPE_CHECKING:
    from perrin.sample.plan import Row

Process: TypeAlias = Categorical | Mapping[str, Categorical] | None
"""Of the leaves of tokens: one for a state that is a tensor, or by name; None where no leaf holds tokens."""


@dataclass(frozen=True)
class Leap:
    """How a row moves tokens: a kernel with its options, from one level to another, in a plan that began at `first`."""

    kernel: str
    options: Options
    noisy: float
    cleaner: float
    first: float


@dataclass(frozen=True)
class Tokens:
    """What stays the same of a leaf of tokens in a run: its process, and which tokens [B, ...] never change."""

    process: Categorical
    held: Tensor

    def of(self, items: Tensor) -> Tokens:
        """Of some items."""
        return Tokens(self.process, self.held.index_select(0, items))


@dataclass(frozen=True)
class Leaps:
    """The leaps of a leaf in one tick: of every item [B] its levels (noisy, cleaner, first) and seeds."""

    leap_of: Sequence[Leap]
    levels: Tensor
    fresh: Tensor
    lasting: Tensor

    @cached_property
    def groups(self) -> list[tuple[Leap, Tensor | None]]:
        """Kernels with their options, each with the items that it moves; None: all."""
        if all(leap is self.leap_of[0] for leap in self.leap_of):
            return [(self.leap_of[0], None)]
        found: dict[str, tuple[Leap, list[int]]] = {}
        for i, leap in enumerate(self.leap_of):
            found.setdefault(f"{leap.kernel} {leap.options}", (leap, []))[1].append(i)
        if len(found) == 1:
            return [(self.leap_of[0], None)]
        return [(leap, torch.tensor(rows, device=self.fresh.device)) for leap, rows in found.values()]


def leaps(row_of: Sequence[Row], keys: Sequence[Key], leaf: str, x: Tensor) -> Leaps:
    """The leaps of a leaf of tokens x [B, ...], whose samples with `keys` are on `row_of`.

    Raises:
        PerrinError: a row of a plan that moves no tokens.
    """
    found = []
    for row in row_of:
        if row.leap is None:
            raise PerrinError(
                f"this plan moves continuous states, and the state holds tokens; solvers of tokens: {', '.join(kernels)}"
            )
        found.append(row.leap)
    levels = torch.tensor(
        [[leap.noisy, leap.cleaner, leap.first] for leap in found], dtype=torch.float64, device=x.device
    )
    lasting = seed_tensor([_lasting(key, leaf) for key in keys], x.device)
    # a key's hash and a step's hash, mixed: far cheaper than one hash for every key and step
    ends = [(leap.noisy, leap.cleaner) for leap in found]
    named = {pair: seed_of(0, leaf, "jump", *pair) for pair in set(ends)}
    step = seed_tensor([named[pair] for pair in ends], x.device)
    return Leaps(found, levels, bits(lasting ^ step, 1)[:, 0], lasting)


@lru_cache(maxsize=2**16)
def _lasting(key: Key, leaf: str) -> int:
    return seed_of(key, leaf, "tokens")


def leapt(ready: Leaps, tokens: Tokens, x: Tensor, mean: Tensor) -> Tensor:
    """The tokens [B, ...] after the tick, by the predicted probabilities [B, ..., K]."""
    found = x
    for leap, rows in ready.groups:
        kernel = kernels[leap.kernel]
        if tokens.process.name not in kernel.processes:
            raise PerrinError(
                f"solver {kernel.name!r} is for {' and '.join(kernel.processes)} tokens; this model's process is "
                f"{tokens.process.name!r}"
            )

        def some(value: Tensor, rows: Tensor | None = rows) -> Tensor:
            return value if rows is None else value.index_select(0, rows)

        noisy, cleaner, first = some(ready.levels).unbind(1)
        step = Jump(
            tokens.process,
            some(x),
            some(mean),
            noisy,
            cleaner,
            first,
            some(tokens.held),
            some(ready.fresh),
            some(ready.lasting),
        )
        moved = kernel.function(step, **leap.options)
        found = moved if rows is None else found.index_copy(0, rows, moved)
    return found


def tokens_of(process: Process, x: State, observed: State | None = None) -> dict[str, Tokens]:
    """Leaf -> what stays the same of its tokens; empty for a continuous state.

    Args:
        observed: bool like x, tokens that never change; those known at the start of a masked process by default.

    Raises:
        PerrinError: tokens without a process, a process without tokens, or tokens that it does not have.
    """
    process_of = (
        {} if process is None else {"": process} if isinstance(process, Categorical) else dict(process)
    )
    parts, seen = leaves(x), {} if observed is None else leaves(observed)
    found = {}
    for name, value in parts.items():
        if value.is_floating_point() and name not in process_of:
            if name in seen:
                raise PerrinError(f"observed is for tokens; leaf {name!r} is continuous")
            continue
        if value.is_floating_point() or name not in process_of:
            what = "continuous" if value.is_floating_point() else "tokens"
            raise PerrinError(
                f"leaf {name!r} is {what}; give the process of every leaf of tokens and of no other: process=masked(K)"
            )
        found[name] = Tokens(process_of[name], _held(process_of[name], value, seen.get(name)))
    return found


def _held(process: Categorical, x: Tensor, observed: Tensor | None) -> Tensor:
    if bool(((x < ABSENT) | (x >= process.states)).any()):
        raise PerrinError(
            f"a state of tokens holds {int(x.min())} to {int(x.max())}; this process has 0 to {process.states - 1}, "
            f"and {ABSENT} where an item has no position"
        )
    absent = x == ABSENT
    if observed is None:
        return (x != process.classes) if process.masks else absent
    if observed.shape != x.shape:
        raise PerrinError(f"observed has shape {tuple(observed.shape)}, the state {tuple(x.shape)}")
    if process.masks and bool((observed.to(x.device) & (x == process.classes)).any()):
        raise PerrinError("an observed token is masked in the start state; a prompt says its tokens there")
    return absent | observed.to(x.device)

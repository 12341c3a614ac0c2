"""What a tick needs to move a leaf by kernels, and the move: the sibling of a table's sums, driven by the same loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process.categorical import Categorical
from perrin.registry import kernels
from perrin.sample.keeping import Kept
from perrin.sample.kernel import Jump, Options, Step
from perrin.sample.noise import Key, bits, seed_of, seed_tensor

if TYPE_CHECKING:
    from perrin.sample.plan import Row


@dataclass(frozen=True)
class Leap:
    """How a row moves a leaf: a kernel with its options, from one level to another, in a plan that began at `first`.

    A leap between equal levels stays where it is.
    """

    kernel: str
    options: Options
    noisy: float
    cleaner: float
    first: float

    @property
    def stays(self) -> bool:
        """Whether it moves nothing."""
        return self.noisy == self.cleaner


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
            return [] if self.leap_of[0].stays else [(self.leap_of[0], None)]
        found: dict[str, tuple[Leap, list[int]]] = {}
        for i, leap in enumerate(self.leap_of):
            if not leap.stays:
                found.setdefault(f"{leap.kernel} {leap.options}", (leap, []))[1].append(i)
        if len(found) == 1 and all(not leap.stays for leap in self.leap_of):
            return [(self.leap_of[0], None)]
        return [(leap, torch.tensor(rows, device=self.fresh.device)) for leap, rows in found.values()]


def leaps(row_of: Sequence[Row], keys: Sequence[Key], leaf: str, x: Tensor) -> Leaps:
    """The leaps of a leaf x [B, ...] that kernels move, whose samples with `keys` are on `row_of`.

    Raises:
        PerrinError: a row of a plan that does not move such a leaf.
    """
    found = []
    for row in row_of:
        leap = row.leap_of(leaf)
        if leap is None:
            what = f"leaf {leaf!r} holds" if leaf else "the state holds"
            raise PerrinError(
                f"this plan moves continuous states, and {what} tokens or points of a manifold; solvers of those: "
                f"{', '.join(kernels)}"
            )
        found.append(leap)
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


def leapt(ready: Leaps, kept: Kept, x: Tensor, mean: Tensor | None) -> Tensor:
    """The leaf x [B, ...] after the tick, by what is predicted of it; None where no row asks."""
    found, process = x, kept.process
    for leap, rows in ready.groups:
        kernel = kernels[leap.kernel]
        assert mean is not None
        assert kept.held is not None
        assert process is not None
        if process.name not in kernel.processes:
            raise PerrinError(
                f"solver {kernel.name!r} is for {' and '.join(kernel.processes)} states; this model's process is "
                f"{process.name!r}"
            )

        def some(value: Tensor, rows: Tensor | None = rows) -> Tensor:
            return value if rows is None else value.index_select(0, rows)

        noisy, cleaner, first = some(ready.levels).unbind(1)
        kind = Jump if isinstance(process, Categorical) else Step
        step = kind(
            process,
            some(x),
            some(mean),
            noisy,
            cleaner,
            first,
            some(kept.held),
            some(ready.fresh),
            some(ready.lasting),
        )
        moved = kernel.function(step, **leap.options)
        found = moved if rows is None else found.index_copy(0, rows, moved)
    return found

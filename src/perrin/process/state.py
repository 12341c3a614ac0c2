"""A state is a tensor, or a product of named leaves: a dictionary of tensors.

Leaves are visited in the order of their names, so that nothing depends on how a dictionary was built.
The name of the only leaf of a tensor state is the empty string.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor

from perrin.errors import PerrinError

State: TypeAlias = Tensor | dict[str, Tensor]
Shape: TypeAlias = tuple[int, ...] | Mapping[str, tuple[int, ...]]


def leaves(state: Any) -> dict[str, Any]:
    """Name -> leaf, sorted by name; a plain value (tensor, shape) is the leaf named ''."""
    if isinstance(state, Tensor):  # the check of an abstract class costs as much as a small product
        return {"": state}
    return dict(sorted(state.items())) if isinstance(state, Mapping) else {"": state}


def like(values: dict[str, Tensor], template: Any) -> State:
    """`values` (name -> leaf) in the form of `template`: a tensor where that is no mapping."""
    return values[""] if isinstance(template, Tensor) or not isinstance(template, Mapping) else values


def map_leaves(function: Callable[..., Tensor], *states: Any) -> State:
    """`function` applied leaf by leaf to states of the same form."""
    parts = [leaves(s) for s in states]
    return like({name: function(*(p[name] for p in parts)) for name in parts[0]}, states[0])


T = TypeVar("T")


def single(value: T | Mapping[str, Any], what: str = "this") -> T:
    """The value of a state with one leaf, its tensor or its shape.

    Raises:
        PerrinError: a state with several leaves.
    """
    if isinstance(value, Mapping):
        raise PerrinError(f"{what} is for states of one leaf; these have leaves {', '.join(sorted(value))}")
    return value


def batch_size(state: State) -> int:
    """The number of items: the leading axis of every leaf."""
    return int(next(iter(leaves(state).values())).shape[0])


def entries(shape: Any) -> int:
    """How many numbers a state of that shape holds (without the batch)."""
    return sum(math.prod(size) for size in leaves(shape).values())


@dataclass(frozen=True)
class Masks:
    """Three facts about the entries of a batch, which are never one; each a state of bools, or None.

    A mask of a leaf [B, N, ...] may lack its last axes: one value then stands for all entries there. A leaf that a
    mask does not name has nothing to be told about.

    Attributes:
        valid: which entries an item has; the others fill up the batch. None: all.
        observed: which are given, and are never noised. None: none.
        loss: which are learned; None: those that are valid and not observed.
    """

    valid: State | None = None
    observed: State | None = None
    loss: State | None = None

    def of(self, leaf: str) -> Masks:
        """Those of one leaf."""
        return Masks(*(None if m is None else leaves(m).get(leaf) for m in self._all()))

    def map(self, function: Callable[[Tensor], Tensor]) -> Masks:
        """`function` applied to every mask of every leaf."""
        return Masks(*(None if m is None else map_leaves(function, m) for m in self._all()))

    @property
    def learned(self) -> Tensor | None:
        """Of one leaf: which entries are learned, None for all."""
        if self.loss is not None:
            return _tensor(self.loss)
        valid, observed = self.valid, self.observed
        if observed is None:
            return None if valid is None else _tensor(valid)
        return ~_tensor(observed) if valid is None else _tensor(valid) & ~_tensor(observed)

    def _all(self) -> tuple[State | None, State | None, State | None]:
        return self.valid, self.observed, self.loss

    @staticmethod
    def joined(parts: list[Masks]) -> Masks:
        """Masks of batches, one after another; all have the same leaves."""

        def one(values: tuple[State | None, ...]) -> State | None:
            known = [v for v in values if v is not None]
            return map_leaves(lambda *v: torch.cat(v), *known) if known else None

        return Masks(*(one(v) for v in zip(*(p._all() for p in parts), strict=True)))


def spread(mask: Tensor, like: Tensor) -> Tensor:
    """A mask of the first axes of `like`, with the axes that it lacks."""
    return mask.reshape(*mask.shape, *[1] * (like.dim() - mask.dim()))


def _tensor(state: State) -> Tensor:
    assert isinstance(state, Tensor)  # of one leaf
    return state

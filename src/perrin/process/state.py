"""A state is a tensor, or a product of named leaves: a dictionary of tensors.

Leaves are visited in the order of their names, so that nothing depends on how a dictionary was built.
The name of the only leaf of a tensor state is the empty string.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from torch import Tensor

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


def batch_size(state: State) -> int:
    """The number of items: the leading axis of every leaf."""
    return int(next(iter(leaves(state).values())).shape[0])

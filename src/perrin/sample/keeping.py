"""What stays the same of every leaf during a run: its process, the entries that it has, those that are given."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process.categorical import ABSENT, Categorical
from perrin.process.product import LeafProcess, Process, as_product
from perrin.process.state import Masks, State, leaves, spread
from perrin.process.subspace import Centred

NOTHING = Masks()


@dataclass(frozen=True)
class Kept:
    """What stays the same of a leaf.

    Attributes:
        process: None for plain Gaussian noise.
        masks: of the leaf.
        held: bool [B, ...] like the leaf, or with its first axes: entries that never change; None: none.
        start: the leaf as the run began, where entries of a continuous leaf are held.
    """

    process: LeafProcess | None
    masks: Masks = NOTHING
    held: Tensor | None = None
    start: Tensor | None = None

    def of(self, items: Tensor) -> Kept:
        """Of some items."""

        def some(value: Tensor) -> Tensor:
            return value.index_select(0, items)

        held = None if self.held is None else some(self.held)
        start = None if self.start is None else some(self.start)
        return Kept(self.process, self.masks.map(some), held, start)

    def noise(self, z: Tensor) -> Tensor:
        """Normals z like the leaf as noise of this leaf: in its subspace, none where the leaf has no entry."""
        if isinstance(self.process, Centred):
            return self.process.project(z, self.masks)
        valid = self.masks.valid
        return z if valid is None else z * spread(_tensor(valid), z).to(z.dtype)

    def restore(self, x: Tensor) -> Tensor:
        """x with the entries that are held as they were at the start."""
        if self.start is None or self.held is None:
            return x
        return torch.where(spread(self.held, x), self.start.to(x.dtype), x)


def keep(process: Process, x: State, masks: Masks | None = None) -> dict[str, Kept]:
    """Leaf -> what stays the same in a run that starts at x.

    Args:
        masks: `valid` and `observed`; tokens that a masked process knows at the start are observed by default.

    Raises:
        PerrinError: tokens without a process, a process that does not fit its leaf, or tokens that it does not have.
    """
    parts, found = as_product(process), {}
    masks = masks or NOTHING
    for name in parts.parts:
        if name not in leaves(x):
            raise PerrinError(
                f"the process names leaf {name!r}, which the state lacks; it has {', '.join(leaves(x))}"
            )
    for name, value in leaves(x).items():
        found[name] = _kept(name, parts.of(name), value, masks.of(name))
    return found


def _kept(name: str, process: LeafProcess | None, x: Tensor, masks: Masks) -> Kept:
    if x.is_floating_point() == isinstance(process, Categorical):
        what = "continuous" if x.is_floating_point() else "tokens"
        raise PerrinError(
            f"leaf {name!r} is {what}; give the process of every leaf of tokens and of no continuous one: process=masked(K)"
        )
    check_masks(name, tuple(x.shape), masks)
    masks = masks.map(lambda v: v.to(x.device))
    if isinstance(process, Categorical):
        return Kept(process, masks, _held(process, x, masks))
    if process is None or isinstance(process, Centred):
        given = masks.observed is not None
        return Kept(process, masks, _tensor(masks.observed) if given else None, x if given else None)
    held = torch.zeros(len(x), *process.places(tuple(x.shape[1:])), dtype=torch.bool, device=x.device)
    if masks.valid is not None:
        held = held | spread(~_tensor(masks.valid), held)
    if masks.observed is not None:
        held = held | spread(_tensor(masks.observed), held)
    return Kept(process, masks, held)


def check_masks(leaf: str, shape: tuple[int, ...], masks: Masks) -> None:
    """Refuse masks of a leaf that are not of its first axes, the batch among them."""
    for mask in (masks.valid, masks.observed):
        if mask is not None and tuple(_tensor(mask).shape) != shape[: _tensor(mask).dim()]:
            raise PerrinError(
                f"a mask has shape {tuple(_tensor(mask).shape)}, leaf {leaf!r} of the state {shape}"
            )


def _held(process: Categorical, x: Tensor, masks: Masks) -> Tensor:
    if bool(((x < ABSENT) | (x >= process.states)).any()):
        raise PerrinError(
            f"a state of tokens holds {int(x.min())} to {int(x.max())}; this process has 0 to {process.states - 1}, "
            f"and {ABSENT} where an item has no position"
        )
    absent = x == ABSENT
    if masks.observed is None:
        return (x != process.classes) if process.masks else absent
    observed = spread(_tensor(masks.observed), x)
    if process.masks and bool((observed & (x == process.classes)).any()):
        raise PerrinError("an observed token is masked in the start state; a prompt says its tokens there")
    return absent | observed.expand(x.shape)


def _tensor(mask: State | None) -> Tensor:
    assert isinstance(mask, Tensor)  # of one leaf
    return mask

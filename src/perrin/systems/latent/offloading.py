"""Weights that stay in the computer's memory and visit the device where they are used, for models that do not fit there.

    parts     a component at a time: a text encoder, the network with its ControlNets, a half of the autoencoder
    layers    a block of a component at a time

Hooks carry a block's weights, and what it is told, to the device, and what it says back to where it was told, so that
nothing else of a model knows of it. Weights are not written to, so that going home is to point to their own memory again:
nothing is copied back, and models that share weights go on sharing them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as tree

SHARE = 1 / 16
"""Of a component: blocks that are larger come in their own blocks."""
LISTS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)
"""What is not called itself, or not always: its entries are."""


@dataclass
class Visits:
    """What is on the device.

    Attributes:
        way: "parts" or "layers". device: where weights are when they are used.
        resident: the one block that stays until another one comes: a network, which is called many times in turn.
        away: the weights that are on the device, by their `id`.

    Copies of a model share it, since they share the device.
    """

    way: str
    device: torch.device
    resident: Visitor | None = None
    away: set[int] = field(default_factory=set)

    def __deepcopy__(self, memo: dict[int, Any]) -> Visits:
        return self

    def end(self) -> None:
        """Send home what stayed."""
        if self.resident is not None:
            self.resident.leave()
        self.resident = None


@dataclass
class Visitor:
    """A block whose weights visit the device while it runs.

    Attributes:
        block: the module. whole: whether its blocks come with it, or its own tensors alone. stays: see `Visits.resident`.
        home: of each weight that is away, where it belongs.
    """

    visits: Visits
    block: nn.Module
    whole: bool
    stays: bool = False
    home: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    told_at: list[torch.device | None] = field(default_factory=list)

    def watch(self) -> None:
        """Come before the block runs and leave afterwards, whether it ended well or not."""
        self.block.register_forward_pre_hook(self.arrive, with_kwargs=True, prepend=True)
        self.block.register_forward_hook(self.depart, with_kwargs=True, always_call=True)

    def tensors(self) -> Iterator[Tensor]:
        """The weights and buffers, each once."""
        yield from self.block.parameters(self.whole)
        yield from self.block.buffers(self.whole)

    def arrive(self, block: nn.Module, told: Any, named: Any) -> tuple[Any, Any]:
        """What it is told, on the device."""
        self.told_at.append(_place((told, named)))
        if self.visits.resident is not self:
            self.visits.end()
        if not self.home:
            self.come()
        if self.stays:
            self.visits.resident = self
        return carried(told, self.visits.device), carried(named, self.visits.device)

    def come(self) -> None:
        """Bring its weights."""
        try:
            with torch._C._DisableFuncTorch():  # a weight is no part of what is being differentiated
                for weight in self.tensors():
                    if id(weight) in self.visits.away:
                        continue  # of a block around this one
                    own = weight.data
                    self.home.append((weight, own))
                    self.visits.away.add(id(weight))
                    weight.data = own.to(self.visits.device, non_blocking=True, copy=True)
        except BaseException:  # of memory, or a person's: half of a block is not there
            self.leave()
            raise

    def depart(self, block: nn.Module, told: Any, named: Any, said: Any) -> Any:
        """What it says, where it was told."""
        if not self.stays:
            self.leave()
        place = self.told_at.pop()
        return said if place is None else carried(said, place)

    def leave(self) -> None:
        """Send its weights home."""
        for weight, own in self.home:
            weight.data = own
            self.visits.away.discard(id(weight))
        self.home.clear()


def offloaded(components: list[nn.Module], network: nn.Module, visits: Visits) -> None:
    """Put components, which are on the CPU, and the network under `visits`; those that are already are pinned."""
    for component in components:
        # an autoencoder is called by `encode` and `decode`, which call its parts
        roots = list(component.children()) if hasattr(component, "decode") else [component]
        for root in roots:
            _watched(root, visits, stays=False)
    _watched(network, visits, stays=True)


def visits_of(component: nn.Module) -> Visits | None:
    """What a component is under."""
    return next((found.visits for block in component.modules() if (found := _visitor(block))), None)


def _watched(root: nn.Module, visits: Visits, stays: bool) -> None:
    if visits.way == "parts":
        found = [Visitor(visits, root, True, stays)]
    else:
        limit = SHARE * sum(weight.nbytes for weight in root.parameters())
        found = [Visitor(visits, block, whole) for block, whole in _blocks(root, limit)]
        if found[0].block is not root:  # so that all that lies between its blocks is computed on the device
            found.insert(0, Visitor(visits, root, False))
        whole = [visitor.block for visitor in found if visitor.whole]
        found += [Visitor(visits, own, False) for block in whole for own in _within(block)]
    for visitor in found:
        _pinned(visitor)
        if _visitor(visitor.block) is None:
            visitor.watch()


def _blocks(root: nn.Module, limit: float) -> Iterator[tuple[nn.Module, bool]]:
    """(block, whether all of it) that hold the weights of a component: of at most `limit` bytes, or without lists."""
    size = sum(weight.nbytes for weight in root.parameters())
    listed = any(isinstance(module, LISTS) for module in root.modules())
    if not isinstance(root, LISTS):
        if size <= limit or not listed:
            yield root, True
            return
        if any(True for _ in root.parameters(False)) or any(True for _ in root.buffers(False)):
            yield root, False
    for child in root.children():
        yield from _blocks(child, limit)


def _within(block: nn.Module) -> list[nn.Module]:
    """What holds weights within a block: a network may call it by itself, as DiT calls an embedding of its first block."""
    return [
        module
        for module in block.modules()
        if module is not block and any(True for _ in (*module.parameters(False), *module.buffers(False)))
    ]


def _visitor(block: nn.Module) -> Visitor | None:
    for hook in block._forward_pre_hooks.values():
        owner = getattr(hook, "__self__", None)
        if isinstance(owner, Visitor):
            return owner
    return None


def _pinned(visitor: Visitor) -> None:
    """Into memory that a GPU reads by itself."""
    if visitor.visits.device.type == "cuda":
        for weight in visitor.tensors():
            if not weight.is_pinned():
                weight.data = weight.data.pin_memory()


def _place(told: Any) -> torch.device | None:
    return next((leaf.device for leaf in tree.tree_leaves(told) if isinstance(leaf, Tensor)), None)


def carried(told: Any, device: torch.device) -> Any:
    """Tensors, and what is made of them, on a device."""
    return tree.tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, told)

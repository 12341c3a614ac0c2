"""A kernel: how a leaf of tokens or on a manifold moves in one step, the sibling of a rule's table.

A kernel is a function of a `Step` that returns the leaf at the step's end. It works item by item: what an item becomes
is a function of that item's state, prediction, levels and noise alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from perrin.sample.noise import bits, uniforms


@dataclass(frozen=True)
class Step:
    """One step of a leaf that a kernel moves.

    Attributes:
        process: of the leaf; x: [B, ...] before the step.
        mean: what is predicted: of tokens probabilities [B, ..., K], on a manifold the displacement.
        noisy, cleaner: levels float64 [B], at the step's begin and end; first: where the item began.
        held: bool [B, ...], places that never change (those of a prompt, and absent ones).
        fresh: int64 [B], seeds of this step alone; lasting: of the whole run.
    """

    process: Any
    x: Tensor
    mean: Tensor
    noisy: Tensor
    cleaner: Tensor
    first: Tensor
    held: Tensor
    fresh: Tensor
    lasting: Tensor

    def uniform(self, stream: int, lasting: bool = False, shape: Sequence[int] | None = None) -> Tensor:
        """float64 [B, ...] in (0, 1), one for each place: of this step, or the same ones in all steps.

        `stream`: 0, 1, ... for independent draws; `shape`: of an item's, that of the leaf by default.
        """
        seeds = bits(self.lasting if lasting else self.fresh, stream + 1)[:, stream]
        size = tuple(self.x.shape[1:]) if shape is None else tuple(shape)
        return uniforms(seeds, math.prod(size)).reshape(len(self.x), *size)

    def spread(self, values: Tensor, like: Tensor | None = None) -> Tensor:
        """Numbers [B] with trailing axes of the leaf (or of `like`)."""
        return values.reshape(-1, *[1] * ((self.x if like is None else like).dim() - 1)).to(self.x.device)


@dataclass(frozen=True)
class Jump(Step):
    """One step of tokens, int64 [B, ...]."""

    @cached_property
    def waiting(self) -> Tensor:
        """Which tokens [B, ...] are masks that may become known."""
        masks: Tensor = self.x == self.process.classes
        return masks & ~self.held

    def share(self, level: Tensor) -> Tensor:
        """a = sigmoid(level): the share of tokens that is kept, [B, 1, ...]."""
        return self.spread(torch.sigmoid(level))

    def lost(self, level: Tensor) -> Tensor:
        """1 - a, [B, 1, ...]."""
        return self.spread(torch.sigmoid(-level))

    @cached_property
    def told(self) -> Tensor:
        """The predicted probability of every token as it is, [B, ...] float64; 0 of a mask."""
        if self.process.masks:
            return torch.zeros_like(self.x, dtype=torch.float64)
        return self.mean.gather(-1, self.x.clamp(min=0)[..., None])[..., 0].to(torch.float64)

    def reveal(self, where: Tensor, u: Tensor) -> Tensor:
        """The tokens with those at `where` drawn anew from `mean` by uniforms u, never as they are."""
        # of a large vocabulary only what is needed in float64
        rows = torch.nonzero(where.flatten()).flatten()
        x, weights = self.x.flatten(), self.mean.flatten(0, -2)[rows]
        if not self.process.masks:
            weights = weights.scatter(-1, x[rows, None], 0.0)
        return x.index_copy(0, rows, draw(weights, u.flatten()[rows])).reshape(self.x.shape)

    def changed(self, predicted: Tensor, evenly: Tensor) -> Tensor:
        """The tokens, each changed with two probabilities [B, ...]: to one of the prediction, and to any."""
        u, v, classes = self.uniform(0), self.uniform(1), self.process.classes
        found = self.reveal(~self.held & (u < predicted), v)
        if self.process.masks:
            return found
        other = (self.x + 1 + (v * (classes - 1)).long()) % classes
        return torch.where(~self.held & (u >= predicted) & (u < predicted + evenly), other, found)


def draw(weights: Tensor, u: Tensor) -> Tensor:
    """Categories of weights [..., K] by uniforms u [...]: the inverse of the distribution function in float64.

    In float32 the rarest tokens of a large vocabulary would come out wrong: their weights vanish in the sum.
    """
    total = weights.to(torch.float64).cumsum(-1)
    place = u[..., None] * total[..., -1:]
    return torch.searchsorted(total, place, right=True)[..., 0].clamp(max=weights.shape[-1] - 1)


def gumbel(u: Tensor) -> Tensor:
    """Standard Gumbel variables of uniforms in (0, 1), float64."""
    return -torch.log(-torch.log(u.to(torch.float64)))


@dataclass(frozen=True)
class Kernel:
    """A way to move, and its promises.

    Attributes:
        name: registry name; function: `Step -> leaf at the step's end`, with keyword options; of tokens it is given a
            `Jump`.
        processes: names of those that it can move.
        stochastic: whether it draws noise.
        exact: whether its steps of any size are those of the reversed process where positions are independent.
    """

    name: str
    function: Callable[..., Tensor]
    processes: Sequence[str]
    exact: bool
    stochastic: bool = True

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (self.function.__doc__ or "").strip().split("\n")[0]


def kernel(
    name: str,
    *,
    processes: Sequence[str] = ("masked", "uniform"),
    exact: bool = False,
    stochastic: bool = True,
) -> Callable[[Callable[..., Tensor]], Kernel]:
    """Declare a function of a `Step` to be the kernel `name`."""

    def declare(function: Callable[..., Tensor]) -> Kernel:
        return Kernel(name, function, processes, exact, stochastic)

    return declare


Options = dict[str, Any]

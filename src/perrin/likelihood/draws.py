"""Independent draws for every item, named by its seed, evaluated several items and draws per network call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition
from perrin.likelihood.given import checked
from perrin.likelihood.items import check_items, keys_of
from perrin.process.state import Masks, State, batch_size, leaves, like, map_leaves
from perrin.sample.noise import Key, bits, normals, seed_of, seed_tensor, uniforms


class Rows(NamedTuple):
    """Some draws of some items.

    `clean`, `condition` and `masks` are those of the items; `number` int64 [R] says which draw, `u` [R] lies in (0, 1),
    `noise` is in the form of `clean`.
    """

    clean: State
    condition: Condition
    masks: Masks
    number: Tensor
    u: Tensor
    noise: State


Term: TypeAlias = Callable[[Rows], list[Tensor]]
"""What is wanted of every row: tensors [R]."""


class Draws:
    """Draws for the items of `x`: a function of (seed, name of the draws, number of the draw) alone.

    Args:
        x: states [B, ...]; condition: as the denoiser takes it, or None; masks: of entries there are, and given.
        seeds: a key an item; None: an item's own numbers. batch: rows (item, draw) of a network call.
        tokens: whether the states are tokens; their noise is uniform in (0, 1), that of numbers normal.

    Attributes:
        calls: of the function so far.

    Raises:
        PerrinError: sizes that do not fit, states that hold NaN or infinity or that are no floating point numbers
            (or no tokens).
    """

    def __init__(
        self,
        x: State,
        condition: Condition,
        masks: Masks | None,
        seeds: Sequence[Key] | None,
        batch: int,
        *,
        tokens: bool = False,
    ) -> None:
        check_items(x, condition, tokens=tokens)
        self.masks = checked(masks, x)
        self.x, self.condition, self.batch, self.calls = x, condition, batch, 0
        self.items = batch_size(x)
        self.keys = keys_of(x, seeds)
        self.device = next(iter(leaves(x).values())).device

    def table(self, count: int, name: str, term: Term) -> list[Tensor]:
        """What `term` gives for draws 0 .. count - 1 of every item: tensors [count, B], float64."""
        names = list(leaves(self.x))
        own = seed_tensor([seed_of(key, "", name) for key in self.keys], self.device)
        named = bits(own, count * (1 + len(names))).reshape(self.items, count, 1 + len(names))
        found, rows = [], count * self.items
        for start in range(0, rows, self.batch):
            chunk = torch.arange(start, min(start + self.batch, rows), device=self.device)
            draw, item = chunk // self.items, chunk % self.items
            some = partial(torch.index_select, dim=0, index=item)
            clean, masks = map_leaves(some, self.x), self.masks.map(some)
            held = None if self.condition is None else {n: v[item] for n, v in self.condition.items()}
            seeds = named[item, draw]
            u = uniforms(seeds[:, 0], 1)[:, 0]
            noise = {n: _noise(seeds[:, 1 + i], v) for i, (n, v) in enumerate(leaves(clean).items())}
            drawn = Rows(clean, held, masks, draw, u, like(noise, self.x))
            found.append([v.to(torch.float64) for v in term(drawn)])
            self.calls += 1
        return [torch.cat(parts).reshape(count, self.items) for parts in zip(*found, strict=True)]


def _noise(seeds: Tensor, like: Tensor) -> Tensor:
    if like.is_floating_point():
        return normals(seeds, like.shape[1:], like.dtype)
    return uniforms(seeds, like[0].numel()).reshape(like.shape)

"""The items of a batch: what makes them fit for a likelihood, and what names them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from perrin.denoise.prediction import Condition
from perrin.errors import PerrinError
from perrin.process.categorical import ABSENT
from perrin.process.state import State, batch_size, leaves
from perrin.sample.noise import Key


def check_items(x: State, condition: Condition = None, *, tokens: bool = False) -> None:
    """Refuse what has no likelihood; `tokens`: whether the states should be whole numbers.

    Raises:
        PerrinError: leaves or condition of different length; states that hold NaN or infinity or that are no
            floating-point numbers, or no tokens.
    """
    if not leaves(x):
        raise PerrinError("a state needs at least one leaf; this one has none")
    count = batch_size(x)
    for name, leaf in leaves(x).items():
        said = f"state {name!r}" if name else "states"
        if leaf.shape[:1] != (count,):
            raise PerrinError(f"{said} of shape {tuple(leaf.shape)} beside a leaf of {count} items")
        if not (leaf.dtype == torch.int64 if tokens else leaf.is_floating_point()):
            right = "int64 tokens" if tokens else "floating-point numbers (or tokens with their process)"
            raise PerrinError(f"{said} must be {right}; these are {leaf.dtype}")
        bad = (~torch.isfinite(leaf)).reshape(count, -1).any(1).nonzero().flatten().tolist()
        if bad:
            raise PerrinError(f"{said} must be finite; items {bad[:8]} hold NaN or infinity")
    for name, value in (condition or {}).items():
        if value.shape[:1] != (count,):
            raise PerrinError(f"condition {name!r} has {tuple(value.shape)[:1]} rows for {count} items")


def keys_of(x: State, seeds: Sequence[Key] | None) -> list[Key]:
    """One key an item: `seeds`, or without them a hash of the item's own numbers, never its place in the batch.

    Raises:
        PerrinError: another number of seeds than of items.
    """
    if seeds is None:
        numbers = torch.cat([leaf.to(torch.float64).flatten(1) for leaf in leaves(x).values()], 1)
        rows = [row.numpy() for row in numbers.cpu()]
        if isinstance(x, Tensor) and not x.is_floating_point():
            # absent positions at the end come from the batch and are none of the item's numbers
            rows = [np.trim_zeros(row - ABSENT, "b") for row in rows]
        hashes = (hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows)
        return [int.from_bytes(value, "little", signed=True) for value in hashes]
    if len(seeds) != batch_size(x):
        raise PerrinError(f"{len(seeds)} seeds for {batch_size(x)} items")
    return list(seeds)

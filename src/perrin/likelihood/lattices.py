"""Integer data as states: where on its lattice a state lies (`contracts.Lattice`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from perrin.contracts import Lattice
from perrin.errors import PerrinError
from perrin.process.state import State, leaves

Lattices: TypeAlias = Lattice | Mapping[str, Lattice | None] | None
"""The lattice of a tensor state, or of each leaf by name; None where the data are continuous."""

_TOLERANCE = 0.01  # of a step: float32 states of a few thousand values are off by less


def placed(lattice: Lattice, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(low, step, count) in float64 on the device of `x`."""
    low, step, count = (
        torch.as_tensor(v, dtype=torch.float64, device=x.device)
        for v in (lattice.low, lattice.step, lattice.count)
    )
    return low, step, count


def indices(x: Tensor, lattice: Lattice) -> Tensor:
    """k of every entry of `x` = low + k step, float64 [B, ...].

    Raises:
        PerrinError: entries that lie between the values or beyond them.
    """
    low, step, count = placed(lattice, x)
    exact = (x.detach().to(torch.float64) - low) / step
    k = exact.round()
    off = ((exact - k).abs() > _TOLERANCE) | (k < 0) | (k > count - 1)
    if bool(off.any()):
        raise PerrinError(
            f"{int(off.sum())} of {off.numel()} entries are not on the data's lattice, such as "
            f"{float(x[off][0]):.6g}: integer data must be whole numbers within the range that the codec was fitted on"
        )
    return k


def by_leaf(lattice: Lattices, x: State) -> dict[str, Lattice | None]:
    """Name -> lattice or None, for every leaf of `x`.

    Raises:
        PerrinError: lattices that are named otherwise than the leaves.
    """
    named = leaves(lattice)
    names = list(leaves(x))
    if lattice is None:
        return dict.fromkeys(names)
    if not set(named) <= set(names):
        raise PerrinError(f"lattices are named {sorted(named)}, the leaves of the state {names}")
    return {name: named.get(name) for name in names}

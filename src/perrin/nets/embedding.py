"""What a network is told beside the state: the time and the conditions, as one vector per item.

    embedding = W2 silu(W1 fourier(time) + Label[label + 1] + V vector + b)

The time is any smooth clock of order one (the callers of this project pass `-level / 8`, that is
`log(sigma / alpha) / 4`, the noise clock of Karras et al. 2022, arXiv:2206.00364, table 1); sines and
cosines of it at geometric frequencies (Vaswani et al. 2017) let a small network resolve it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

Condition = Mapping[str, Tensor]


class Fourier(nn.Module):
    """Time [B] to sines and cosines [B, features], frequencies geometric from 1/2 to 16 rad per unit."""

    frequencies: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        exponents = torch.linspace(math.log(0.5), math.log(16.0), features // 2)
        self.register_buffer("frequencies", exponents.exp(), persistent=False)

    def forward(self, time: Tensor) -> Tensor:
        angle = time.float()[:, None] * self.frequencies
        return torch.cat([angle.cos(), angle.sin()], dim=1) * math.sqrt(2)


def present_rows(value: Tensor) -> tuple[Tensor, Tensor]:
    """Split a float condition [B, ...] into its values with NaN as 0 and a mask [B, 1, ...] of rows kept.

    A row that holds a NaN is dropped: NaN is to a float condition what -1 is to a label, so that training
    can drop the conditions of single items and guidance can run both branches in one batch.
    """
    dropped = value.isnan().flatten(1).any(dim=1).view(-1, *[1] * (value.ndim - 1))
    return torch.where(dropped, 0.0, value), (~dropped).to(value.dtype)


def concatenated(x: Tensor, condition: Condition | None, channels: int) -> Tensor:
    """A state [B, C, *spatial] with the condition `"concat"` and a channel that says whether it is there.

    Args:
        channels: of the condition that the network was built for; with 0 the state is given back.
    """
    if not channels:
        return x
    if condition is None or "concat" not in condition:
        return torch.cat([x, x.new_zeros(len(x), channels + 1, *x.shape[2:])], dim=1)
    value, present = present_rows(condition["concat"].to(x.dtype))
    return torch.cat([x, value, present.expand(len(x), 1, *x.shape[2:])], dim=1)


class Embedding(nn.Module):
    """Time and the global conditions to one vector [B, width].

    Args:
        width: size of the output.
        classes: number of classes, or None for a network that knows none.
        vector_size: K of the condition `"vector"` [B, K]; 0 for none.
        timed: whether the time is told at all.
        until: whether the time at which a step ends is told too; it adds nothing at first, so that a network with it
            can start from the weights of one without.

    `condition["label"]`: int64 [B], -1 = unconditional. `condition["vector"]`: float [B, K], a NaN row =
    unconditional. `condition["until"]`: float [B], a time. A missing key is unconditional for the whole batch. Keys
    that the network was not built for are ignored.
    """

    def __init__(
        self,
        width: int,
        classes: int | None = None,
        vector_size: int = 0,
        *,
        timed: bool = True,
        until: bool = False,
    ) -> None:
        super().__init__()
        self.fourier = Fourier(64)
        self.time = nn.Linear(64, width) if timed else None
        self.label = nn.Embedding(classes + 1, width) if classes else None
        self.vector = nn.Linear(vector_size, width) if vector_size else None
        self.until = nn.Linear(64, width, bias=False) if until else None
        if self.until is not None:
            nn.init.zeros_(self.until.weight)
        self.out = nn.Linear(width, width)

    def forward(self, time: Tensor, condition: Condition | None = None) -> Tensor:
        condition = condition or {}
        weight = self.out.weight
        hidden = torch.zeros(len(time), len(weight), dtype=weight.dtype, device=weight.device)
        if self.time is not None:
            hidden = self.time(self.fourier(time).to(weight.dtype))
        if self.label is not None:
            none = torch.full(time.shape, -1, dtype=torch.long, device=time.device)
            hidden = hidden + self.label(condition.get("label", none) + 1)
        if self.vector is not None and "vector" in condition:
            value, present = present_rows(condition["vector"].to(hidden.dtype))
            hidden = hidden + self.vector(value) * present  # the bias tells a zero vector from none
        if self.until is not None and "until" in condition:
            hidden = hidden + self.until(self.fourier(condition["until"]).to(hidden.dtype))
        return functional.silu(self.out(functional.silu(hidden)))

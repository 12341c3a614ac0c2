"""Attention within anyone's network, by the way that is fast: `with QuickAttention(): losses = objective(...)`.

A network that was written elsewhere calls PyTorch's fused kernel by name. In half precision on a CPU that kernel is slow
at few positions, its backward pass most of all, and our own networks write attention out there (`attention.attend`).
Inside this context so does every other network. Nothing else changes, and in float32 nothing at all. Every call of
torch's is looked at, which takes a microsecond or two: with attention over a dozen positions it does not pay, and calls
over fewer than `FEW` stay as they are. `perrin train` trains inside it; a network that has no use for it is left alone
after the first step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from perrin.nets.attention import WRITTEN_OUT, attend

FEW = 32
"""Below so many positions the fused kernel costs less than looking at every call does."""


class QuickAttention(TorchFunctionMode):
    """Around a forward pass: `scaled_dot_product_attention` by the faster of two ways, to the same numbers but rounding.

    Calls with dropout, a causal mask by flag, a mask of numbers, a scale of their own or grouped heads stay as they are.

    Attributes:
        used: whether any call took the other way so far.

    Example:
        >>> q = torch.ones(1, 1, 64, 2, dtype=torch.bfloat16)
        >>> with QuickAttention() as quick:
        ...     functional.scaled_dot_product_attention(q, q, q).shape, quick.used
        (torch.Size([1, 1, 64, 2]), True)
    """

    def __init__(self) -> None:
        super().__init__()
        self.used = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            parts = _plain(*args, **given)
            if parts is not None:
                self.used = True
                return attend(*parts)
        return func(*args, **given)


def _plain(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor | None] | None:
    """What `attend` needs of such a call; None where it is fast as it is, or says more than `attend` knows."""
    slow = query.device.type == "cpu" and query.dtype in (torch.bfloat16, torch.float16)
    if not slow or query.dim() != 4 or not FEW <= key.shape[2] <= WRITTEN_OUT:
        return None
    masked = attn_mask is not None and attn_mask.dtype != torch.bool
    return None if masked or any(rest.values()) else (query, key, value, attn_mask)

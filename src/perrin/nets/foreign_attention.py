"""Attention within anyone's network, by the way that is fast: `with QuickAttention(): losses = objective(...)`.

A network that was written elsewhere calls PyTorch's fused kernel by name. In half precision on a CPU that kernel is slow
at few positions, its backward pass most of all, and our own networks write attention out there (`attention.attend`).
Inside this context so does every other network. Nothing else changes, and in float32 nothing at all. Every call of
torch's is looked at, which takes a microsecond or two: with attention over a dozen positions it does not pay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from perrin.nets.attention import attend


class QuickAttention(TorchFunctionMode):
    """Around a forward pass: `scaled_dot_product_attention` by the faster of two ways, to the same numbers but rounding.

    Calls with dropout, a causal mask by flag, a mask of numbers, a scale of their own or grouped heads stay as they are.

    Example:
        >>> q = torch.ones(1, 1, 3, 2, dtype=torch.bfloat16)
        >>> with QuickAttention():
        ...     functional.scaled_dot_product_attention(q, q, q).shape
        torch.Size([1, 1, 3, 2])
    """

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
                return attend(*parts)
        return func(*args, **given)


def _plain(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor | None] | None:
    """What `attend` needs of such a call; None where it says more than `attend` knows."""
    masked = attn_mask is not None and attn_mask.dtype != torch.bool
    return None if masked or query.dim() != 4 or any(rest.values()) else (query, key, value, attn_mask)

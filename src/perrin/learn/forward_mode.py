"""Around networks that are differentiated along tangents: the ways of computing that PyTorch has such derivatives of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


@contextmanager
def forward_mode() -> Iterator[None]:
    """Attention written out, whose fused kernels have no such derivative, and group norms of what lies in one piece."""
    with sdpa_kernel(SDPBackend.MATH), _InOnePiece():
        yield


class _InOnePiece(TorchFunctionMode):
    """Group norms of contiguous tensors: the derivative of others fails on a view (PyTorch 2.13)."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is functional.group_norm:
            args = (args[0].contiguous(), *args[1:])
        return func(*args, **(kwargs or {}))

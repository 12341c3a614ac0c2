"""What stands between a network and the rest: a module that hides what the network expects and outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class Adapter(nn.Module):
    """A module around a network.

    Attributes:
        net: whose weights are trained and saved.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def check(self, levels: Tensor) -> None:
        """Refuse levels at which this is undefined."""


class Function(nn.Module):
    """A plain function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    @staticmethod
    def of(net: nn.Module | Callable[..., Any]) -> nn.Module:
        """The module itself, or the function as one."""
        return net if isinstance(net, nn.Module) else Function(net)

    def forward(self, *arguments: Any) -> Any:
        return self.function(*arguments)

"""What every guidance is: a denoiser that wraps a denoiser."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.errors import PerrinError
from perrin.process.state import State, leaves

ITEM = "item"
"""The condition's entry that says which sample each row is, int64 [B], not negative: for wrappers with a memory."""


class Guide(nn.Module, ABC):
    """A denoiser made of another one; a module, with the devices and parameters of the wrapped network."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    @property
    def timeless(self) -> bool:
        """Whether the prediction is a function of state and condition alone, at all levels the same."""
        return False

    @abstractmethod
    def forward(self, x: State, level: Tensor, condition: Condition = None) -> Prediction:
        """The guided prediction at x [B, ...], level [B]."""

    def check(self, levels: Tensor) -> None:
        """Refuse levels at which the wrapped denoiser is undefined."""
        check: Any = getattr(self.denoiser, "check", None)
        if check is not None:
            check(levels)


def check_continuous(x: State, what: str) -> None:
    """Refuse guidance that has no meaning for tokens.

    Raises:
        PerrinError: a leaf of tokens.
    """
    if any(not leaf.is_floating_point() for leaf in leaves(x).values()):
        raise PerrinError(f"{what} is for continuous states; this one holds tokens")


def timeless(denoiser: Denoiser) -> bool:
    """Whether a denoiser says that its prediction is the same at all levels."""
    return getattr(denoiser, "timeless", False) is True

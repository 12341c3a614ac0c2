"""What every guidance is: a denoiser that wraps a denoiser."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.process.state import State

ITEM = "item"
"""The condition's entry that says which sample each row is, int64 [B], not negative: for wrappers with a memory."""


class Guide(nn.Module, ABC):
    """A denoiser made of another one; a module, with the devices and parameters of the wrapped network."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    @abstractmethod
    def forward(self, x: State, level: Tensor, condition: Condition = None) -> Prediction:
        """The guided prediction at x [B, ...], level [B]."""

    def check(self, levels: Tensor) -> None:
        """Refuse levels at which the wrapped denoiser is undefined."""
        check: Any = getattr(self.denoiser, "check", None)
        if check is not None:
            check(levels)

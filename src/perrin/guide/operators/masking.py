"""What is seen of a state and what is not: inpainting, outpainting, missing slices, gaps in a waveform."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.guide.operators.linear import Operator


class Mask(Operator):
    """y = keep * x.

    Args:
        shape: of a state. keep: bool, which entries are measured; its axes are the state's last ones, so that [H, W] is
            for all channels.

    Raises:
        PerrinError: a mask of another size, or one that keeps nothing.
    """

    def __init__(self, shape: Sequence[int], keep: Tensor) -> None:
        super().__init__(shape)
        keep = torch.as_tensor(keep).bool()
        tail = self.shape[len(self.shape) - keep.dim() :]
        if keep.dim() > len(self.shape) or tuple(keep.shape) != tail:
            raise PerrinError(
                f"the mask has shape {tuple(keep.shape)}; the state is {self.shape}, and a mask of its last axes "
                f"{self.shape[-2:] if len(self.shape) > 1 else self.shape} is needed"
            )
        if not bool(keep.any()):
            raise PerrinError("the mask keeps nothing: True marks what is known")
        self.keep = keep.expand(self.shape)

    def apply(self, x: Tensor) -> Tensor:
        """The entries that are kept, 0 elsewhere."""
        return torch.where(self.keep.to(x.device), x, 0.0)

    def transposed(self, y: Tensor) -> Tensor:
        """The same: a mask is its own adjoint."""
        return self.apply(y)

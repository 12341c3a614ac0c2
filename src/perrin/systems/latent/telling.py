"""What a pretrained network is told, in its own precision."""

from __future__ import annotations

from torch import Tensor

from perrin.denoise.prediction import Condition


def told(condition: Condition, x: Tensor) -> dict[str, Tensor]:
    """Conditions in the network's own precision."""
    return {
        name: value.to(x.dtype) if value.is_floating_point() and value.dtype != x.dtype else value
        for name, value in (condition or {}).items()
    }

"""Where a denoiser computes, and how to know that memory ran out there."""

from __future__ import annotations

from typing import Any

import torch


def device_of(denoiser: Any) -> torch.device | str:
    """The device of the denoiser's parameters; the CPU where it has none."""
    if isinstance(denoiser, torch.nn.Module):
        parameter = next(denoiser.parameters(), None)
        if parameter is not None:
            return parameter.device
    return "cpu"


def out_of_memory(error: Exception) -> bool:
    """Whether an error is that of an allocator."""
    said = str(error).lower()  # of PyTorch's allocator for the CPU, which raises a bare RuntimeError
    asked = "not enough memory" in said or "can't allocate memory" in said
    return asked or isinstance(error, MemoryError | torch.OutOfMemoryError)

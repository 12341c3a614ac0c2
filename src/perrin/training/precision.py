"""In which precision the network trains; states, losses and weights stay float32."""

from __future__ import annotations

import torch


def choose_precision(wanted: str, device: str) -> str:
    """'bfloat16' or 'float32': auto takes bfloat16 where the device multiplies it in hardware."""
    if wanted != "auto":
        return wanted
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bfloat16" if device == "cpu" and supported() else "float32"

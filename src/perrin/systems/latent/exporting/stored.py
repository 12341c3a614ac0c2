"""How the weights of a component lie in its folder."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open

from perrin.saving import PICKLES
from perrin.systems.latent.layout import weights_of

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def precision_of(folder: Path) -> torch.dtype:
    """What most of a component's tensors are stored in."""
    counts: dict[torch.dtype, int] = {}
    for path in weights_of(folder):
        with safe_open(path, "pt") as file:
            for key in file.keys():  # noqa: SIM118 - it is no mapping
                kind = DTYPES.get(file.get_slice(key).get_dtype())
                if kind is not None:
                    counts[kind] = counts.get(kind, 0) + 1
    return max(counts, key=lambda kind: counts[kind]) if counts else torch.float32


def pickled(folder: Path) -> bool:
    """Whether a component's weights are in pickles alone."""
    endings = {path.suffix for path in folder.iterdir() if path.is_file()}
    return ".safetensors" not in endings and not endings.isdisjoint(PICKLES)


def plain(dtype: torch.dtype) -> str:
    """Its name in torch."""
    return str(dtype).removeprefix("torch.")

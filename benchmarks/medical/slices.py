"""The slices that are restored, as states [n, 1, H, W]: held-out ones, ones to choose settings by, another head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from perrin.contracts import Dataset
from perrin.kinds.volumes import open_volumes
from perrin.model import Model

DARK = -0.8  # a tenth of the scale
PERCENTILE = 99.5  # of a volume's values; becomes 255
HEAD = (0.25, 0.85)  # of the height of spm152: below is the neck, above little but bone


def encoded(model: Model, data: Dataset, count: int, least: float = 0.0) -> Tensor:
    """States of `count` items, evenly spread over those that are brighter than a tenth of the scale in a share `least`."""
    chosen = range(len(data))
    if least:
        chosen = [i for i in chosen if float((state_of(model, data, [i]) > DARK).float().mean()) >= least]
    places = np.unique(np.linspace(0, len(chosen) - 1, min(count, len(chosen))).round().astype(int))
    return state_of(model, data, [chosen[i] for i in places.tolist()])


def state_of(model: Model, data: Dataset, indices: Sequence[int]) -> Tensor:
    """States [n, 1, H, W] of items."""
    state: Tensor = model.codec.encode([data[i] for i in indices]).state
    return state


def other_head(model: Model, path: Path, count: int) -> Tensor:
    """Axial slices of a NIfTI volume as pictures: its values to 0..255, padded with black to a square, then resized."""
    volume = open_volumes(path)[0]["value"].standard("axial").stack[0]
    most = np.percentile(volume, PERCENTILE)
    chosen = np.linspace(HEAD[0] * len(volume), HEAD[1] * len(volume), count).round().astype(int)
    side = max(volume.shape[1:])
    items = []
    for d in chosen.tolist():
        pixels = np.clip(volume[d] / most * 255, 0, 255).round().astype(np.uint8)
        down, across = ((side - n) // 2 for n in pixels.shape)
        framed = np.zeros((side, side), np.uint8)
        framed[down : down + pixels.shape[0], across : across + pixels.shape[1]] = pixels
        items.append({"value": framed, "name": f"slice {d}"})
    return torch.cat([model.codec.encode([{**item, "label": 0}]).state for item in items])

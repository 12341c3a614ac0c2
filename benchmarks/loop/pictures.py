"""The pictures that both libraries train on: a folder of PNG files, and how the example reads them.

The example opens every picture anew in every epoch and resizes, crops and normalises it by torchvision, which is not in
the peers' environment: the same steps are written here with Pillow, those that change nothing at this size left out, so
that the example's reading is if anything too cheap.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

COUNT = 512


def write(folder: Path, size: int) -> Path:
    """Fill a folder with pictures of noise, size x size in colour: they are read as fast as others."""
    generator = np.random.default_rng(0)
    for index in range(COUNT):
        pixels = generator.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:04d}.png")
    return folder


class Opened(Dataset[Tensor]):
    """The pictures of a folder as the example's transforms make them: [3, size, size] in [-1, 1]."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.glob("*.png"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.files[index]) as picture:
            pixels = np.array(picture.convert("RGB"))
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().float().div(255).sub(0.5).div(0.5)

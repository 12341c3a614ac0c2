"""The classical methods, each at the setting of its best mean PSNR on pictures of the validation split.

Total variation within the values' range is `../medical/total_variation.py`, for any operator; the others are
scikit-image's (biharmonic inpainting, non-local means, Wiener's filter) and PyTorch's bicubic interpolation.
All are clipped to the range of pictures, as everything is that is measured here.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from degradations import BLUR, Degradation
from skimage import restoration
from torch import Tensor

sys.path.append(str(Path(__file__).resolve().parents[1] / "medical"))
import total_variation

WEIGHTS = (
    0.00002,
    0.00005,
    0.0001,
    0.0002,
    0.0005,
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.04,
    0.08,
    0.15,
    0.3,
    0.5,
)


@dataclass(frozen=True)
class Classical:
    """A method: (degradation, y, setting) -> pictures, and the settings to choose from."""

    name: str
    restore: Callable[[Degradation, Tensor, Any], Tensor]
    settings: tuple[Any, ...]


def classical(of: Degradation) -> list[Classical]:
    """Those that fit."""
    variation = Classical("total variation", _variation, WEIGHTS)
    if of.name.startswith("inpaint"):
        return [variation, Classical("biharmonic", _biharmonic, (0.0, 0.02, 0.05, 0.1, 0.2))]
    if of.name.startswith("upscale"):
        return [variation, Classical("bicubic", _bicubic, (None,))]
    if of.name.startswith("deblur"):
        return [variation, Classical("Wiener", _wiener, (0.0003, 0.001, 0.003, 0.01, 0.03))]
    means = tuple(itertools.product((3, 5, 7), (0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 2.5)))
    return [variation, Classical("non-local means", _means, means)]


def _variation(of: Degradation, y: Tensor, weight: float) -> Tensor:
    return total_variation.reconstruct(of.operator, y, weight, rounds=100)


def _bicubic(of: Degradation, y: Tensor, _: None) -> Tensor:
    return torch.nn.functional.interpolate(y, size=of.operator.shape[1:], mode="bicubic")


def _each(y: Tensor, restore: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    found = [torch.from_numpy(np.asarray(restore(one.double().numpy()))).float() for one in y]
    return torch.stack(found)


def _biharmonic(of: Degradation, y: Tensor, weight: float) -> Tensor:
    """Holes filled after what is known was smoothed by total variation of that weight."""
    known = of.keep[0].numpy()
    smooth = total_variation.reconstruct(of.operator, y, weight, rounds=100) if weight else y
    kept = torch.where(of.keep, smooth, 0)
    return _each(kept, lambda one: restoration.inpaint_biharmonic(one, ~known, channel_axis=0))


def _means(of: Degradation, y: Tensor, setting: tuple[int, float]) -> Tensor:
    size, strength = setting
    options = {"patch_size": size, "patch_distance": 9, "fast_mode": False}
    strengths = {"h": strength * of.noise, "sigma": of.noise}

    def restore(one: np.ndarray) -> np.ndarray:
        if len(one) == 1:  # an axis of one channel is taken for one of the picture
            return restoration.denoise_nl_means(one[0], **options, **strengths)[None]
        return restoration.denoise_nl_means(one, channel_axis=0, **options, **strengths)

    return _each(y, restore)


def _wiener(of: Degradation, y: Tensor, balance: float) -> Tensor:
    """Of pictures that go on in their mirror image, which is what the blur does at the border."""
    reach = 8
    line = np.exp(-0.5 * (np.arange(-6, 7) / BLUR) ** 2)
    kernel = np.outer(line, line) / line.sum() ** 2

    def restore(one: np.ndarray) -> np.ndarray:
        wide = np.pad(one, ((0, 0), (reach, reach), (reach, reach)), mode="reflect")
        found = [restoration.wiener(channel, kernel, balance, clip=False) for channel in wide]
        return np.stack(found)[:, reach:-reach, reach:-reach]

    return _each(y, restore)

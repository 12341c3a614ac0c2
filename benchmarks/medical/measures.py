"""Figures of a restoration, slice by slice, and their means with bootstrap intervals over slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import Tensor

from perrin.restoration.restored import Restored

RANGE = 2.0  # of states, -1 .. 1: 0 .. 255 of pictures, black to white of a window
DARK = -0.9  # below it is background


def pictures(found: Tensor, truth: Tensor) -> dict[str, list[float]]:
    """PSNR (dB) and structural similarity of images [n, 1, H, W] clipped to the range, [n] each."""
    clipped = found.double().clamp(-1, 1)
    error = (clipped - truth).square().flatten(1).mean(1)
    similar = [
        structural_similarity(one[0].numpy(), true[0].numpy(), data_range=RANGE)
        for one, true in zip(clipped, truth.double(), strict=True)
    ]
    return {"psnr": (10 * (RANGE**2 / error).log10()).tolist(), "ssim": [float(v) for v in similar]}


def uncertainty(restored: Restored, truth: Tensor, share: float = 0.9) -> dict[str, list[float]]:
    """Coverage of intervals, of all pixels and of bright ones; rank correlation of std and |error|; residuals."""
    low, high = restored.interval(share)
    inside = ((low <= truth) & (truth <= high)).double()
    seen = (truth > DARK).double()
    error = (restored.mean - truth).abs()
    residual, noise = restored.residual, restored.problem.noise
    return {
        "coverage": inside.flatten(1).mean(1).tolist(),
        "coverage_seen": ((inside * seen).flatten(1).sum(1) / seen.flatten(1).sum(1)).tolist(),
        "spearman": ranks(restored.std, error),
        "spearman_seen": ranks(restored.std, error, seen > 0),
        "residual": (residual.square().mean(1).sqrt() / noise).tolist(),
        "residual_mean": (misfit(restored, restored.mean) / noise).tolist(),
    }


def ranks(std: Tensor, error: Tensor, where: Tensor | None = None) -> list[float]:
    """Spearman's correlation over the pixels of each slice."""
    chosen = [slice(None)] * len(std) if where is None else where
    return [
        float(spearmanr(s[w].flatten(), e[w].flatten()).statistic)
        for s, e, w in zip(std, error, chosen, strict=True)
    ]


def misfit(restored: Restored, state: Tensor) -> Tensor:
    """Root mean square of y - A x over what is measured, [n], of one state an item."""
    problem = restored.problem
    apart = problem.measurement - problem.operator(state.double())
    count = (2 if apart.is_complex() else 1) * problem.seen.sum()
    return (apart.abs().square().flatten(1).sum(1) / count).sqrt()


def shown(values: Sequence[float], digits: int = 2, draws: int = 2000) -> str:
    """The mean over slices with its 95 % bootstrap interval."""
    array, generator = np.asarray(values), np.random.default_rng(0)
    means = array[generator.integers(0, len(array), (draws, len(array)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{array.mean():.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def gain(one: Mapping[str, Sequence[float]], other: Mapping[str, Sequence[float]]) -> str:
    """By how many dB one is better than another, slice by slice."""
    return shown(np.subtract(one["psnr"], other["psnr"]).tolist())

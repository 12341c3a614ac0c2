"""Trading resolution for channels, in any number of dimensions, without losing a number.

Blocks of `factor` pixels in every spatial dimension become channels and back: the sub-pixel rearrangement of
Shi et al. 2016 (arXiv:1609.05158), as `torch.nn.functional.pixel_unshuffle` does it in two dimensions.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def fold(x: Tensor, factor: int) -> Tensor:
    """Blocks of `factor` in every dimension into channels: [B, C, f h, ...] -> [B, C f^d, h, ...]."""
    if factor == 1:
        return x
    batch, channels, *spatial = x.shape
    dims = len(spatial)
    split = x.reshape(batch, channels, *[n for size in spatial for n in (size // factor, factor)])
    order = [0, 1, *range(3, 3 + 2 * dims, 2), *range(2, 2 + 2 * dims, 2)]
    return split.permute(order).reshape(batch, channels * factor**dims, *[s // factor for s in spatial])


def unfold(x: Tensor, factor: int) -> Tensor:
    """The inverse of `fold`."""
    if factor == 1:
        return x
    batch, channels, *spatial = x.shape
    dims = len(spatial)
    split = x.reshape(batch, channels // factor**dims, *[factor] * dims, *spatial)
    order = [0, 1, *[axis for d in range(dims) for axis in (2 + dims + d, 2 + d)]]
    return split.permute(order).reshape(batch, -1, *[s * factor for s in spatial])


def pad(x: Tensor, multiple: int) -> Tensor:
    """Zeros at the far end of every dimension, up to a size that is a multiple and so folds evenly."""
    missing = [-size % multiple for size in x.shape[2:]]
    return functional.pad(x, [n for size in reversed(missing) for n in (0, size)]) if any(missing) else x

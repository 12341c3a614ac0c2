r"""Where a patch is, as sines and cosines, in any number of dimensions (Vaswani et al. 2017; Peebles and Xie 2023).

    of one coordinate n:  [sin(n w_0), sin(n w_1), ..., cos(n w_0), cos(n w_1), ...],   w_i = 10000^(-i / count)

The coordinates share the channels equally, the last dimension first, as in the published 2-D tables; channels that
cannot be shared are zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def sines(sizes: Sequence[int], width: int) -> Tensor:
    """The positions of a grid of `sizes` cells, last dimension fastest: float32 [cells, width]."""
    count = width // (2 * len(sizes))
    frequencies = 10_000.0 ** (-torch.arange(count, dtype=torch.float64) / max(count, 1))
    axes = torch.meshgrid(*(torch.arange(size, dtype=torch.float64) for size in sizes), indexing="ij")
    parts = []
    for axis in reversed(axes):
        angle = axis.reshape(-1, 1) * frequencies
        parts += [angle.sin(), angle.cos()]
    table = torch.cat(parts, dim=1)
    return torch.nn.functional.pad(table, (0, width - table.shape[1])).float()

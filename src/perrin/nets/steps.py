r"""What a network of a chain is told beside the state: the step and the class, as one vector per item.

    embedding = silu(W2 silu(W1 [cos(t w), sin(t w)] + b1) + b2 + Label[label + 1]),   w_i = 10000^(-i / (n - gap))

with t the step 0 .. T-1 and i = 0 .. n-1. This is what published networks of DDPM (Ho et al. 2020) and the DiT (Peebles
and Xie 2023) have in the place of `embedding.Embedding`, so that their weights can be held.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from perrin.nets.embedding import Condition


class StepEmbedding(nn.Module):
    """Step [B] and label to one vector [B, width].

    Args:
        features: cosines and sines together, an even number.
        width: size of the output.
        classes: number of classes, or None for a network that knows none.
        gap: 0: the last frequency is next to 1/10000, as in the DiT; 1: it is 1/10000, as in DDPM.

    `condition["label"]`: int64 [B], -1 = unconditional, and so is a missing key.
    """

    frequencies: Tensor

    def __init__(self, features: int, width: int, classes: int | None = None, gap: int = 0) -> None:
        super().__init__()
        count = features // 2
        # float32, in this order, as those networks have it: at step 999 another rounding shows in the fifth digit
        exponents = -math.log(10_000) * torch.arange(count, dtype=torch.float32) / max(count - gap, 1)
        self.register_buffer("frequencies", exponents.exp(), persistent=False)
        self.time, self.out = nn.Linear(2 * count, width), nn.Linear(width, width)
        self.label = nn.Embedding(classes + 1, width) if classes else None

    def forward(self, time: Tensor, condition: Condition | None = None) -> Tensor:
        """time [B], condition as above -> [B, width]."""
        angle = time.float()[:, None] * self.frequencies.float()
        waves = torch.cat([angle.cos(), angle.sin()], dim=1).to(self.time.weight.dtype)
        found: Tensor = self.out(functional.silu(self.time(waves)))
        if self.label is not None:
            none = torch.full(time.shape, -1, dtype=torch.long, device=time.device)
            found = found + self.label((condition or {}).get("label", none) + 1)
        return functional.silu(found)

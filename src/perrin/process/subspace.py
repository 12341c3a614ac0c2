r"""Gaussian noise without a mean: the subspace in which the positions of an item add up to zero.

A density of positions that no translation changes has no integral; on the subspace sum_i x_i = 0 it has one (Koehler et
al. 2020; Hoogeboom et al. 2022, "Equivariant Diffusion for Molecule Generation in 3D"). Noise and data lie in it, and
with them every state between. Where positions are observed they say where the item lies, and nothing is taken away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perrin.process.state import Masks, spread


@dataclass(frozen=True)
class Centred:
    """Gaussian noise on positions [B, N, D], whose mean over the N positions of an item is zero."""

    name = "centred"

    def config(self) -> dict[str, Any]:
        """The JSON-able options that rebuild it, with its registry name."""
        return {"name": self.name}

    def project(self, x: Tensor, masks: Masks) -> Tensor:
        """x [B, N, D] without its mean over valid positions, 0 where there are none; of items with observed ones as it is.

        Args:
            masks: of this leaf, [B, N].
        """
        valid = torch.ones_like(x[..., 0], dtype=torch.bool) if masks.valid is None else masks.valid
        weight = spread(_tensor(valid), x).to(x.dtype)
        mean = (x * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
        if masks.observed is not None:
            free = ~_tensor(masks.observed).flatten(1).any(1)
            mean = mean * spread(free, x).to(x.dtype)
        return (x - mean) * weight


def centred() -> Centred:
    """Gaussian noise on positions, in the subspace where their mean is zero."""
    return Centred()


def _tensor(mask: Any) -> Tensor:
    assert isinstance(mask, Tensor)
    return mask

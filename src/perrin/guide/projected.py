r"""Adaptive projected guidance: large weights without burnt colours (Sadat et al. 2024, arXiv:2410.02416).

The difference between the two clean means is shortened to a longest length, and split along the conditional mean c:

    d = c - u,   d <- d min(1, r / |d|),   along = (d . c / c . c) c
    mean = c + (w - 1) (d - along + eta along)

What is along c makes the prediction larger, which is what saturates; what is across it makes it more like its condition.
eta = 1 without r is plain guidance. It acts on the clean mean, item by item and leaf by leaf, and is the same for every
parameterisation. The length r is here a root mean square over an item's entries, so that it means the same in any
number of dimensions; the paper's is sqrt(entries) times that.

The paper's negative momentum is left out: it sums over evaluations, so that what it does depends on how many there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.guide.contrast import by_item


@dataclass(frozen=True)
class Projection:
    """Which part of the difference between two means guides.

    Attributes:
        eta: share of what is along the mean that it goes towards, 0 to 1; 1 is all.
        threshold: r, the longest root mean square of the difference, in units of the clean state; None: any.
    """

    eta: float = 0.0
    threshold: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise PerrinError(
                f"projected: eta = {self.eta} must lie between 0 (none along the mean) and 1 (all)"
            )
        if self.threshold is not None and not 0 < self.threshold < math.inf:
            raise PerrinError(f"projected: threshold = {self.threshold} must be above 0, or left out")

    def __call__(self, guided: Tensor, towards: Tensor, away: Tensor, w: Tensor) -> Tensor:
        """The guided means [B, ...] with the difference changed; the very same for eta = 1 without a threshold."""
        difference = towards - away
        left = difference
        if self.threshold is not None:
            size = by_item(lambda v: v.square().mean().sqrt(), difference)
            left = difference * torch.where(size > self.threshold, self.threshold / size, 1.0)
        if self.eta != 1:
            left = left - (1 - self.eta) * _along(left, towards)
        return guided + (w - 1) * (left - difference)


def as_projection(given: Projection | Mapping[str, Any] | bool | None) -> Projection | None:
    """A projection from what a recipe or a user says: True is the default one, False and None are none.

    Raises:
        PerrinError: an option that is not known or out of range.
    """
    if given is None or isinstance(given, bool):
        return Projection() if given else None
    if isinstance(given, Projection):
        return given
    try:
        return Projection(**given)
    except TypeError as error:
        raise PerrinError(f"projected = {given!r}: it takes eta (0 to 1) and threshold (above 0)") from error


def _along(difference: Tensor, mean: Tensor) -> Tensor:
    square = by_item(lambda v: v.square().sum(), mean)
    product = by_item(lambda v, m: (v * m).sum(), difference, mean)
    share = product / torch.where(square > 0, square, 1.0)
    return share * mean

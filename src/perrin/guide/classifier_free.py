r"""Classifier-free guidance (Ho and Salimans 2022), on an interval of levels (Kynkaanniemi et al. 2024).

    mean = unconditional + w (conditional - unconditional)

w = 1 is no guidance, w = 0 ignores the condition; see `contrast`, of tokens as well. Intervals are in levels and do not
move with the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser, Prediction, unconditional
from perrin.guide.contrast import WEIGHT, Change, Contrast, Rescale, check_interval, within
from perrin.guide.projected import Projection
from perrin.guide.wrapper import ITEM, Guide, check_continuous, timeless
from perrin.process.state import State, map_leaves


class ClassifierFree(Guide):
    """Push the prediction away from the unconditional one.

    Args:
        denoiser: takes rows with and without condition in one batch.
        weight: w, one number or [B]; the condition's entry "guidance" [B] goes before it.
        interval: (low, high) levels within which to guide; everywhere by default.
        rescale: 0 to 1, how far the guided mean is brought back to the conditional mean's standard deviation; not
            of tokens.
        projection: which part of the difference counts, see `projected`; not of tokens.
        null: makes the unconditional condition of a conditional one.

    A branch whose weight is zero is not evaluated, row by row; both branches share one call of the denoiser.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        weight: float | Tensor = 1.5,
        *,
        interval: tuple[float, float] | None = None,
        rescale: float = 0.0,
        projection: Projection | None = None,
        null: Callable[[Condition], Condition] = unconditional,
    ) -> None:
        super().__init__(denoiser)
        check_interval(interval)
        self.weight, self.interval, self.null = weight, interval, null
        self.changes = changes(rescale, projection)

    @property
    def timeless(self) -> bool:
        return self.interval is None and timeless(self.denoiser)

    def forward(self, x: State, level: Tensor, condition: Condition = None) -> Prediction:
        """The guided prediction at x [B, ...], level [B]; without a condition, the denoiser's own."""
        given = dict(condition or {})
        weight = torch.as_tensor(given.pop(WEIGHT, self.weight), dtype=torch.float64, device=level.device)
        if not given.keys() - {ITEM}:
            return self.denoiser(x, level, given or None)
        if self.changes:
            check_continuous(x, "rescaling or projecting guidance")
        contrast = Contrast(within(weight, level, self.interval), self.changes)
        with_it, without = contrast.towards, contrast.away
        null = dict(self.null({n: v for n, v in given.items() if n != ITEM}) or {})
        if ITEM in given:  # the two rows of a sample are not one to a wrapper that remembers
            null[ITEM] = ~given[ITEM]
        merged = {n: torch.cat([v[with_it], null[n][without]]) for n, v in given.items()}
        rows = torch.cat([with_it, without])
        found = self.denoiser(map_leaves(lambda v: v[rows], x), level[rows], merged)
        count = len(with_it)
        return contrast.combined(x, level, _part(found, slice(count)), _part(found, slice(count, None)))


def projected(
    denoiser: Denoiser,
    weight: float | Tensor = 4.0,
    *,
    eta: float = 0.0,
    threshold: float | None = None,
    **options: Any,
) -> ClassifierFree:
    """Classifier-free guidance of which the part that makes the mean larger is left out: `projected.Projection`."""
    return ClassifierFree(denoiser, weight, projection=Projection(eta, threshold), **options)


def changes(rescale: float, projection: Projection | None) -> list[Change]:
    """What changes guided means: the difference projected, then the result rescaled."""
    made: list[Change] = [] if projection is None else [projection]
    return [*made, Rescale(rescale)] if rescale else made


def _part(found: Prediction, rows: slice) -> Prediction:
    """Some rows of a prediction."""

    def of(part: State | None) -> State | None:
        return None if part is None else map_leaves(lambda v: v[rows], part)

    return Prediction(
        map_leaves(lambda v: v[rows], found.mean), of(found.noise), of(found.variance), of(found.logits)
    )

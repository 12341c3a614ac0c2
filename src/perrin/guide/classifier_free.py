r"""Classifier-free guidance (Ho and Salimans 2022), on an interval of levels (Kynkaanniemi et al. 2024).

    mean = unconditional + w (conditional - unconditional)

w = 1 is no guidance, w = 0 ignores the condition; see `contrast`, of tokens as well. Intervals are in levels and do not
move with the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from perrin.denoise.ahead import AtLevel, ahead
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
        null: makes the unconditional condition of a conditional one; entries that it leaves out are for it alone.

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
        given, weight = self._told(level, condition)
        if not given.keys() - {ITEM}:
            return self.denoiser(x, level, given or None)
        contrast = self._contrast(x, within(weight, level, self.interval))
        merged, rows = self._merged(contrast, given), contrast.rows
        found = self.denoiser(map_leaves(lambda v: v[rows], x), level[rows], merged)
        return contrast.of_both(x, level, found)

    def ahead(self, levels: Tensor, x: State, condition: Condition = None) -> Sequence[AtLevel]:
        """The predictions at each of `levels` [T, B]; see `denoise.ahead`. Conditions of both branches are merged once."""
        given, weight = self._told(levels, condition)
        if not given.keys() - {ITEM}:
            return ahead(self.denoiser, levels, x, given or None)
        weights, every = within(weight, levels, self.interval), levels.unbind()
        found: dict[int, AtLevel] = {}
        for steps in _alike(weights):
            contrast = self._contrast(x, weights[steps[0]])
            rows, both = contrast.rows, contrast.every and isinstance(x, Tensor)
            part = map_leaves(lambda v, rows=rows: v[rows], x)
            merged = self._merged(contrast, given)
            inner = ahead(self.denoiser, levels[steps][:, rows], part, merged)
            for step, predict in zip(steps, inner, strict=True):
                found[step] = partial(_guided, contrast, every[step], predict, both)
        return [found[step] for step in range(len(every))]

    def _told(self, level: Tensor, condition: Condition) -> tuple[dict[str, Tensor], Tensor]:
        """The condition without the weight, and the weight."""
        given = dict(condition or {})
        weight = given.pop(WEIGHT, self.weight)
        return given, torch.as_tensor(weight, dtype=torch.float64, device=level.device)

    def _contrast(self, x: State, weight: Tensor) -> Contrast:
        if self.changes:
            check_continuous(x, "rescaling or projecting guidance")
        return Contrast(weight, self.changes)

    def _merged(self, contrast: Contrast, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """The condition of the rows of both branches."""
        null = dict(self.null({n: v for n, v in given.items() if n != ITEM}) or {})
        if ITEM in given:  # the two rows of a sample are not one to a wrapper that remembers
            null[ITEM] = ~given[ITEM]
        return {n: torch.cat([given[n][contrast.towards], v[contrast.away]]) for n, v in null.items()}


def _alike(weights: Tensor) -> list[list[int]]:
    """The steps [T] whose rows have the same weights [T, B]."""
    groups: dict[tuple[float, ...], list[int]] = {}
    for step, own in enumerate(weights.tolist()):
        groups.setdefault(tuple(own), []).append(step)
    return list(groups.values())


def _guided(contrast: Contrast, level: Tensor, predict: AtLevel, both: bool, x: State) -> Prediction:
    """One step whose prediction is prepared; `both`: all rows of a tensor are asked twice."""
    if both and isinstance(x, Tensor):
        return contrast.of_both(x, level, predict(torch.cat([x, x])))
    rows = contrast.rows
    return contrast.of_both(x, level, predict(map_leaves(lambda v: v[rows], x)))


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

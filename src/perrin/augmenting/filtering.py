"""Which synthetic items are kept: those that are no copies, are taken for their class, and are likely enough.

    copy        r(x) (`copying`) lies above a low quantile of that of held-out items
    class       a classifier of the real items gives the class that was asked for (on request)
    likelihood  the model's bound of log p(x | class) lies at or above a low quantile of that of held-out items

Thresholds are quantiles of real held-out items, so a filter drops about that share of a perfect model's items. The bound
is an average over few levels: noisy, and as noisy for held-out items. An item counts under the first reason that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perrin.augmenting.copying import nearness
from perrin.augmenting.finishing import finished
from perrin.augmenting.measuring import SHOWN
from perrin.augmenting.real import Part, Real
from perrin.densities import refuse_lossy
from perrin.errors import PerrinError
from perrin.evaluate import FeatureClassifier, train_classifier
from perrin.model import Model

REASONS = ("copy", "class", "likelihood")
MOST_HELD = 500  # held-out items that thresholds are measured on

Progress = Callable[[str, int, int], None]
"""(what is being done, done, in all)."""


@dataclass(frozen=True)
class Options:
    """What to drop.

    Attributes:
        likelihood, copies: quantiles of held-out items at or below which an item is dropped; 0 leaves the filter out.
        agree: whether a classifier of the real items must give the class that was asked for.
        samples: network evaluations of each item's bound.
    """

    likelihood: float = 0.02
    copies: float = 0.01
    agree: bool = False
    samples: int = 16

    def __post_init__(self) -> None:
        for name, share in (("likelihood", self.likelihood), ("copies", self.copies)):
            if not 0 <= share < 0.5:
                raise PerrinError(
                    f"{name} = {share} is a share of held-out items: from 0 (no filter) to below 0.5"
                )
        if self.samples < 2:
            raise PerrinError(f"samples = {self.samples}: the bound takes at least 2 evaluations an item")


def _refuse_without_likelihood(model: Model) -> None:
    if model.sampling.evaluated is not None:
        raise PerrinError(
            "a distilled model has no likelihood to filter by; leave it out with likelihood = 0"
        )
    try:
        refuse_lossy(model)
    except PerrinError as error:
        raise PerrinError(f"{error}; to draw without the filter give likelihood = 0") from error


class Filter:
    """The filters of one model and one set of real data. `thresholds`: what an item has to lie above, by filter."""

    def __init__(self, model: Model, real: Real, options: Options, progress: Progress) -> None:
        if options.likelihood:
            _refuse_without_likelihood(model)
        if options.agree and real.train.labels is None:
            raise PerrinError("agree needs data with classes; these have no labels")
        self.model, self.real, self.options, self.progress = model, real, options, progress
        self.indices = real.indices if model.codec.classes else None  # a classifier's are not the model's own
        self.thresholds = self._thresholds()

    def _thresholds(self) -> dict[str, float]:
        found = {}
        held = _some(self.real.held)
        if self.options.likelihood:
            values = finished(self.model.codec, self.model.codec.decode(held.states))
            found["likelihood"] = _quantile(
                self.bounds(values, held.labels, "held-out items"), self.options.likelihood
            )
        if self.options.copies:
            found["copy"] = _quantile(
                nearness(held.states, self.real.seen, among=True)[0], self.options.copies
            )
        return found

    def bounds(self, values: Sequence[np.ndarray], labels: Tensor | None, what: str) -> Tensor:
        """The bound of log p of each, in nats, float64; labels are those of the data."""
        told: Any = "own"
        if self.indices is not None and labels is not None:
            told = [-1 if label < 0 else self.indices[label] for label in labels.tolist()]
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self.progress(f"likelihood of {what}", done, len(values))

        found = self.model.log_prob(
            values, method="bound", samples=self.options.samples, label=told, progress=advance
        )
        return found.value

    def verdicts(
        self, states: Tensor, values: Sequence[np.ndarray], labels: Tensor | None
    ) -> tuple[list[str], Tensor]:
        """Why each item is dropped ("" for those that are kept), and the nearest of `real.seen` to each (-1 if unknown).

        The likelihood costs most by far, so it is asked last, of those that are still there.
        """
        found, nearest = [""] * len(states), torch.full((len(states),), -1)
        if self.options.copies:
            ratio, nearest = nearness(states, self.real.seen)
            found = _marked(found, ratio <= self.thresholds["copy"], "copy")
        if self.options.agree and labels is not None:
            found = _marked(found, self.reader.predict(states) != labels, "class")
        rest = [place for place, reason in enumerate(found) if not reason]
        if self.options.likelihood and rest:
            own = None if labels is None else labels[rest]
            bounds = self.bounds([values[place] for place in rest], own, "synthetic items")
            unlikely = torch.zeros(len(states), dtype=torch.bool)
            unlikely[rest] = ~(bounds >= self.thresholds["likelihood"])  # not a number is dropped too
            found = _marked(found, unlikely, "likelihood")
        return found, nearest

    @cached_property
    def reader(self) -> FeatureClassifier:
        """The classifier of the real items."""
        known = self.real.train.labels
        assert known is not None
        rows = known >= 0
        return train_classifier(self.real.train.states[rows], known[rows], shown=SHOWN)


def _marked(found: list[str], hit: Tensor, reason: str) -> list[str]:
    """The reasons, with this one where there was none."""
    return [old or (reason if new else "") for old, new in zip(found, hit.tolist(), strict=True)]


def _quantile(values: Tensor, share: float) -> float:
    values = values[torch.isfinite(values)]
    if not len(values):
        raise PerrinError(
            "no held-out item has a finite likelihood, so there is no threshold; use likelihood = 0"
        )
    return float(values.double().quantile(share))


def _some(part: Part) -> Part:
    """All items, or a fixed draw of so many."""
    if len(part) <= MOST_HELD:
        return part
    rows = torch.randperm(len(part), generator=torch.Generator().manual_seed(0))[:MOST_HELD]
    return Part(part.states[rows], None if part.labels is None else part.labels[rows])

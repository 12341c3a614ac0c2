"""Draws synthetic items, filters them, and draws again until there are enough of every class, or too many were dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perrin.augmenting.filtering import REASONS, Filter
from perrin.augmenting.finishing import finished
from perrin.errors import PerrinError
from perrin.model import Model
from perrin.process.state import single


@dataclass
class Drawn:
    """Items that were drawn, kept or dropped, in the order in which they were.

    Attributes:
        states: [n, *shape]; values: in the user's format; labels: index into the data's classes, or None.
        provenance: how each was made; reasons: why each was dropped, "" for those that were kept.
        nearest: index of the nearest real state of each, -1 where it was not looked for.
    """

    states: Tensor
    values: list[np.ndarray]
    labels: Tensor | None
    provenance: list[dict[str, Any]]
    reasons: list[str] = field(default_factory=list)
    nearest: Tensor | None = None

    def rows(self, kept: bool) -> list[int]:
        """Places of those that were kept, or of the others."""
        return [place for place, reason in enumerate(self.reasons) if (reason == "") == kept]

    def count(self, reason: str, label: int | None = None) -> int:
        """How many have this reason, of one class or of all."""
        of = (
            [True] * len(self.reasons)
            if label is None or self.labels is None
            else (self.labels == label).tolist()
        )
        return sum(one == reason and own for one, own in zip(self.reasons, of, strict=True))

    def joined(self, other: Drawn) -> Drawn:
        """These and then the others."""
        labels = (
            None if self.labels is None or other.labels is None else torch.cat([self.labels, other.labels])
        )
        nearest = (
            None
            if self.nearest is None or other.nearest is None
            else torch.cat([self.nearest, other.nearest])
        )
        return Drawn(
            torch.cat([self.states, other.states]),
            self.values + other.values,
            labels,
            self.provenance + other.provenance,
            self.reasons + other.reasons,
            nearest,
        )


def draw(
    model: Model,
    wanted: Sequence[int],
    filters: Filter,
    *,
    seed: int,
    most: float,
    drawing: Mapping[str, Any],
) -> Drawn:
    """So many of each class that pass, and all that did not.

    Args:
        wanted: of each class of the data, or one number without labels.
        most: how many times as many may be drawn; what is missing then stays missing.
        drawing: further options of `Model.sample`.

    Raises:
        PerrinError: nothing passes at all.
    """
    found: Drawn | None = None
    limit = round(most * sum(wanted))
    while True:
        missing = _missing(wanted, found)
        begun = 0 if found is None else len(found.values)
        labels = [label for label, count in enumerate(missing) for _ in range(count)][: limit - begun]
        if not labels:
            break
        more = _round(model, labels, filters, seed, begun, drawing)
        found = more if found is None else found.joined(more)
        if begun + len(labels) >= 2 * sum(wanted) and not found.rows(kept=True):
            break
    assert found is not None
    if not found.rows(kept=True):
        told = ", ".join(f"{found.count(r)} for {r}" for r in REASONS if found.count(r))
        raise PerrinError(
            f"all {len(found.values)} items that were drawn were dropped ({told}): the model's items are unlike the data; "
            "train it for longer, or loosen the filters"
        )
    return found


def _missing(wanted: Sequence[int], found: Drawn | None) -> list[int]:
    if found is None:
        return list(wanted)
    if found.labels is None:
        return [wanted[0] - found.count("")]
    return [count - found.count("", label) for label, count in enumerate(wanted)]


def _round(
    model: Model, labels: list[int], filters: Filter, seed: int, first: int, drawing: Mapping[str, Any]
) -> Drawn:
    """Items first, first + 1, ... of these classes, each with its verdict."""
    indices = filters.real.indices
    asked: dict[str, Any] = {} if indices is None else {"label": [indices[label] for label in labels]}

    def told(done: int, total: int) -> None:
        filters.progress("drawing", done, total)

    samples = model.sample(len(labels), seed=seed, first=first, progress=told, **asked, **drawing)
    states = single(samples.state)
    own = None if indices is None else torch.tensor(labels)
    values = finished(model.codec, samples.decoded)
    reasons, nearest = filters.verdicts(states, values, own)
    return Drawn(states, values, own, samples.provenance, reasons, nearest)

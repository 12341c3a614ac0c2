"""The dataset of every kind that reads items by index: some of the items of a source, in some order.

A source knows its files; a selection knows which of their items it holds. A split is two selections of one
source, so nothing is read or copied for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np

from perrin.contracts import Item
from perrin.errors import PerrinError
from perrin.kinds.labels import UNLABELLED


class Source(Protocol):
    """All the readable items behind a path. `labels` int64, -1 for an item without one; None: no labels."""

    @property
    def labels(self) -> np.ndarray | None: ...
    @property
    def classes(self) -> list[str] | None: ...
    def __len__(self) -> int: ...
    def read(self, index: int) -> Any: ...
    def name(self, index: int) -> str: ...


@dataclass(frozen=True)
class Selection:
    """Items `indices` of a source: the `Dataset` of the contracts.

    Args:
        source: where the items are read from.
        indices: int64, which items of the source, in the order of this dataset.
        facts: JSON-able, part of `description`.
        skipped: names of the broken items that were left out.
    """

    source: Source
    indices: np.ndarray
    facts: dict[str, Any]
    skipped: list[str]

    @property
    def classes(self) -> list[str] | None:
        """Class names, index = label; None without labels."""
        return self.source.classes

    @cached_property
    def labels(self) -> np.ndarray | None:
        """int64, one per item, -1 for an item without a label; None without labels."""
        labels = self.source.labels
        return None if labels is None else labels[self.indices]

    @property
    def description(self) -> dict[str, Any]:
        """JSON-able facts: path, count, sha256 of the content, licence where known, the split, if any."""
        return {**self.facts, "count": len(self), "classes": self.classes, "skipped": len(self.skipped)}

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Item:
        at = int(self.indices[index])
        labels = self.source.labels
        label = None if labels is None or labels[at] == UNLABELLED else int(labels[at])
        return {"value": self.source.read(at), "label": label, "name": self.source.name(at)}

    def take(self, positions: np.ndarray, **facts: Any) -> Self:
        """The items at these positions, in this order, with more facts in the description."""
        return replace(self, indices=self.indices[positions], facts={**self.facts, **facts})

    def split(self, held_out: float | int, seed: int) -> tuple[Self, Self]:
        """(training, held out), as scikit-learn's `train_test_split(test_size=held_out, random_state=seed)`.

        Stratified by label; the only item of a class cannot stand on both sides and stays in training. With
        fewer held-out items than classes the split is plainly random (`description["split"]` says which).

        Args:
            held_out: a share (float below 1) or a number of items (int); 0 holds nothing out.

        Raises:
            PerrinError: nothing would be left for training, or a share outside [0, 1).
        """
        everything = np.arange(len(self))
        if (isinstance(held_out, float) and not 0 <= held_out < 1) or not 0 <= held_out < len(self):
            raise PerrinError(
                f"cannot hold out {held_out!r} of {len(self):,} items; write a share below 1.0 or a number"
            )
        train, test, stratified = everything, everything[:0], False
        if held_out:
            train, test, stratified = _train_test(everything, self.labels, held_out, seed)
        facts = {"held_out": held_out, "seed": seed, "stratified": stratified}
        return self.take(train, split={"part": "train", **facts}), self.take(
            test, split={"part": "held out", **facts}
        )


def _train_test(
    everything: np.ndarray, labels: np.ndarray | None, held_out: float | int, seed: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    from sklearn.model_selection import train_test_split

    single = np.zeros(len(everything), bool)
    stratify = None
    if labels is not None:
        _, group, count = np.unique(labels, return_inverse=True, return_counts=True)
        single = count[group] == 1
        pool = int((~single).sum())
        size = int(np.ceil(held_out * pool)) if isinstance(held_out, float) else held_out
        groups = int((count > 1).sum())
        if 0 < groups <= size <= pool - groups:
            stratify = group[~single]
    if stratify is None:
        single[:] = False
    try:
        train, test = train_test_split(
            everything[~single], test_size=held_out, random_state=seed, stratify=stratify
        )
    except ValueError as error:
        raise PerrinError(f"cannot hold out {held_out!r} of {len(everything):,} items: {error}") from error
    return np.concatenate([train, everything[single]]), test, stratify is not None

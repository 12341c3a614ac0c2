"""Holding out of texts: whole documents where there are several, the tail of one that stands alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.selection import Selection, Source


@dataclass(frozen=True)
class Passage:
    """The characters `start` to `stop` of one document, as a source of one item."""

    source: Source
    index: int
    start: int
    stop: int

    def __len__(self) -> int:
        return 1

    @property
    def labels(self) -> np.ndarray | None:
        """[1], the document's; None without labels."""
        labels = self.source.labels
        return None if labels is None else labels[[self.index]]

    @property
    def classes(self) -> list[str] | None:
        """Class names, index = label."""
        return self.source.classes

    def name(self, index: int) -> str:
        """The document's, and which characters of it."""
        return f"{self.source.name(self.index)}[{self.start}:{self.stop}]"

    def read(self, index: int) -> str:
        """The passage."""
        text: str = self.source.read(self.index)
        return text[self.start : self.stop]


@dataclass(frozen=True)
class TextSelection(Selection):
    """A dataset of documents."""

    def split(self, held_out: float | int, seed: int) -> tuple[Self, Self]:
        """(training, held out): documents as in `Selection.split`; of a single one, its last characters.

        Passages of one text at random places would stand beside their own continuations in training.

        Args:
            held_out: a share, or a number of documents; of a single document a number of characters.

        Raises:
            PerrinError: nothing would be left for training.
        """
        if len(self) != 1 or not held_out:
            return super().split(held_out, seed)
        source, index = self.source, int(self.indices[0])
        if not isinstance(source, Passage):
            source = Passage(source, index, 0, len(source.read(index)))
        start, stop = source.start, source.stop
        size = stop - start
        count = round(held_out * size) if isinstance(held_out, float) else held_out
        if not 0 < count < size:
            raise PerrinError(
                f"cannot hold out {held_out!r} of a text of {size:,} characters; write a share below 1.0 or a number"
            )
        middle = stop - count
        facts = {"held_out": held_out, "seed": None, "stratified": False}  # nothing is random
        parts = (("train", start, middle), ("held out", middle, stop))
        train, test = (
            replace(
                self,
                source=Passage(source.source, source.index, a, b),
                indices=np.arange(1),
                facts={**self.facts, "characters": b - a, "split": {"part": part, **facts}},
            )
            for part, a, b in parts
        )
        return train, test

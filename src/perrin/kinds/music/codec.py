"""Tunes <-> states: the codec of texts (`kinds/text`) with the vocabulary of `spelling`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from perrin.contracts import Dataset
from perrin.errors import PerrinError
from perrin.kinds.music import saving
from perrin.kinds.music.roll import piano_rolls
from perrin.kinds.music.spelling import Notes
from perrin.kinds.selection import Selection
from perrin.kinds.text.codec import quantiles
from perrin.kinds.text.whole import WholeTextCodec
from perrin.kinds.text.windows import windows
from perrin.registry import unknown

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class MusicCodec(WholeTextCodec):
    """Codec of the kind `music` (`contracts.Codec`): a tune is one text, and its values are ABC.

    Args:
        context: the most tokens that a tune may have.
        classes: class names, index = label; None for data without labels.
        vocabulary: ABC <-> tokens.
        lengths: of the training tunes in tokens, sorted, all of them or their quantiles.
    """

    vocabulary: Notes

    kind: ClassVar[str] = "music"

    @classmethod
    def fit(  # type: ignore[override]  # the options of another vocabulary
        cls, dataset: Dataset, *, context: int = 300, chords: bool = False, labels: bool = True
    ) -> Self:
        """Choose the vocabulary from the training tunes, and measure how long they are.

        Args:
            context: tokens of a state, one for each eighth and each bar line; longer tunes are left out.
            chords: keep the chord symbols above the notes, as tokens of their own.
            labels: False makes states without a condition; the data keep their labels, for splits and judging.

        Raises:
            PerrinError: an empty dataset, or tunes that are all longer than the context.
        """
        if not len(dataset):
            raise PerrinError("the dataset is empty")
        vocabulary = Notes.of((dataset[i]["value"] for i in range(len(dataset))), chords)
        codec = cls(context, dataset.classes if labels else None, vocabulary, [context])
        lengths = np.sort([len(codec.tokens(dataset[i]["value"])) for i in range(len(dataset))])
        if lengths[0] > context:
            raise PerrinError(f"context = {context} is too short: the shortest tune has {lengths[0]} tokens")
        return cls(context, codec.classes, vocabulary, quantiles(lengths[lengths <= context]))

    def cut(self, dataset: Dataset) -> Selection:
        """The tunes that fit the context, as tokens; longer ones are left out (`description["longer"]`)."""
        labels, names = list[int | None](), list[str]()

        def fitting() -> Iterator[np.ndarray]:
            for index in range(len(dataset)):
                item = dataset[index]
                tokens = self._tokenised(item).tokens
                if len(tokens) <= self.context:
                    labels.append(item["label"])
                    names.append(item["name"])
                    yield tokens

        made = windows(fitting(), names, labels, dataset.classes, self.context, self.vocabulary.dtype)
        facts = {"tokens": len(made.tokens), "longer": len(dataset) - len(made)}
        return Selection(made, np.arange(len(made)), {**dataset.description, **facts}, list(dataset.skipped))

    def save(self, decoded: Sequence[str], path: Path, provenance: Sequence[dict[str, Any]]) -> list[Path]:
        """Write tunes with their provenance as ABC, MIDI, sound or picture; see `saving.save_tunes`."""
        return saving.save_tunes(decoded, Path(path), provenance, self.classes)

    def picture(self, decoded: Sequence[str], columns: int | None = None) -> Image | None:
        """A piano roll of each tune that can be read, below one another; None if none can."""
        return piano_rolls(decoded, columns)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The codec that wrote this `config()`."""
        options = {key: value for key, value in config.items() if key != "kind"}
        for key in options:
            if key not in cls.__dataclass_fields__:
                raise unknown("codec option", key, cls.__dataclass_fields__)
        made = {key: value for key, value in options.pop("vocabulary").items() if key != "level"}
        return cls(**options, vocabulary=Notes(tuple(made["known"]), made["symbols"]))

"""Texts <-> states: tokens 0 .. K - 1 in int64 [B, L], -1 where a shorter text has no position.

A state of the masked process also holds K, "not known yet", which is shown as a shade. Documents that are longer than
the context are cut into windows (`windows`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from perrin.contracts import Batch, Dataset, Item
from perrin.errors import PerrinError
from perrin.kinds.conditions import label_condition
from perrin.kinds.labels import find_label
from perrin.kinds.selection import Selection
from perrin.kinds.text import saving
from perrin.kinds.text.choosing import choose_vocabulary
from perrin.kinds.text.page import save_page
from perrin.kinds.text.patterns import infilled, prompted
from perrin.kinds.text.vocabularies import Characters, Level, Vocabulary, vocabulary_of
from perrin.kinds.text.windows import Window, crop, windows
from perrin.process.categorical import ABSENT
from perrin.registry import unknown

if TYPE_CHECKING:
    from PIL.Image import Image

SHADE = "\N{LIGHT SHADE}"  # a token that is not known yet
QUANTILES = 101


@dataclass(frozen=True)
class TextCodec:
    """Codec of the kind `text` (`contracts.Codec`).

    Args:
        context: the most tokens that a state has.
        classes: class names, index = label; None for data without labels.
        vocabulary: text <-> tokens.
        lengths: of the training texts in tokens, at most the context; sorted, all of them or their quantiles.
    """

    context: int
    classes: list[str] | None
    vocabulary: Vocabulary
    lengths: list[int]

    kind: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        if self.context < 1:
            raise PerrinError(f"context = {self.context} must be at least 1 token")

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        *,
        level: Level | None = None,
        context: int = 256,
        vocabulary: int | str | None = None,
        tokenizer: str | None = None,
        labels: bool = True,
    ) -> Self:
        """Choose the vocabulary from the training texts, and measure how long they are.

        Args:
            level: "character" (those of the training texts), "byte" or "bpe" (pieces, extra `text`); default
                "character", or "bpe" with a tokenizer.
            context: tokens of a state; longer documents are cut into windows.
            vocabulary: of bpe, how many tokens to train (1,024); of characters, further ones that the training texts
                lack.
            tokenizer: the `tokenizer.json` of a byte-level BPE, in the place of training one.
            labels: False makes states without a condition; the data keep their labels, for splits and judging.

        Raises:
            PerrinError: an empty dataset, options that do not go together, a tokenizer of another size.
        """
        if not len(dataset):
            raise PerrinError("the dataset is empty")
        made = choose_vocabulary(dataset, level, vocabulary, tokenizer)
        codec = cls(context, dataset.classes if labels else None, made, [context])
        return replace(codec, lengths=codec._measured(dataset))

    def _measured(self, dataset: Dataset) -> list[int]:
        return quantiles([self._length(dataset[i]) for i in range(len(dataset))])

    def _length(self, item: Item) -> int:
        """Tokens of a document, at most the context; of a long one no more is read than tells that."""
        text, where, most = item["value"], f"'{item['name']}'", 16 * self.context
        if not isinstance(text, str):
            return min(self.context, len(_window(text).tokens))
        short = len(self.vocabulary.encode(text[:most], where))
        if short < self.context and len(text) > most:
            short = len(self.vocabulary.encode(text, where))
        return min(self.context, short)

    @property
    def shape(self) -> tuple[int, ...]:
        """(context,): the longest state."""
        return (self.context,)

    @property
    def categories(self) -> int:
        """The size K of the vocabulary."""
        return self.vocabulary.size

    @property
    def sigma_data(self) -> float:
        """1: tokens have no scale."""
        return 1.0

    @property
    def lattice(self) -> None:
        """None: tokens are names and no numbers."""
        return None

    @property
    def augments(self) -> bool:
        """Whether seeds change what `encode` gives: where a text is cropped."""
        return True

    def length(self, u: float) -> int:
        """The quantile `u` in [0, 1] of the lengths of the training texts, in tokens."""
        return self.lengths[min(len(self.lengths) - 1, max(0, int(u * len(self.lengths))))]

    def tokens(self, text: str, where: str = "the text") -> np.ndarray:
        """The tokens of a text, int64.

        Raises:
            PerrinError: a character outside the vocabulary; which, where, and the nearest inside.
        """
        return self.vocabulary.encode(text, where).astype(np.int64)

    def text(self, tokens: Sequence[int] | np.ndarray | Tensor) -> str:
        """The text of tokens [L]; those not known yet are shown as a shade, absent ones not at all."""
        return "".join(self.pieces(tokens))

    def pieces(self, tokens: Sequence[int] | np.ndarray | Tensor) -> list[str]:
        """What each position [L] adds to the text; "" for one that is absent."""
        row = _integers(tokens)
        bad = np.flatnonzero((row < ABSENT) | (row > self.categories))
        if len(bad):
            raise PerrinError(
                f"token {row[bad[0]]} at position {bad[0]} is none of this codec's {self.categories:,}"
            )
        found = [SHADE if token == self.categories else "" for token in row.tolist()]
        present = (row >= 0) & (row < self.categories)
        edges = np.flatnonzero(np.diff(np.r_[False, present, False]))
        for start, stop in edges.reshape(-1, 2).tolist():
            found[start:stop] = self.vocabulary.pieces(row[start:stop])
        return found

    def encode(self, items: Sequence[Item], seeds: Sequence[int] | None = None) -> Batch:
        """Texts, their tokens or windows to states int64 [B, context], padded with -1.

        Of an item longer than the context a crop that is a function of its seed alone; without seeds its beginning.
        """
        state = np.full((len(items), self.context), ABSENT, np.int64)
        chosen = seeds if seeds is not None else [None] * len(items)
        for row, item, seed in zip(state, items, chosen, strict=True):
            shown = crop(self._tokenised(item), self.context, seed)
            row[: len(shown)] = shown
        return Batch(torch.from_numpy(state), label_condition(items, self.classes))

    def _tokenised(self, item: Item) -> Window:
        value = item["value"]
        if isinstance(value, str):
            return Window(self.vocabulary.encode(value, f"'{item['name']}'"), 0)
        window = _window(value)
        if (
            len(window.tokens)
            and not 0 <= int(window.tokens.min()) <= int(window.tokens.max()) < self.categories
        ):
            raise PerrinError(f"{item['name']} holds tokens outside this codec's 0 .. {self.categories - 1}")
        return window

    def decode(self, state: Tensor) -> list[str]:
        """States [B, L] to texts; see `text`."""
        return [self.text(row) for row in state]

    def cut(self, dataset: Dataset) -> Selection:
        """The dataset as windows that fit the context; a document that fits stays whole. See `windows`.

        Raises:
            PerrinError: a character outside the vocabulary; which, where, and what to do.
        """
        labels, names = list[int | None](), list[str]()

        def documents() -> Iterator[np.ndarray]:
            for index in range(len(dataset)):
                item = dataset[index]
                labels.append(item["label"])
                names.append(item["name"])
                yield self._to_cut(item)

        made = windows(documents(), names, labels, dataset.classes, self.context, self.vocabulary.dtype)
        facts = {**dataset.description, "documents": len(dataset), "tokens": len(made.tokens)}
        return Selection(made, np.arange(len(made)), facts, list(dataset.skipped))

    def _to_cut(self, item: Item) -> np.ndarray:
        try:
            return self._tokenised(item).tokens
        except PerrinError as error:
            if not isinstance(self.vocabulary, Characters):
                raise
            raise PerrinError(
                f'{error}; add such characters to the codec\'s (vocabulary: "..."), or write level: byte, which has all'
            ) from error

    def known(self, prompt: str, length: int | None = None) -> Tensor:
        """The state of a prompt and of what is to be drawn after it, int64 [length]; K marks what is to be drawn.

        Args:
            length: tokens in all, also more than the context; default: the context.

        Raises:
            PerrinError: a prompt longer than the context or the length, characters outside the vocabulary.
        """
        size = self.context if length is None else length
        return prompted(prompt, size, self.tokens, self.categories, self.context)

    def infill(self, pattern: str, gap: int | None = None) -> Tensor:
        """The state of a pattern whose gaps are to be drawn, int64 [L]; see `patterns.infilled`.

        Raises:
            PerrinError: no gap (a run of three or more underscores), a pattern longer than the context, characters
                outside the vocabulary.
        """
        return infilled(pattern, gap, self.tokens, self.categories, self.context)

    def save(self, decoded: Sequence[str], path: Path, provenance: Sequence[dict[str, Any]]) -> list[Path]:
        """Write texts with their provenance; see `saving.save_texts`."""
        return saving.save_texts(decoded, Path(path), provenance, self.classes)

    def picture(self, decoded: Sequence[str], columns: int | None = None) -> Image | None:
        """None: a text is read."""
        return None

    def save_trajectory(
        self, states: Sequence[Tensor], path: str | Path, provenance: Sequence[dict[str, Any]]
    ) -> Path:
        """Write the HTML page of the states [B, L] at the start and after every step; see `page.save_page`."""
        frames = [[self.pieces(row) for row in state] for state in states]
        return save_page(frames, path, {"items": [dict(made) for made in provenance]}, unknown=SHADE)

    def label(self, name: str | int) -> int:
        """The index of a class by its name, or by its index; the nearest name in the error."""
        return find_label(self.classes, name)

    def log_det(self) -> float:
        """0: tokens are counted, not measured."""
        return 0.0

    def config(self) -> dict[str, Any]:
        """JSON-able, complete."""
        return {
            "kind": self.kind,
            "context": self.context,
            "classes": self.classes,
            "vocabulary": self.vocabulary.config(),
            "lengths": self.lengths,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The codec that wrote this `config()`."""
        options = {key: value for key, value in config.items() if key != "kind"}
        for key in options:
            if key not in cls.__dataclass_fields__:
                raise unknown("codec option", key, cls.__dataclass_fields__)
        return cls(**{**options, "vocabulary": vocabulary_of(config["vocabulary"])})


def quantiles(lengths: Sequence[int] | np.ndarray) -> list[int]:
    """Lengths in their order, or, of many, their quantiles; one where all are equal."""
    found = np.sort(lengths)
    if len(found) > QUANTILES:
        places = (np.arange(QUANTILES) + 0.5) / QUANTILES
        found = np.quantile(found, places, method="inverted_cdf")
    return [int(length) for length in found] if found[0] < found[-1] else [int(found[0])]


def _window(value: Any) -> Window:
    return value if isinstance(value, Window) else Window(_integers(value), 0)


def _integers(tokens: Any) -> np.ndarray:
    row = tokens.detach().cpu().numpy() if isinstance(tokens, Tensor) else np.asarray(tokens)
    if row.ndim != 1 or (row.dtype.kind not in "iu" and len(row)):
        raise PerrinError(f"tokens are whole numbers [L], not {row.dtype} {list(row.shape)}")
    return row.astype(np.int64)

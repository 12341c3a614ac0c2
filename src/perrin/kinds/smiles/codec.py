"""Molecules <-> states: the codec of texts (`kinds/text`) with the vocabularies of `symbols`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from torch import Tensor

from perrin.contracts import Batch, Dataset, Item
from perrin.errors import PerrinError
from perrin.kinds.selection import Selection
from perrin.kinds.smiles import saving
from perrin.kinds.smiles.opening import Molecules
from perrin.kinds.smiles.parsing import canonical
from perrin.kinds.smiles.rows import Rows, rows
from perrin.kinds.smiles.symbols import Spelling, Symbols, spelling_of
from perrin.kinds.text.codec import quantiles
from perrin.kinds.text.patterns import infilled, prompted
from perrin.kinds.text.whole import WholeTextCodec
from perrin.kinds.text.windows import Window, windows
from perrin.registry import unknown

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class SmilesCodec(WholeTextCodec):
    """Codec of the kind `smiles` (`contracts.Codec`): a molecule is one text, and its values are canonical SMILES.

    Args:
        context: the most symbols that a molecule may have.
        classes: class names, index = label; None for data without labels.
        vocabulary: SMILES <-> tokens.
        lengths: of the training molecules in symbols, sorted, all of them or their quantiles.
    """

    vocabulary: Symbols

    kind: ClassVar[str] = "smiles"

    @classmethod
    def fit(  # type: ignore[override]  # the options of another vocabulary
        cls,
        dataset: Dataset,
        *,
        spelling: Spelling = "selfies",
        context: int | None = None,
        labels: bool = True,
    ) -> Self:
        """Choose the vocabulary from the training molecules, and measure how long they are.

        Args:
            spelling: "selfies", in which every row of symbols is a molecule, or "smiles", in which few are.
            context: symbols of a state; longer molecules are left out. Default: the longest one's.
            labels: False makes states without a condition; the data keep their labels, for splits and judging.

        Raises:
            PerrinError: an empty dataset, no molecule that can be spelled, or none that fits the context.
        """
        if not len(dataset):
            raise PerrinError("the dataset is empty")
        vocabulary = spelling_of(spelling)
        split, indices = _split(dataset, spelling)
        spelled = [split[i] for i in indices if i not in split.faults]
        if not spelled:
            raise PerrinError(f"no molecule can be spelled: {split.faults[indices[0]]}")
        lengths = np.array([len(row) for row in spelled])
        context = int(lengths.max()) if context is None else context
        if lengths.min() > context:
            raise PerrinError(
                f"context = {context} is too short: the shortest molecule has {lengths.min()} symbols"
            )
        used = np.unique(np.concatenate([row for row in spelled if len(row) <= context]))
        symbols = tuple(sorted(split.symbols[token] for token in used))
        classes = dataset.classes if labels else None
        return cls(context, classes, vocabulary(symbols), quantiles(lengths[lengths <= context]))

    def tokens(self, text: str, where: str = "the SMILES") -> np.ndarray:
        """The tokens of a molecule, int64, in the order of its canonical SMILES, as in training.

        Raises:
            PerrinError: no molecule, or a symbol outside the vocabulary; which, and the nearest inside.
        """
        return super().tokens(canonical(text, where), where)

    def _tokenised(self, item: Item) -> Window:
        value = item["value"]
        return (
            Window(self.tokens(value, item["name"]), 0)
            if isinstance(value, str)
            else super()._tokenised(item)
        )

    def cut(self, dataset: Dataset) -> Selection:
        """The molecules that fit, as tokens. What does not is left out and counted: `longer` ones, and those with
        symbols `outside` the vocabulary or that cannot be spelled, the first of them in `outside_example`."""
        split, indices = _split(dataset, self.vocabulary.level)
        table = np.array([self.vocabulary.index.get(symbol, -1) for symbol in split.symbols], np.int64)
        labels, names, left = list[int | None](), list[str](), Counter[str](longer=0, outside=0)
        example = ""

        def fitting() -> Iterator[np.ndarray]:
            nonlocal example
            for at, index in enumerate(indices):
                tokens = table[split[index]]
                outside = index in split.faults or bool((tokens < 0).any())
                if outside or len(tokens) > self.context:
                    left["outside" if outside else "longer"] += 1
                    example = example or (dataset[at]["name"] if outside else "")
                    continue
                item = dataset[at]
                labels.append(item["label"])
                names.append(item["name"])
                yield tokens

        made = windows(fitting(), names, labels, dataset.classes, self.context, self.vocabulary.dtype)
        facts = {**dataset.description, "tokens": len(made.tokens), **left, "outside_example": example}
        return Selection(made, np.arange(len(made)), facts, list(dataset.skipped))

    def known(self, prompt: str, length: int | None = None) -> Tensor:
        """The state of a molecule's beginning and of what is to be drawn after it, int64 [length]; see `TextCodec`.

        Args:
            prompt: a SMILES, whose last atom goes on; its atoms stay in their order.
            length: symbols in all; default: the median of those training molecules that are longer than the prompt.

        Raises:
            PerrinError: no molecule, one longer than the context or the length, symbols outside the vocabulary.
        """
        if length is None:
            given = len(self.vocabulary.encode(prompt, "the prompt"))
            longer = [size for size in self.lengths if size > given]
            length = longer[len(longer) // 2] if longer else self.context
        return prompted(prompt, length, self.vocabulary.encode, self.categories, self.context)

    def infill(self, pattern: str, gap: int | None = None) -> Tensor:
        """The state of fragments with gaps that are to be drawn between them, int64 [L]; see `patterns.infilled`.

        Raises:
            PerrinError: no gap, a fragment that is no molecule, more symbols than the context has.
        """
        return infilled(pattern, gap, self._fragment, self.categories, self.context)

    def _fragment(self, smiles: str, where: str) -> np.ndarray:
        return self.vocabulary.encode(smiles, where) if smiles else np.empty(0, np.int64)

    def encode(self, items: Sequence[Item], seeds: Sequence[int] | None = None) -> Batch:
        """SMILES or their tokens to states int64 [B, context], padded with -1; see `TextCodec.encode`.

        Raises:
            PerrinError: no molecule, or a symbol outside the vocabulary: whose, which, and the nearest inside.
        """
        with self.vocabulary.spelling():
            return super().encode(items, seeds)

    def decode(self, state: Tensor) -> list[str]:
        """States [B, L] to canonical SMILES; see `text`."""
        with self.vocabulary.spelling():
            return super().decode(state)

    def save(self, decoded: Sequence[str], path: Path, provenance: Sequence[dict[str, Any]]) -> list[Path]:
        """Write molecules with their provenance; see `saving.save_smiles`."""
        return saving.save_smiles(decoded, Path(path), provenance, self.classes)

    def picture(self, decoded: Sequence[str], columns: int | None = None) -> Image | None:
        """A sheet of drawings of those that are molecules; None where there are none."""
        return saving.drawings(decoded, columns)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The codec that wrote this `config()`."""
        options = {key: value for key, value in config.items() if key != "kind"}
        for key in options:
            if key not in cls.__dataclass_fields__:
                raise unknown("codec option", key, cls.__dataclass_fields__)
        made = options.pop("vocabulary")
        return cls(**options, vocabulary=spelling_of(made["level"])(tuple(made["symbols"])))


def _split(dataset: Dataset, spelling: str) -> tuple[Rows, list[int]]:
    """The symbols of a dataset's molecules, and which row is whose: of a part of a file those of the whole."""
    source = getattr(dataset, "source", None)
    if isinstance(source, Molecules) and isinstance(dataset, Selection):
        return rows(source.texts, spelling), dataset.indices.tolist()
    items = [dataset[i] for i in range(len(dataset))]
    return rows([canonical(item["value"], item["name"]) for item in items], spelling), list(range(len(items)))

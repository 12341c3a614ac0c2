"""The vocabulary that suits training texts: their characters, bytes, or pieces that are trained on them or given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from perrin.contracts import Dataset
from perrin.errors import PerrinError
from perrin.kinds.text.byte_pairs import read_byte_pairs, train_byte_pairs
from perrin.kinds.text.vocabularies import Bytes, Characters, Level, Vocabulary
from perrin.registry import unknown

BPE_TOKENS = 1_024


def choose_vocabulary(
    dataset: Dataset, level: Level | None, wanted: int | str | None, tokenizer: str | None
) -> Vocabulary:
    """The vocabulary of a level for training texts; see `TextCodec.fit` for the options.

    Raises:
        PerrinError: options that do not go together, a tokenizer of another size, items that are no texts.
    """
    level = level or ("character" if tokenizer is None else "bpe")
    if level not in get_args(Level):
        raise unknown("level", level, get_args(Level))
    if tokenizer is not None and level != "bpe":
        raise PerrinError(f"a tokenizer goes with level: bpe, not with {level}")
    count = wanted if isinstance(wanted, int) else None
    further = wanted if isinstance(wanted, str) else ""
    if (count is not None and level != "bpe") or (further and level != "character"):
        raise PerrinError(
            f"vocabulary: {wanted!r} does not go with level {level}; it is a number of tokens for bpe, "
            "further characters for character, nothing for byte"
        )
    if level == "byte":
        return Bytes()
    if level == "character":
        characters = set(further)
        for text in _texts(dataset):
            characters |= set(text)
        return Characters("".join(sorted(characters)))
    if tokenizer is not None:
        return read_byte_pairs(tokenizer, count)
    return train_byte_pairs(_texts(dataset), BPE_TOKENS if count is None else count)


def _texts(dataset: Dataset) -> Iterator[str]:
    for index in range(len(dataset)):
        value = dataset[index]["value"]
        if not isinstance(value, str):
            raise PerrinError(f"{dataset[index]['name']} is {type(value).__name__}, not a text")
        yield value

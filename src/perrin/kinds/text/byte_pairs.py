"""Byte-pair encoding over bytes: frequent runs of bytes become tokens, so that no character is outside.

Sennrich, Haddow and Birch 2016 (arXiv:1508.07909); over bytes: Radford et al. 2019 (GPT-2). The merges are trained
and applied by the library `tokenizers` (extra `text`); its whole file is kept as text in the codec's config.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.text.outside import not_encodable
from perrin.kinds.text.vocabularies import Level, Vocabulary, blocks

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LEAST = 256  # the bytes themselves


@dataclass(frozen=True)
class BytePairs(Vocabulary):
    """The tokens of a byte-level tokenizer.

    Args:
        count: how many tokens there are.
        tokenizer: the text of its `tokenizer.json`.
    """

    count: int
    tokenizer: str = field(repr=False)

    level: ClassVar[Level] = "bpe"

    def __post_init__(self) -> None:
        if len(self.spellings) != self.count:
            raise PerrinError(
                f"the tokenizer has {len(self.spellings):,} tokens and this vocabulary {self.count:,}: "
                "it is another one's"
            )

    @cached_property
    def spellings(self) -> Sequence[bytes]:
        """The bytes of each token, read from the file, so that decoding needs no library."""
        return spellings(self.tokenizer)

    @cached_property
    def _library(self) -> Tokenizer:
        need_tokenizers("this model's vocabulary")
        from tokenizers import Tokenizer

        made = Tokenizer.from_str(self.tokenizer)
        made.no_truncation()
        made.no_padding()
        return made

    def encode(self, text: str, where: str = "the text") -> np.ndarray:
        """Tokens of a text, a block at a time; a tokenizer that does not give the text back is refused."""
        parts = [np.empty(0, self.dtype)]
        for block in blocks(text):
            try:
                tokens = np.array(self._library.encode(block, add_special_tokens=False).ids, self.dtype)
            except (UnicodeEncodeError, TypeError) as error:
                at = next((i for i, c in enumerate(text) if "\ud800" <= c <= "\udfff"), 0)
                raise PerrinError(not_encodable(text, at, where)) from error
            back = self.decode(tokens)
            if back != block:
                raise PerrinError(_changed(block, back, where))
            parts.append(tokens)
        return np.concatenate(parts)

    def config(self) -> dict[str, Any]:
        """The level, the number of tokens and the tokenizer's file."""
        return {"level": self.level, "count": self.count, "tokenizer": self.tokenizer}


def train_byte_pairs(texts: Iterable[str], size: int) -> BytePairs:
    """A vocabulary of `size` tokens (fewer where the texts do not hold so many), a function of the texts alone.

    Raises:
        PerrinError: fewer tokens than bytes, or no library.
    """
    if size < LEAST:
        raise PerrinError(
            f"vocabulary {size} is smaller than the {LEAST} bytes that byte-pair encoding begins with"
        )
    need_tokenizers("level bpe")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, show_progress=False, special_tokens=[]
    )
    made.train_from_iterator((block for text in texts for block in blocks(text)), trainer)
    return BytePairs(made.get_vocab_size(), made.to_str())


def read_byte_pairs(path: str | Path, size: int | None = None) -> BytePairs:
    """The vocabulary of a `tokenizer.json`.

    Args:
        size: how many tokens it must have, where that is known.

    Raises:
        PerrinError: no such file, no tokenizer, one that is not byte-level, or one of another size.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PerrinError(f"cannot read the tokenizer '{path}': {error}") from error
    found = len(spellings(text, f"'{path}'"))
    if size is not None and size != found:
        raise PerrinError(
            f"'{path}' has {found:,} tokens and the vocabulary is to have {size:,}: give one of them"
        )
    return BytePairs(found, text)


def need_tokenizers(what: str) -> None:
    """Refuse where the library is missing, naming what needs it."""
    if find_spec("tokenizers") is None:
        raise PerrinError(f"{what} needs the library tokenizers: pip install 'perrin[text]'")


def spellings(tokenizer: str, where: str = "the tokenizer") -> list[bytes]:
    """The bytes of each token of a byte-level `tokenizer.json`; none for a number that no token has.

    Raises:
        PerrinError: not JSON, not byte-pair encoding, or one whose tokens are not bytes.
    """
    try:
        held = json.loads(tokenizer)
        model, added, decoder = held["model"], held.get("added_tokens") or [], held.get("decoder") or {}
        vocabulary = dict(model["vocab"])
    except (ValueError, KeyError, TypeError) as error:
        raise PerrinError(f"{where} is no tokenizer.json of the library tokenizers") from error
    if model.get("type", "BPE") != "BPE" or "ByteLevel" not in set(_types(decoder)):
        raise PerrinError(
            f"{where} is no byte-level BPE ({model.get('type')}, decoder {' and '.join(_types(decoder)) or 'none'}), so "
            "characters would be lost; take a byte-level one, such as GPT-2's, or let Perrin train one"
        )
    byte_of = {character: value for value, character in enumerate(byte_characters())}
    special = {token["content"]: int(token["id"]) for token in added}
    found = [b""] * (1 + max([*vocabulary.values(), *special.values()], default=-1))
    for content, token in vocabulary.items():
        if content not in special:
            found[token] = bytes(byte_of[character] for character in content if character in byte_of)
    for content, token in special.items():
        found[token] = content.encode()
    return found


def _types(decoder: dict[str, Any]) -> Iterator[str]:
    yield str(decoder.get("type"))
    for inner in decoder.get("decoders", []):
        yield from _types(inner)


def byte_characters() -> list[str]:
    """The character that writes each byte in a byte-level vocabulary.

    Bytes that are printable in Latin-1 write themselves; the others, in their order, are U+0100, U+0101, ...
    """
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(value if value in printable else next(others)) for value in range(256)]


def _changed(text: str, back: str, where: str) -> str:
    at = next(
        (i for i, (a, b) in enumerate(zip(text, back, strict=False)) if a != b), min(len(text), len(back))
    )
    cut = slice(max(0, at - 8), at + 8)
    return (
        f"the tokenizer does not give back {where}: {text[cut]!r} becomes {back[cut]!r}; take one that neither "
        "normalises text nor adds spaces to it"
    )

"""Text <-> tokens, the whole numbers 0 .. K - 1: characters, bytes, or pieces of byte-pair encoding.

Every token is spelled by some bytes of UTF-8, so that decoding is the same for all vocabularies: the spellings in a
row. Only a character vocabulary has characters outside; bytes can spell everything.
"""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.text.outside import not_encodable, outside
from perrin.registry import unknown

Level = Literal["character", "byte", "bpe"]

_BLOCK = 1 << 20  # characters looked up at once, so that the table's answers never fill the memory


class Vocabulary(ABC):
    """A set of tokens; equal to another that has the same `config()`."""

    level: ClassVar[Level]

    @property
    @abstractmethod
    def spellings(self) -> Sequence[bytes]:
        """The bytes of each token, index = token."""

    @abstractmethod
    def encode(self, text: str, where: str = "the text") -> np.ndarray:
        """Tokens of a text, in the smallest type that holds them all.

        Args:
            where: what the text is, for messages.

        Raises:
            PerrinError: a character that no token spells; which, and where.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """JSON-able, complete; `vocabulary_of(config())` is the same vocabulary."""

    @property
    def size(self) -> int:
        """How many tokens there are, K."""
        return len(self.spellings)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest type of unsigned integers that holds every token."""
        return np.min_scalar_type(max(0, self.size - 1))

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The text that the tokens spell; bytes that are no UTF-8 become U+FFFD."""
        spellings = self.spellings
        return b"".join([spellings[token] for token in np.asarray(tokens).tolist()]).decode(errors="replace")

    def pieces(self, tokens: Sequence[int] | np.ndarray) -> list[str]:
        """What each token adds to the text: joined they are `decode`.

        A character of several tokens stands where its last one is, and the others add nothing.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        found = [decoder.decode(self.spellings[token]) for token in np.asarray(tokens).tolist()]
        if found:
            found[-1] += decoder.decode(b"", final=True)
        return found


@dataclass(frozen=True)
class Characters(Vocabulary):
    """One token for each of these characters, in their order."""

    characters: str

    level: ClassVar[Level] = "character"

    def __post_init__(self) -> None:
        if not self.characters or len(set(self.characters)) < len(self.characters):
            raise PerrinError(f"a vocabulary of {len(self.characters)} characters is empty or repeats some")

    @cached_property
    def spellings(self) -> Sequence[bytes]:
        """UTF-8 of each character."""
        return [character.encode() for character in self.characters]

    @cached_property
    def _table(self) -> np.ndarray:
        """Token of a code point; K for one that has none, as for all above the highest."""
        points = [ord(character) for character in self.characters]
        table = np.full(max(points) + 2, self.size, np.min_scalar_type(self.size))
        table[points] = np.arange(self.size)
        return table

    def encode(self, text: str, where: str = "the text") -> np.ndarray:
        """A token for each character."""
        tokens = np.empty(len(text), self.dtype)
        for start in range(0, len(text), _BLOCK):
            block = text[start : start + _BLOCK].encode("utf-32-le", "surrogatepass")
            points = np.frombuffer(block, "<u4")
            found = self._table[np.minimum(points, len(self._table) - 1)]
            if bool((found == self.size).any()):
                raise PerrinError(outside(text, self.characters, where))
            tokens[start : start + len(found)] = found
        return tokens

    def config(self) -> dict[str, Any]:
        """The level and the characters."""
        return {"level": self.level, "characters": self.characters}


@dataclass(frozen=True)
class Bytes(Vocabulary):
    """The 256 bytes of UTF-8: no character is outside, and most of another script than Latin take two or three."""

    level: ClassVar[Level] = "byte"

    @cached_property
    def spellings(self) -> Sequence[bytes]:
        """The bytes themselves."""
        return [bytes([value]) for value in range(256)]

    def encode(self, text: str, where: str = "the text") -> np.ndarray:
        """A token for each byte."""
        try:
            return np.frombuffer(text.encode(), np.uint8)
        except UnicodeEncodeError as error:
            raise PerrinError(not_encodable(text, error.start, where)) from error

    def config(self) -> dict[str, Any]:
        """The level."""
        return {"level": self.level}


def vocabulary_of(config: dict[str, Any]) -> Vocabulary:
    """The vocabulary of a saved `config()`.

    Raises:
        PerrinError: a level that is not known, or a tokenizer of another size than the config says.
    """
    from perrin.kinds.text.byte_pairs import BytePairs

    kinds: dict[str, type[Vocabulary]] = {kind.level: kind for kind in (Characters, Bytes, BytePairs)}
    options = dict(config)
    level = options.pop("level", None)
    if level not in kinds:
        raise unknown("level of a vocabulary", level, kinds)
    return kinds[level](**options)


def blocks(text: str, size: int = 1 << 16) -> Iterator[str]:
    """A text in parts of about `size` characters, each ending between a letter and a space where there is one."""
    start = 0
    while start < len(text):
        stop = min(start + size, len(text))
        while stop < len(text) and not (text[stop - 1].isalpha() and text[stop] == " "):
            stop += 1
        yield text[start:stop]
        start = stop

"""The words of a text that says an event: names, quoted or not, numbers, signs; and errors that say where."""

from __future__ import annotations

import math
import re

from perrin.errors import PerrinError

WORD = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|`([^`]*)`|(>=|<=|[<>=()\[\]:,])|([^\s<>=()\[\]:,"'`]+))""")


class Words:
    """A text word by word."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise PerrinError(f"{text!r} says no event; a text such as 'WTI[30] > 90' is needed")
        self.text, self._next = text, 0
        self._words, place = list[tuple[str, bool]](), 0
        while text[place:].strip():
            found = WORD.match(text, place)
            if found is None:
                raise self.error(f"the quote at {text[place:].strip()[:10]!r} is not closed")
            quote = next((part for part in found.groups()[:3] if part is not None), None)
            self._words.append((found.group(4) or found.group(5), False) if quote is None else (quote, True))
            place = found.end()

    def peek(self) -> str | None:
        """The word that comes next; None at the end."""
        return self._words[self._next][0] if self._next < len(self._words) else None

    @property
    def quoted(self) -> bool:
        """Whether the word that comes next stands in quotes, and so is a name."""
        return self._next < len(self._words) and self._words[self._next][1]

    def then(self, sign: str) -> bool:
        """Whether `sign` comes after the word that comes next."""
        return self._words[self._next + 1 : self._next + 2] == [(sign, False)]

    def take(self) -> str | None:
        """The word that comes next, which is then behind."""
        word = self.peek()
        self._next += word is not None
        return word

    def number(self, after: str) -> float:
        """The number that comes next.

        Raises:
            PerrinError: another word, or one that is not finite.
        """
        word = self.take()
        try:
            found = float(str(word))
        except ValueError:
            found = math.nan
        if not math.isfinite(found):
            raise self.error(
                f"{after} is followed by {word!r}, not by a number" if word else f"{after} what?"
            )
        return found

    def where(self) -> str:
        """The beginning of an error: which text it is about."""
        return f"event {self.text!r}: "

    def error(self, what: str) -> PerrinError:
        """An error about this text."""
        return PerrinError(self.where() + what)

"""What to say of a character that a vocabulary lacks: which, where, and the nearest one that it has."""

from __future__ import annotations

import unicodedata

from perrin.kinds.files import few

# what typesetting puts in the place of the keyboard's own characters
_PLAIN = {
    **dict.fromkeys(
        "\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}\N{PRIME}\N{ACUTE ACCENT}`", "'"
    ),
    **dict.fromkeys("\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}\N{DOUBLE PRIME}«»", '"'),
    **dict.fromkeys("\N{HYPHEN}\N{NON-BREAKING HYPHEN}\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}", "-"),
    "\t": " ",
    "\N{NO-BREAK SPACE}": " ",
    "\r": "\n",
}


def outside(text: str, characters: str, where: str) -> str:
    """The line for the first character of `text` that is not among `characters`, and how many others there are."""
    known = frozenset(characters)
    at = next(i for i, character in enumerate(text) if character not in known)
    others = sorted(set(text) - known - {text[at]})
    near = nearest(text[at], known)
    hint = "" if near is None else f"; the nearest of them is {near!r}"
    more = "" if not others else f"; nor are {few(map(repr, others))}"
    return f"{_place(text, at, where)} is not among this model's {len(known):,} characters{hint}{more}"


def not_encodable(text: str, at: int, where: str) -> str:
    """The line for half of a surrogate pair, which UTF-8 cannot write."""
    return f"{_place(text, at, where)} is half of a character (a lone surrogate), which no UTF-8 text holds"


def _place(text: str, at: int, where: str) -> str:
    return f"{text[at]!r} at position {at} (line {1 + text.count(chr(10), 0, at)}) of {where}"


def nearest(character: str, known: frozenset[str]) -> str | None:
    """A known character of the same letter without its accent, in the other case, or of the same use; or None."""
    plain = unicodedata.normalize("NFKD", character)[:1]
    candidates = (_PLAIN.get(character), plain, plain.lower(), plain.upper(), character.swapcase())
    return next((found for found in candidates if found in known), None)

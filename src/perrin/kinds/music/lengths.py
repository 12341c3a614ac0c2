"""Lengths of notes, bars and metres, exact, in eighth notes (the unit of `notation`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from perrin.errors import PerrinError

NOTE = re.compile(r"((?:[_=^]*[A-Ga-g][,']*)|z)([\d/]*)")
_LENGTH = re.compile(r"(\d*)(/*)(\d*)")
_TUPLET = re.compile(r"\((\d)(?::(\d?))?(?::(\d?))?")
_DUPLES = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}  # p notes in the time of q; for 5, 7 and 9 the metre decides


def length_of(digits: str, where: str = "a note") -> Fraction:
    """What the digits after a note say, in units: "" 1, "2" 2, "/" 1/2, "3/2" 3/2, "//" 1/4."""
    found = _LENGTH.fullmatch(digits)
    if found is None or (found[3] and not found[2]) or "0" in (found[1], found[3]):
        raise PerrinError(f"{where}: '{digits}' is no length; write such as 2, /2 or 3/2")
    below = int(found[3]) if found[3] else 2 ** len(found[2])
    return Fraction(int(found[1] or 1), below)


def length_text(length: Fraction) -> str:
    """The shortest digits of a length, so that `length_of(length_text(x)) == x`."""
    above = "" if length.numerator == 1 else str(length.numerator)
    return above + ("" if length.denominator == 1 else f"/{length.denominator}")


def timing(text: str, where: str = "M:") -> str:
    """A metre as a fraction: "C" is "4/4", "C|" "2/2"; "none" and "" are "none".

    Raises:
        PerrinError: anything else that is no fraction of whole numbers.
    """
    text = {"C": "4/4", "C|": "2/2", "": "none"}.get(text.strip(), text.strip())
    above, _, below = text.partition("/")
    if text != "none" and not (above.isdigit() and below.isdigit() and int(above) and int(below)):
        raise PerrinError(f"{where}: '{text}' is no metre; write such as 6/8 or 4/4")
    return text


def bar_length(metre: str) -> Fraction | None:
    """Eighths in a bar of a metre; None for "none"."""
    if metre == "none":
        return None
    above, _, below = metre.partition("/")
    return Fraction(8 * int(above), int(below))


def beat(metre: str) -> Fraction | None:
    """Eighths that are beamed together: three in 6/8 and its kin, two in 4/4 and 3/4."""
    if metre == "none":
        return None
    above, _, below = metre.partition("/")
    compound = int(below) >= 8 and int(above) % 3 == 0
    return Fraction(8 * (3 if compound else 1), int(below)) if int(below) != 2 else Fraction(2)


def note_lengths(pieces: Sequence[str]) -> list[Fraction]:
    """How long each piece sounds, in eighths, tuplets counted; 0 for what is no note or rest."""
    lengths, factor, left, metre = [], Fraction(1), 0, "none"
    for piece in pieces:
        metre = piece[2:] if piece.startswith("M:") else metre
        tuplet, note = _TUPLET.fullmatch(piece), NOTE.fullmatch(piece)
        if tuplet is not None:
            factor, left = _ratio(tuplet, metre)
        if note is None:
            lengths.append(Fraction(0))
            continue
        lengths.append(length_of(note[2]) * (factor if left else 1))
        left -= left > 0
    return lengths


def _ratio(tuplet: re.Match[str], metre: str) -> tuple[Fraction, int]:
    """`(p:q:r`: (q/p, r), p notes in the time of q for the next r notes."""
    p = int(tuplet[1])
    compound = metre.endswith("/8") and int(metre[:-2]) % 3 == 0
    q = int(tuplet[2] or _DUPLES.get(p, 3 if compound else 2))
    if not p or not q:
        raise PerrinError(f"'{tuplet[0]}' is no tuplet; write such as (3")
    return Fraction(q, p), int(tuplet[3] or p)

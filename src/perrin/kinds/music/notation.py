"""ABC notation as a list of pieces: one for each note, chord symbol, bar line and header field.

A tune is read into one fixed spelling: lengths in eighth notes, broken rhythm written out, repeats and endings in one
form each. What is not its melody, harmony or structure is left out: titles, sources, comments, words, the names of
parts (a double bar stays), ornaments, grace notes, slurs, bass notes of chord symbols, and all but the highest of
notes that sound together. `write_tune(read_pieces(text))` is a file that other programs read, with the same pieces.

The notation: ABC 2.1, https://abcnotation.com/wiki/abc:standard:v2.1
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from perrin.errors import PerrinError
from perrin.kinds.music.keys import height, key_name
from perrin.kinds.music.lengths import NOTE, bar_length, length_of, length_text, timing

UNIT = Fraction(1, 8)  # of a whole note: what a note without digits lasts

_FIELD = re.compile(r"([A-Za-z+]):(?![:|])\s*([^%]*)")  # `d:|` is a note at the end of a repeat
_SYMBOL = re.compile(r"\(?\s*([A-G][b#]?)\s*(m(?!aj)|dim|aug|d\b)?\s*(7)?")
_BAR = re.compile(r"(\||\|\||\|:|:\||::)\d?")
_BODY = re.compile(
    r"""
    "(?P<symbol>[^"]*)" | \[(?P<inline>[A-Za-z]:[^\]]*)\]
    | (?P<bar>:+\|*:*|\|\]|\[?\|+:*)\s*(?:\[?(?P<ending>\d)[\d,.-]*)? | \[(?P<alone>\d)[\d,.-]*
    | \((?P<tuplet>\d(?::\d?:?\d?)?)
    | (?P<note>\[[^\]]*\]|[_=^]*[A-Ga-g][,']*|[zx])(?P<length>[\d/]*) | (?P<broken><+|>+) | (?P<tie>-)
    | ![^!]*! | \+[^+]*\+ | \{[^}]*\} | [\s()~.`\\$*yuvHLMOPST\]]
    """,
    re.VERBOSE,
)


def split_tunes(text: str) -> list[str]:
    """The tunes of a file: what starts at each `X:` line; text before the first belongs to none."""
    return re.split(r"(?m)^(?=X:)", text.replace("\r\n", "\n").replace("\r", "\n"))[1:]


def is_bar(piece: str) -> bool:
    """Whether a piece is a bar line of any form."""
    return _BAR.fullmatch(piece) is not None


def is_field(piece: str) -> bool:
    """Whether a piece is a metre or a key."""
    return piece[:2] in ("M:", "K:")


def read_pieces(text: str, where: str = "the tune", *, begun: bool = False) -> list[str]:
    """The pieces of one tune, its metre and its key first.

    Args:
        text: ABC, one tune.
        where: what the text is, for messages.
        begun: the beginning of a tune is enough, as long as it says a key.

    Raises:
        PerrinError: a sign that is not ABC (which, where), several voices, no key, no notes.
    """
    reading = _Reading(where)
    for number, line in enumerate(text.splitlines(), 1):
        field = _FIELD.match(line)
        if field is not None:
            reading.field(field[1], field[2].strip())
        elif reading.in_body:
            reading.body(line.split("%")[0], number)
        elif line.split("%")[0].strip():
            raise PerrinError(f"{where}: line {number} stands before the key (K:): '{line.strip()[:30]}'")
    return reading.finished(begun)


class _Reading:
    """A tune while it is read: the pieces so far, and what the next note needs to know."""

    def __init__(self, where: str) -> None:
        self.where, self.pieces = where, ["M:none", "K:C"]
        self.in_body = self.sounded = False
        self.unit: Fraction | None = None
        self.factor = Fraction(1)  # what the broken rhythm before it makes of the next note

    def field(self, name: str, value: str) -> None:
        """A line such as `K: G`, in the header or between notes, or the same in brackets."""
        if name == "L":
            above, _, below = value.partition("/")
            if not (above.isdigit() and below.isdigit() and int(below)):
                raise PerrinError(f"{self.where}: L:{value} is no length; write such as L:1/8")
            self.unit = Fraction(int(above), int(below))
        elif name == "M":
            self._change("M:", timing(value, self.where))
        elif name == "K":
            self._change("K:", key_name(value, self.where))
            self.in_body = True
        elif name == "V":
            raise PerrinError(f"{self.where} has several voices (V:); this kind reads tunes of one")
        elif name == "P" and self.sounded:
            self._bar("||", "")

    def _current(self, name: str) -> int:
        return max(place for place, piece in enumerate(self.pieces) if piece.startswith(name))

    def _change(self, name: str, value: str) -> None:
        place = self._current(name)
        if not self.sounded:
            self.pieces[place] = name + value
        elif self.pieces[place] != name + value:
            self.pieces.append(name + value)

    def body(self, line: str, number: int) -> None:
        """A line of notes."""
        if self.unit is None:  # the standard's default: sixteenths in metres shorter than 3/4
            bar = bar_length(self.pieces[self._current("M:")][2:])
            self.unit = Fraction(1, 16) if bar is not None and bar < 6 else UNIT
        at = 0
        while at < len(line):
            found = _BODY.match(line, at)
            if found is None:
                raise PerrinError(f"{self.where}: '{line[at]}' in line {number}, column {at + 1}, is not ABC")
            self._take(found, self.unit / UNIT)
            at = found.end()

    def _take(self, found: re.Match[str], unit: Fraction) -> None:
        if found["symbol"] is not None:
            self._symbol(found["symbol"])
        elif found["inline"]:
            self.field(found["inline"][0], found["inline"][2:].strip())
        elif found["bar"]:
            self._bar(found["bar"], found["ending"] or "")
        elif found["alone"]:
            self._bar("|", found["alone"])
        elif found["tuplet"]:
            self.pieces.append("(" + found["tuplet"].rstrip(":"))
        elif found["note"]:
            self._note(found["note"], length_of(found["length"], self.where) * unit)
        elif found["broken"]:
            self._broken(found["broken"])
        elif found["tie"] and self.sounded:
            self.pieces.append("-")

    def _symbol(self, text: str) -> None:
        found = _SYMBOL.match(text)
        if found is not None:  # else it is an annotation
            quality = {"d": "dim"}.get(found[2] or "", found[2] or "")
            self.pieces.append(f'"{found[1]}{quality}{found[3] or ""}"')

    def _bar(self, sign: str, ending: str) -> None:
        signs = [sign]
        if is_bar(self.pieces[-1]):  # two signs at one place: '||' at a line's end, '|:' on the next
            last = self.pieces.pop()
            signs.append(last.rstrip("123456789"))
            ending = ending or last[len(signs[1]) :]
        if self.sounded or sign.endswith(":"):
            self.pieces.append(_bar_sign(signs, bool(ending)) + ending)

    def _note(self, note: str, length: Fraction) -> None:
        if note.startswith("["):
            note, inner = _highest(note, self.where)
            length *= inner
        note = "z" if note == "x" else note
        self.pieces.append(note + length_text(length * self.factor))
        self.factor, self.sounded = Fraction(1), True

    def _broken(self, signs: str) -> None:
        place = next((i for i in range(len(self.pieces) - 1, 1, -1) if NOTE.fullmatch(self.pieces[i])), None)
        if place is None:
            raise PerrinError(f"{self.where}: '{signs}' has no note before it")
        short = Fraction(1, 2 ** len(signs))
        first, self.factor = (2 - short, short) if signs[0] == ">" else (short, 2 - short)
        note, digits = _parts(self.pieces[place])
        self.pieces[place] = note + length_text(length_of(digits) * first)

    def finished(self, begun: bool) -> list[str]:
        if not self.in_body:
            raise PerrinError(f"{self.where} has no key; a tune says one, such as K:G")
        if not self.sounded and not begun:
            raise PerrinError(f"{self.where} has no notes")
        return self.pieces


def _parts(note: str) -> tuple[str, str]:
    found = NOTE.fullmatch(note)
    assert found is not None
    return found[1], found[2]


def _bar_sign(signs: Sequence[str], plain: bool) -> str:
    """One sign for all that stand at one place; `plain`: an ending follows, which says more than '||'."""
    ends, starts = (any(getattr(sign, at)(":") for sign in signs) for at in ("startswith", "endswith"))
    double = not plain and any(sign not in ("|", ":|", "|:") for sign in signs)
    return "::" if ends and starts else ":|" if ends else "|:" if starts else "||" if double else "|"


def _highest(chord: str, where: str) -> tuple[str, Fraction]:
    """The highest of the notes in brackets, and its length there."""
    notes = [found for found in NOTE.finditer(chord) if found[1] != "z"]
    if not notes:
        raise PerrinError(f"{where}: there is no note in '{chord}'")
    top = max(notes, key=lambda found: height(found[1]))
    return top[1], length_of(top[2], where)

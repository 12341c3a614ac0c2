"""A tune as music21 reads it: notes, chord symbols and bars, with nothing of this package's own reader.

music21 (Cuthbert and Ariza 2010, BSD): `music21.abcFormat`. It passes over what it does not know, so that a text
without sense may still be read; `notation.read_pieces` is the strict reader, and `figures` asks both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from perrin.errors import PerrinError


@dataclass(frozen=True)
class Note:
    """`start` and `length` in quarter notes from the beginning of its bar; `pitch` a MIDI number, 60 = middle C."""

    start: Fraction
    length: Fraction
    pitch: int
    tied: bool = False  # goes on in the note before it


@dataclass
class Bar:
    """What stands between two bar lines, in quarter notes, and the signs of the lines on either side of it."""

    metre: Fraction | None
    left: str
    right: str = ""
    length: Fraction = Fraction(0)
    notes: list[Note] = field(default_factory=list)
    symbols: list[tuple[Fraction, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Reading:
    """A tune that was read: `metre` and `key` are those at its beginning."""

    metre: str
    key: str
    bars: list[Bar]

    def notes(self) -> Iterator[tuple[Fraction, Note]]:
        """(start of its bar, note) as written, repeats not played."""
        at = Fraction(0)
        for bar in self.bars:
            for note in bar.notes:
                yield at, note
            at += bar.length


def abc_format() -> Any:
    """The module `music21.abcFormat`.

    Raises:
        PerrinError: music21 is not installed.
    """
    try:
        from music21 import abcFormat
    except ImportError as error:
        raise PerrinError("tunes are read by music21; pip install 'perrin[music]'") from error
    return abcFormat


def read_tune(text: str, where: str = "the tune") -> Reading:
    """The bars of a tune that has one voice.

    Raises:
        PerrinError: music21 cannot read it, or finds no note in it.
    """
    abc = abc_format()
    handler = abc.ABCHandler()
    try:
        handler.process(text)
        reading = _bars(abc, handler.tokens)
    except Exception as error:  # music21 raises whatever its parts raise
        raise PerrinError(f"music21 cannot read {where}: {error}") from error
    if not any(bar.notes for bar in reading.bars):
        raise PerrinError(f"music21 finds no note in {where}")
    return reading


def _bars(abc: Any, tokens: list[Any]) -> Reading:
    heads: dict[str, str] = {}
    metre, tied = None, False
    bars = [Bar(None, "")]
    for token in tokens:
        if isinstance(token, abc.ABCMetadata):
            if token.isMeter():
                time = token.getTimeSignatureObject()
                metre = None if time is None else Fraction(time.barDuration.quarterLength)
                bars[-1].metre = metre if not bars[-1].length else bars[-1].metre
            if token.isMeter() or token.isKey():
                heads[token.tag] = (
                    token.data if not any(bar.length for bar in bars) else heads.get(token.tag, "")
                )
        elif isinstance(token, abc.ABCBar):
            if bars[-1].length:
                bars[-1].right = token.src.strip()
                bars.append(Bar(metre, token.src.strip()))
            else:  # two signs at one place
                bars[-1].left += token.src.strip()
                if len(bars) > 1:
                    bars[-2].right += token.src.strip()
        elif isinstance(token, abc.ABCNote):
            _add(abc, bars[-1], token, tied)
        tied = isinstance(token, abc.ABCTie) or (tied and not isinstance(token, abc.ABCNote))
    return Reading(heads.get("M", "none"), heads.get("K", "C"), [bar for bar in bars if bar.length])


def _add(abc: Any, bar: Bar, token: Any, tied: bool) -> None:
    """One note, or several at once, at the end of a bar."""
    from music21.pitch import Pitch

    length = Fraction(token.quarterLength)
    if token.activeTuplet is not None:
        length *= Fraction(token.activeTuplet.tupletMultiplier())
    bar.symbols.extend((bar.length, text.strip('"')) for text in token.chordSymbols)
    several = isinstance(token, abc.ABCChord)
    for name in (
        [t.pitchName for t in token.subTokens if isinstance(t, abc.ABCNote)] if several else [token.pitchName]
    ):
        if name is not None:
            bar.notes.append(Note(bar.length, length, round(Pitch(name).ps), tied))
    bar.length += length

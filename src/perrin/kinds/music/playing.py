"""A tune as it sounds: repeats played, ties joined, chord symbols as chords, in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from perrin.kinds.music.reading import Bar, Reading

BEATS = 112  # a minute; the beat is a quarter note, or three eighths in 6/8 and its kin
_QUALITIES = {"": (0, 4, 7), "m": (0, 3, 7), "dim": (0, 3, 6), "aug": (0, 4, 8)}
_SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_BASS = 43  # the lowest root of a chord


@dataclass(frozen=True)
class Event:
    """One sound: `start` and `length` in quarter notes, a MIDI `pitch`, and whether the chords play it."""

    start: Fraction
    length: Fraction
    pitch: int
    chord: bool = False


def quarter_seconds(metre: str) -> float:
    """How long a quarter note lasts."""
    above, _, below = metre.partition("/")
    compound = below in ("8", "16") and int(above) % 3 == 0
    return 60 / BEATS * (2 / 3 if compound else 1)


def events(reading: Reading) -> list[Event]:
    """All sounds of a tune, by their start."""
    bars = played(reading.bars)
    return sorted([*_melody(bars), *_chords(bars)], key=lambda event: (event.start, event.pitch))


def duration(reading: Reading) -> Fraction:
    """Quarter notes from the first bar to the end of the last, repeats played."""
    return sum((bar.length for bar in played(reading.bars)), Fraction(0))


def played(bars: Sequence[Bar]) -> list[Bar]:
    """The bars in the order in which they are played: repeats twice, each time with its own ending."""
    order, start, at, again = list[Bar](), 0, 0, False
    while at < len(bars):
        bar = bars[at]
        if at != start and ("|:" in bar.left or "::" in bar.left):
            start, again = at, False
        if again and "1" in bar.left:
            while at < len(bars) and not _ends(bars[at]):
                at += 1
            at, start, again = at + 1, at + 1, False
            continue
        order.append(bar)
        at += 1
        if _ends(bar):
            at, start, again = (at, at, False) if again else (start, start, True)
    return order


def _ends(bar: Bar) -> bool:
    return ":|" in bar.right or "::" in bar.right


def _melody(bars: Iterable[Bar]) -> list[Event]:
    found, at = list[Event](), Fraction(0)
    for bar in bars:
        for note in bar.notes:
            start = at + note.start
            last = found[-1] if found else None
            if (
                note.tied
                and last is not None
                and last.pitch == note.pitch
                and last.start + last.length == start
            ):
                found[-1] = replace(last, length=last.length + note.length)
            else:
                found.append(Event(start, note.length, note.pitch))
        at += bar.length
    return found


def _chords(bars: Iterable[Bar]) -> list[Event]:
    """Each chord from its symbol to the next."""
    symbols, at = list[tuple[Fraction, str]](), Fraction(0)
    for bar in bars:
        symbols += [(at + start, text) for start, text in bar.symbols]
        at += bar.length
    ends = [*(start for start, _ in symbols[1:]), at]
    return [
        Event(start, end - start, pitch, chord=True)
        for (start, text), end in zip(symbols, ends, strict=False)
        for pitch in chord_pitches(text)
        if end > start
    ]


def chord_pitches(symbol: str) -> list[int]:
    """MIDI numbers of a chord symbol such as "F#m7", its root between G2 and F#3; none for what is no symbol."""
    if symbol[:1] not in _SEMITONES:
        return []
    accidental = symbol[1:2] if symbol[1:2] in ("#", "b") else ""
    quality = symbol[1 + len(accidental) :]
    root = _SEMITONES[symbol[0]] + {"#": 1, "b": -1, "": 0}[accidental]
    name = next((name for name in ("dim", "aug", "m") if quality.startswith(name)), "")
    steps = (*_QUALITIES[name], 10) if quality.endswith("7") else _QUALITIES[name]
    return [_BASS + (root - _BASS) % 12 + step for step in steps]

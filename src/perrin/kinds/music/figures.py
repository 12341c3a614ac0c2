"""Figures of a tune: whether it can be read, how many bars it has, and how many of them are as long as they say.

A bar is whole when its notes last as long as its metre. Music also has bars in pieces: a tune begins with a pickup,
and where a part ends or is repeated, what its last bar lacks is the pickup of the next. So a short bar at either edge of a
part counts as whole when some other such bar of the tune completes it; a tune's first bar that is
short and has no other half is a pickup, which counts neither way.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from perrin.errors import PerrinError
from perrin.kinds.music.lengths import note_lengths
from perrin.kinds.music.notation import read_pieces
from perrin.kinds.music.reading import Bar, read_tune

EDGE = frozenset(":[]0123456789")


@dataclass(frozen=True)
class Figures:
    """`whole` of the `counted` bars are as long as their metre; `lengths` of all bars, in quarter notes.

    `fault`: why the tune cannot be read, or "" for one that can be.
    """

    fault: str
    bars: int = 0
    counted: int = 0
    whole: int = 0
    metre: str = ""
    key: str = ""
    lengths: tuple[Fraction, ...] = ()

    @property
    def parses(self) -> bool:
        """Whether both readers read it."""
        return not self.fault

    @property
    def share(self) -> float:
        """Of the counted bars, those that are whole; 0 where none is counted."""
        return self.whole / self.counted if self.counted else 0.0


def figures(text: str) -> Figures:
    """The figures of one tune, as both this package's strict reader and music21 see it.

    Both must read it, and find notes that last equally long in all.
    """
    try:
        written = sum(note_lengths(read_pieces(text)), Fraction(0)) / 2
        reading = read_tune(text)
    except PerrinError as error:
        return Figures(str(error))
    heard = sum((bar.length for bar in reading.bars), Fraction(0))
    if written != heard:
        return Figures(f"its notes last {written} quarter notes, or {heard} as music21 reads them")
    return Figures(
        "", *_count(reading.bars), reading.metre, reading.key, tuple(bar.length for bar in reading.bars)
    )


def _count(bars: list[Bar]) -> tuple[int, int, int]:
    """(bars, counted, whole)."""
    whole = sum(bar.length == bar.metre for bar in bars)
    missing = {
        i: bar.metre - bar.length
        for i, bar in enumerate(bars)
        if bar.metre is not None and bar.length < bar.metre and _at_edge(bars, i)
    }
    completed = {i for i in missing if any(j != i and bars[j].length == missing[i] for j in missing)}
    lone = 0 in missing and 0 not in completed
    return len(bars), len(bars) - lone, whole + len(completed)


def _at_edge(bars: list[Bar], i: int) -> bool:
    return i in (0, len(bars) - 1) or any(
        "||" in sign or not EDGE.isdisjoint(sign) for sign in (bars[i].left, bars[i].right)
    )

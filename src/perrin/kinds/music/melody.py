"""Melodies to compare: a tune's notes relative to its signature, so that a copy in another key is still a copy.

Two tunes that are one share long runs of notes; two that are not share runs of a bar or two. In the Nottingham
collection nine tenths of the held-out tunes share at most 14 notes in a row with any training tune, the ones that
stand in it twice 26 and more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.music.lengths import NOTE
from perrin.kinds.music.notation import read_pieces
from perrin.kinds.music.spelling import in_signature
from perrin.metrics.copies import longest_copies

COPIED = 24  # notes in a row: about four bars


def melodies(*books: Sequence[str]) -> list[list[np.ndarray]]:
    """Each tune of each book as whole numbers, one for each note with its length; those of one note are equal.

    A tune that cannot be read has none.
    """
    numbers = dict[str, int]()
    return [
        [
            np.array([numbers.setdefault(note, len(numbers)) for note in _notes(tune)], np.int64)
            for tune in book
        ]
        for book in books
    ]


def copies(tunes: Sequence[str], known: Sequence[str]) -> np.ndarray:
    """Which tunes share with some known tune a run of `COPIED` notes or of half their own, bool [len(tunes)]."""
    mine, theirs = melodies(tunes, known)
    runs = longest_copies(mine, theirs)
    return np.array([r >= min(COPIED, len(m) / 2) and r > 0 for r, m in zip(runs, mine, strict=True)], bool)


def _notes(tune: str) -> list[str]:
    try:
        pieces = in_signature(read_pieces(tune), inwards=True)
    except PerrinError:
        return []
    return [piece for piece in pieces if NOTE.fullmatch(piece) and not piece.startswith("z")]

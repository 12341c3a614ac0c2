"""Pieces of a tune laid out as ABC text: the other half of `notation`."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from perrin.kinds.music.lengths import NOTE, beat, note_lengths
from perrin.kinds.music.notation import UNIT, is_bar, is_field

LINE = 4  # bars on a line


def write_tune(pieces: Sequence[str], title: str = "Untitled", number: int = 1) -> str:
    """ABC text of one tune, with a line break after every `LINE` bars and the notes of a beat together.

    Any pieces can be written; what is no tune (no key at its head, say) is then no valid ABC either.
    """
    head = [piece for piece in pieces[:2] if is_field(piece)]
    metre = [piece for piece in head if piece.startswith("M:")]
    keys = [piece for piece in head if piece.startswith("K:")]
    header = [f"X:{number}", f"T:{title}", *metre, f"L:{UNIT}", *keys]
    return "\n".join([*header, _body(pieces, len(head))]) + "\n"


def _body(pieces: Sequence[str], start: int) -> str:
    parts: list[str] = []
    bars, at, group = 0, Fraction(0), None
    for place, (piece, length) in enumerate(zip(pieces, note_lengths(pieces), strict=True)):
        group = beat(piece[2:]) if piece.startswith("M:") else group
        if place < start:
            continue
        if is_field(piece):
            parts.append(f"\n{piece}\n")
            bars = 0
        elif is_bar(piece):
            bars, at = bars + 1, Fraction(0)
            parts.append(f" {piece}\n" if bars % LINE == 0 else f" {piece} ")
        elif NOTE.fullmatch(piece):
            tied = pieces[place + 1 : place + 2] == ["-"]
            at += length
            parts.append(piece + (" " if group and at % group == 0 and not tied else ""))
        else:
            parts.append(piece if piece == "-" else f" {piece}")
    lines = ("".join(parts)).splitlines()
    return "\n".join(" ".join(line.split()) for line in lines if line.strip())

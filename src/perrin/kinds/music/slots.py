"""A tune on a grid of eighth notes: one token for what sounds in each eighth, one for each bar line.

A grid makes of rhythm what a sequence model sees best: a bar is always as many tokens as it has eighths, and the same
place in the bar before is always as far away. The slot of an eighth is `e` where a note begins and fills it, `~` where the
one before goes on, `z` for a rest, and otherwise all that begins in it with its lengths: `e/2f/2` are two sixteenths,
`~/2f/2` ends a dotted note, `B2/3c/3` and `~/3d2/3` together are the triplet `(3Bcd`. A note goes on across a bar line
as it does across any other slot, which ABC writes as a tie. Any sequence of slots and bar lines is a tune.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction

from perrin.kinds.music.lengths import NOTE, bar_length, length_of, length_text, note_lengths
from perrin.kinds.music.notation import is_bar, is_field

HOLD = "~"
PAD = "."  # nothing: it fills a bar in pieces up, so that it is as many tokens as the others
_ITEM = re.compile(r"([_=^]*[A-Ga-g][,']*|z|~)([\d/]*)")
_PLAIN = re.compile(r'[MK]:.*|".*"')

Item = tuple[str, Fraction]  # what sounds, and how long in eighths


def slots_of(pieces: Sequence[str]) -> list[str]:
    """Pieces as slots, bar lines, fields and chord symbols. A symbol stands before the slot in which it begins."""
    slots: list[str] = []
    current: list[Item] = []
    sounding, tied = "", False
    for piece, length in zip(pieces, note_lengths(pieces), strict=True):
        found = NOTE.fullmatch(piece)
        if found is not None:
            begun = HOLD if tied and found[1] != "z" and found[1] == sounding else found[1]
            current = _fill(slots, current, begun, length)
            sounding, tied = found[1], False
        elif piece == "-":
            tied = True
        elif not piece.startswith("("):
            if current and is_bar(piece):
                slots.append(_name(current))
                current = []
            slots.append(piece)
    return padded([*slots, *([_name(current)] if current else [])])


def _fill(slots: list[str], current: list[Item], name: str, length: Fraction) -> list[Item]:
    """Put a note into the slot that is open and into as many more as it needs; what is open then."""
    while length > 0:
        part = min(length, 1 - sum((held for _, held in current), Fraction(0)))
        current = [*current, (name, part)]
        length, name = length - part, HOLD if name != "z" else "z"
        if sum(held for _, held in current) == 1:
            slots.append(_name(current))
            current = []
    return current


def _name(items: Iterable[Item]) -> str:
    return "".join(name + length_text(length) for name, length in items)


def padded(slots: Sequence[str]) -> list[str]:
    """Slots with every short bar filled up: before a pickup, which leads into the bar after it, else behind."""
    found: list[str] = []
    bar: list[str] = []
    full, pickup = Fraction(0), True
    for slot in [*slots, "|"]:
        full = (bar_length(slot[2:]) or Fraction(0)) if slot.startswith("M:") else full
        if not is_bar(slot):
            (found if is_field(slot) and not bar else bar).append(slot)
            continue
        missing = [PAD] * int(full - sum(map(_sounds, bar))) if any(map(_sounds, bar)) else []
        found += [*missing, *bar, slot] if pickup else [*bar, *missing, slot]
        bar, pickup = [], slot != "|"
    return found[:-1]


def _sounds(slot: str) -> bool:
    return not (is_bar(slot) or _PLAIN.fullmatch(slot))


def items_of(slot: str) -> list[Item]:
    """What a slot holds; nothing for a bar line, a field or a chord symbol."""
    if _PLAIN.fullmatch(slot):
        return []
    return [(found[1], length_of(found[2])) for found in _ITEM.finditer(slot)]


def pieces_of(slots: Iterable[str]) -> list[str]:
    """Slots as pieces: a note lasts for as long as the slots after it say `~`. The inverse of `slots_of`, up to ties
    inside a bar, whose notes become one, and rests that follow rests.

    A `~` that has nothing to go on with is a rest.
    """
    found: list[str | Item] = []
    for slot in slots:
        items = items_of(slot)
        if not items and slot != PAD:
            found.append(slot)
        for name, length in items:
            _go_on(found, name, length)
    return _written(found)


def _go_on(found: list[str | Item], name: str, length: Fraction) -> None:
    last = found[-1] if found else None
    if isinstance(last, tuple) and (name == HOLD or name == last[0] == "z"):
        found[-1] = (last[0], last[1] + length)
    elif name != HOLD:
        found.append((name, length))
    else:  # across a bar line or a chord symbol
        place = next((i for i in range(len(found) - 1, -1, -1) if isinstance(found[i], tuple)), None)
        before = "z" if place is None else found[place][0]
        if place is not None and before != "z":
            found.insert(place + 1, "-")
        found.append((before, length))


def _written(found: Sequence[str | Item]) -> list[str]:
    """Notes with their digits, runs of thirds as tuplets."""
    pieces: list[str] = []
    at = 0
    while at < len(found):
        item = found[at]
        if isinstance(item, str):
            pieces.append(item)
            at += 1
            continue
        stop = _run(found, at) if item[1].denominator % 3 == 0 else at + 1
        run = found[at:stop]
        notes = sum(isinstance(one, tuple) for one in run)
        factor = Fraction(3, 2) if item[1].denominator % 3 == 0 else Fraction(1)
        pieces += [] if factor == 1 else ["(3" if notes == 3 else f"(3:2:{notes}"]
        pieces += [one if isinstance(one, str) else one[0] + length_text(one[1] * factor) for one in run]
        at = stop
    return pieces


def _run(found: Sequence[str | Item], start: int) -> int:
    """Where the notes from `start` on have filled their thirds, or a bar line or the ninth note ends them."""
    total, notes = Fraction(0), 0
    for at in range(start, len(found)):
        item = found[at]
        if isinstance(item, str):
            if is_bar(item) or is_field(item):
                return at
            continue
        total, notes = total + item[1], notes + 1
        if total.denominator % 3 or notes == 9:
            return at + 1
    return len(found)

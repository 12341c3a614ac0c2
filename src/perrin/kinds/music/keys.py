"""Keys: their names and signatures, and the same music in another key.

A signature counts fifths from C: +2 for two sharps, -1 for one flat. Between two signatures a tune moves by steps
of the staff, and a written accidental keeps its distance from the signature: in D, `=f` is a semitone below
the scale, and so is `_e` in C, which stands in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from perrin.errors import PerrinError

LETTERS = "CDEFGAB"
_FIFTHS = "FCGDAEB"
_MODES = {"": 0, "m": -3, "dor": -2, "mix": -1, "phr": -4, "lyd": 1, "loc": -5}
_SPELLED = {"maj": "", "ion": "", "min": "m", "aeo": "m"}
_KEY = re.compile(r"([A-G])([#b]?)\s*([A-Za-z]*)")
_PITCH = re.compile(r"([_=^]*)([A-Ga-g])([,']*)(.*)")
_ROOT = re.compile(r'"([A-G])([#b]*)(.*)"')
_ALTER = {"": None, "=": 0, "^": 1, "^^": 2, "_": -1, "__": -2}
_WRITTEN = {0: "=", 1: "^", 2: "^^", -1: "_", -2: "__"}


def key_name(text: str, where: str = "K:") -> str:
    """A key in its short spelling: "D minor" is "Dm", "A mixolydian" "Amix"; "none" and "" are "C".

    Raises:
        PerrinError: no key, or a mode that is not known.
    """
    if text.strip().lower() in ("", "none"):
        return "C"
    found = _KEY.match(text.strip())
    mode = "" if found is None else found[3].lower()[:3]
    mode = _SPELLED.get(mode, mode)
    if found is None or mode not in _MODES:
        raise PerrinError(f"{where}: '{text}' is no key; write such as G, Am, F#m or Ador")
    return found[1] + found[2] + mode


def mode_of(key: str) -> str:
    """The mode of a key that `key_name` spelled: of Am "m", of G ""."""
    return key[1:].lstrip("#b")


@cache
def signature(key: str) -> int:
    """Fifths from C of a key that `key_name` spelled: D 2, Dm -1, Ador 1."""
    accidental = {"#": 1, "b": -1}.get(key[1:2], 0)
    return _FIFTHS.index(key[0]) - 1 + 7 * accidental + _MODES[mode_of(key)]


def altered(letter: str, fifths: int) -> int:
    """Semitones that a signature adds to a letter: +1 for F under one sharp."""
    return (fifths + 5 - _FIFTHS.index(letter)) // 7


def steps_between(fifths: int, towards: int) -> int:
    """Steps of the staff, -3 to 3, by which the tonic moves from one signature to another."""
    up = (4 * (towards - fifths)) % 7
    return up if up <= 3 else up - 7


def moved(pieces: Iterable[str], fifths: int, towards: int) -> list[str]:
    """Notes and chord symbols of one signature as those of another; other pieces as they are."""
    return [_moved(piece, fifths, towards) for piece in pieces]


@cache
def _moved(piece: str, fifths: int, towards: int) -> str:
    root, pitch = _ROOT.fullmatch(piece), _PITCH.fullmatch(piece)
    if root is not None:
        letter = LETTERS[(LETTERS.index(root[1]) + steps_between(fifths, towards)) % 7]
        semitones = root[2].count("#") - root[2].count("b") - altered(root[1], fifths)
        return f'"{_respelled(letter, semitones + altered(letter, towards))}{root[3]}"'
    if pitch is None or piece[1:2] == ":":
        return piece
    octave, place = divmod(height(piece) + steps_between(fifths, towards), 7)
    letter = LETTERS[place]
    written = _ALTER.get(pitch[1])
    accidental = ""
    if written is not None:
        semitones = written - altered(pitch[2].upper(), fifths) + altered(letter, towards)
        if semitones not in _WRITTEN:
            raise PerrinError(f"'{piece}' has no accidental in a key of {towards:+d} fifths")
        accidental = _WRITTEN[semitones]
    name = letter if octave < 1 else letter.lower()
    return accidental + name + ("," * -octave if octave < 0 else "'" * (octave - 1)) + pitch[4]


def height(note: str) -> int:
    """Steps of the staff above middle C of a note as ABC writes it: "^c'2" is 14."""
    pitch = _PITCH.fullmatch(note)
    assert pitch is not None
    octaves = pitch[3].count("'") - pitch[3].count(",") + pitch[2].islower()
    return LETTERS.index(pitch[2].upper()) + 7 * octaves


def _respelled(letter: str, semitones: int) -> str:
    """A root with at most one accidental: F## is G."""
    while abs(semitones) > 1:
        up = 1 if semitones > 0 else -1
        following = LETTERS[(LETTERS.index(letter) + up) % 7]
        half = {letter, following} in ({"E", "F"}, {"B", "C"})
        letter, semitones = following, semitones - up * (1 if half else 2)
    return letter + ("#" * semitones if semitones > 0 else "b" * -semitones)

"""ABC to pieces and slots and back: exact lengths, keys and bars, on tunes written by hand."""

import os
from fractions import Fraction
from pathlib import Path

import pytest

from perrin.errors import PerrinError
from perrin.kinds.music.keys import key_name, moved, signature, steps_between
from perrin.kinds.music.layout import write_tune
from perrin.kinds.music.lengths import bar_length, beat, length_of, length_text, note_lengths
from perrin.kinds.music.notation import is_bar, read_pieces, split_tunes
from perrin.kinds.music.slots import pieces_of, slots_of

DATA = Path(os.environ.get("PERRIN_DATA", Path(__file__).parents[3] / "shared" / "data")) / "music_abc"

JIG = """X: 7
T:A Jig
% a comment
S:somewhere
M:4/4
K:G
M:6/8
P:A
d|"G"g2g B^AB|!trill!d2d ~G3|"D7/f+"A>BA {g}(3ABc d|1 [GB]3 G2:|[2 G6||
P:B
K:D
|:z2a- a/2b/4b/4 z|\\
[L:1/4] A3 :|
"""


def body(text, head="M:4/4\nL:1/8\nK:C\n"):
    return read_pieces(head + text)[2:]


def test_a_tune_is_read_into_its_music_alone():
    assert read_pieces(JIG) == [
        *("M:6/8", "K:G", "d", "|", '"G"', "g2", "g", "B", "^A", "B", "|", "d2", "d", "G3", "|"),
        *('"D7"', "A3/2", "B/2", "A", "(3", "A", "B", "c", "d", "|1", "B3", "G2", ":|2", "G6", "||"),
        *("K:D", "|:", "z2", "a", "-", "a/2", "b/4", "b/4", "z", "|", "A6", ":|"),
    ]


@pytest.mark.parametrize(
    ("metre", "unit", "pieces"),
    [
        ("2/4", None, ["A/2", "B"]),
        ("3/4", None, ["A", "B2"]),
        ("6/8", None, ["A", "B2"]),
        ("2/4", "1/4", ["A2", "B4"]),
    ],
)
def test_a_missing_unit_is_the_standards(metre, unit, pieces):
    head = f"M:{metre}\n" + (f"L:{unit}\n" if unit else "") + "K:C\n"
    assert read_pieces(head + "A B2")[2:] == pieces


def test_broken_rhythm_is_written_out():
    assert body("A>B c<d e>>f g2<a2") == ["A3/2", "B/2", "c/2", "d3/2", "e7/4", "f/4", "g", "a3"]


def test_two_signs_at_one_place_are_one():
    assert [p for p in body("A||\nP:B\n|:B:|\n|:c|]\nd:||:e|||") if is_bar(p)] == [
        "|:",
        "::",
        "||",
        "::",
        "||",
    ]


def test_repeats_and_endings_have_one_form_each():
    one, two = body("|:A|1B:|2c||"), body("|: A |[1 B :| [2 c |]")
    assert one == two == ["|:", "A", "|1", "B", ":|2", "c", "||"]


@pytest.mark.parametrize(
    ("tune", "says"),
    [
        ("X:1\nK:C\nAB&cd", "'&' in line 3, column 3"),
        ("X:1\nM:6/8\nABC", "before the key"),
        ("X:1\nT:x", "no key"),
        ("X:1\nK:C\n|", "no notes"),
        ("X:1\nK:H\nA", "'H' is no key"),
        ("X:1\nM:six\nK:C\nA", "'six' is no metre"),
        ("X:1\nK:C\nA0", "'0' is no length"),
        ("X:1\nK:C\nV:2\nA", "several voices"),
        ("X:1\nK:C\n>A", "no note before"),
        ("X:1\nK:C\n[]A", "no note in"),
    ],
)
def test_what_is_no_tune_is_refused_in_one_line(tune, says):
    with pytest.raises(PerrinError, match=says) as caught:
        read_pieces(tune, "tune 1")
    assert "tune 1" in str(caught.value) or "K:" in tune
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("digits", ["", "2", "/2", "3/2", "7/4", "12"])
def test_lengths_are_written_as_they_are_read(digits):
    assert length_text(length_of(digits)) == digits


def test_short_forms_of_lengths():
    assert [length_of(x) for x in ("/", "//", "3/")] == [Fraction(1, 2), Fraction(1, 4), Fraction(3, 2)]


@pytest.mark.parametrize(
    ("metre", "bar", "group"),
    [("4/4", 8, 2), ("6/8", 6, 3), ("9/8", 9, 3), ("3/4", 6, 2), ("2/2", 8, 2), ("none", None, None)],
)
def test_bars_and_beats_in_eighths(metre, bar, group):
    assert (bar_length(metre), beat(metre)) == (bar, group)


def test_tuplets_last_as_long_as_the_notes_they_stand_for():
    pieces = ["M:4/4", "K:C", "(3", "A", "B", "c", "d", "(3:2:2", "A2", "B", "(5", *"ABcde"]
    thirds, fifths = [Fraction(2, 3)] * 3, [Fraction(2, 5)] * 5
    expected = [0, 0, 0, *thirds, 1, 0, Fraction(4, 3), Fraction(2, 3), 0, *fifths]
    assert note_lengths(pieces) == expected


@pytest.mark.parametrize(
    ("name", "short", "fifths"),
    [("G", "G", 1), ("D minor", "Dm", -1), ("Ador", "Ador", 1), ("A Mixolydian", "Amix", 2), ("F#m", "F#m", 3),
     ("Bb", "Bb", -2), ("Emin", "Em", 1), ("C major", "C", 0), ("none", "C", 0), ("Eb lydian", "Eblyd", -2)],
)  # fmt: skip
def test_keys_have_one_name_and_a_signature(name, short, fifths):
    assert key_name(name) == short
    assert signature(short) == fifths


def test_a_tune_in_d_is_the_same_tune_in_c():
    in_d = ["D", "E", "F", "=f2", "^g/2", "c", "_B", '"D7"', '"F#m"', '"Bb"', "|", "M:6/8"]
    in_c = ["C", "D", "E", "_e2", "^f/2", "B", "_A", '"C7"', '"Em"', '"Ab"', "|", "M:6/8"]
    assert moved(in_d, 2, 0) == in_c
    assert moved(in_c, 0, 2) == in_d


@pytest.mark.parametrize("fifths", range(-4, 6))
def test_moving_keeps_every_interval(fifths):
    from perrin.kinds.music.keys import altered

    def semitone(note, under):  # of a note with or without an accidental, by the definition of ABC
        mark = {"^": 1, "_": -1, "=": 0}.get(note[0])
        letter = note[-1]
        base = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[
            letter.upper()
        ] + 12 * letter.islower()
        return base + (altered(letter.upper(), under) if mark is None else mark)

    scale = [*"CDEFGAB", "^F", "=B"]
    there = [note.rstrip("',") for note in moved(scale, 0, fifths)]
    steps = {
        (semitone(b, fifths) - semitone(a, 0)) % 12
        for a, b in zip(scale, there, strict=True)
        if "__" not in b
    }
    assert steps == {(7 * fifths) % 12}
    assert -3 <= steps_between(0, fifths) <= 3


def test_slots_are_one_for_each_eighth():
    tune = ["M:4/4", "K:C", *("A2", "B", "c/2", "d/2", "e3/2", "f/2", "z2", "|")]
    assert slots_of(tune)[2:] == ["A", "~", "B", "c/2d/2", "e", "~/2f/2", "z", "z", "|"]


def test_a_triplet_spans_two_slots():
    tune = ["M:2/4", "K:C", "(3", "A", "B", "c", "d2", "|"]
    assert slots_of(tune)[2:] == ["A2/3B/3", "~/3c2/3", "d", "~", "|"]
    assert pieces_of(slots_of(tune)) == tune


def test_short_bars_are_filled_up_on_the_side_that_is_missing():
    tune = ["M:6/8", "K:C", "d", "|", "e3", "f3", "|", "g3", "a2", ":|", "b", "|", "c6", "||"]
    dots = ["."] * 5
    assert slots_of(tune) == [
        *("M:6/8", "K:C", *dots, "d", "|", "e", "~", "~", "f", "~", "~", "|"),
        *("g", "~", "~", "a", "~", ".", ":|", *dots, "b", "|", "c", *"~~~~~", "||"),
    ]
    assert pieces_of(slots_of(tune)) == tune


def test_a_note_that_goes_on_across_a_bar_line_is_tied():
    tune = ["M:2/4", "K:C", "A4", "-", "|", "A2", '"F"', "B", "-", '"G"', "B", "|"]
    assert slots_of(tune)[2:] == ["A", *"~~~", "|", "~", "~", '"F"', "B", '"G"', "~", "|"]
    assert pieces_of(slots_of(tune)) == tune


def test_any_slots_are_a_tune():
    for slots in (
        ["~", "A"],
        ["A", "|", "~", "|", "~"],
        ["A2/3B/3", "c", "|"],
        ["B/3", "|", "A"],
        ["A/2", "A/2"],
    ):
        text = write_tune(pieces_of(["M:4/4", "K:G", *slots]))
        assert slots_of(read_pieces(text))[:2] == ["M:4/4", "K:G"]


def test_writing_beams_by_the_beat_and_breaks_lines():
    pieces = [
        "M:6/8",
        "K:G",
        *["g", "a", "b", "a", "g", "f", "|"] * 5,
        "K:D",
        '"D"',
        "d6",
        "-",
        "|",
        "d6",
        "|",
    ]
    assert write_tune(pieces, "Five").splitlines() == [
        *("X:1", "T:Five", "M:6/8", "L:1/8", "K:G"),
        " ".join(["gab agf |"] * 4),
        "gab agf |",
        "K:D",
        '"D"d6- | d6 |',
    ]
    assert read_pieces(write_tune(pieces)) == pieces


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no tunes at '{DATA}'")
def test_real_tunes_survive_writing_and_slots():
    tunes = [tune for file in sorted(DATA.glob("[hs]*.abc")) for tune in split_tunes(file.read_text())]
    assert len(tunes) > 50
    for tune in tunes:
        pieces = read_pieces(tune)
        assert read_pieces(write_tune(pieces)) == pieces
        slots = slots_of(pieces)
        again = pieces_of(slots)
        assert slots_of(again) == slots
        assert sum(note_lengths(again)) == sum(note_lengths(pieces))

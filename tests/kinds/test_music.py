"""The kind `music`: opening, figures as music21 reads them, tokens, and what is written."""

import io
import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.io import wavfile

pytest.importorskip("music21", reason="tunes are read by music21: pip install 'perrin[music]'")

from tests.kinds.test_music_notation import DATA

from perrin.errors import PerrinError
from perrin.kinds.music import Music, read_provenance
from perrin.kinds.music.figures import figures
from perrin.kinds.music.melody import copies
from perrin.kinds.music.notation import read_pieces
from perrin.kinds.music.playing import chord_pitches, duration, events, quarter_seconds
from perrin.kinds.music.reading import read_tune
from perrin.kinds.music.sound import RATE, midi_bytes, wave


def tune(body, metre="4/4", key="C", unit="1/8"):
    return f"X:1\nT:t\nM:{metre}\nL:{unit}\nK:{key}\n{body}\n"


@pytest.mark.parametrize(
    ("text", "bars", "counted", "whole", "lengths"),
    [
        (tune("ABcd efga | A8 | z4 (3ABc d2 |"), 3, 3, 3, ["4", "4", "4"]),
        (tune("ABc def | g3 a2 |", "6/8"), 2, 2, 1, ["3", "5/2"]),
        (tune("A | BcB AGA | B3 c2 :|", "6/8"), 3, 3, 3, ["1/2", "3", "5/2"]),  # a pickup and what it leaves
        (tune("A | B3 c3 | d6 ||", "6/8"), 3, 2, 2, ["1/2", "3", "3"]),  # a pickup alone counts neither way
        (tune("A2 | B4 c4 |1 d6 :|2 e8 | f4 ||"), 5, 5, 4, ["1", "4", "3", "4", "2"]),
        (tune("A>B c<d e2 f2 | A6 |"), 2, 2, 1, ["4", "3"]),
        (tune("A8 | B6 | c8 | d8 |"), 4, 4, 3, ["4", "3", "4", "4"]),  # short in the middle of a part
        (tune("A8 | B6 | c2 | d8 | e8 |"), 5, 5, 3, ["4", "3", "1", "4", "4"]),  # nor do two such make one
        (tune("A10 | B8 |"), 2, 2, 1, ["5", "4"]),
        (tune("A4 | B4 |", "2/4"), 2, 2, 2, ["2", "2"]),
        (tune("A8 |\nM:6/8\nB6 | c8 |"), 3, 3, 2, ["4", "3", "4"]),
    ],
)
def test_bars_are_as_long_as_they_should_be(text, bars, counted, whole, lengths):
    found = figures(text)
    assert found.parses, found.fault
    assert (found.bars, found.counted, found.whole) == (bars, counted, whole)
    assert [str(length) for length in found.lengths] == lengths
    assert found.share == whole / counted


@pytest.mark.parametrize("text", ["X:1\nM:6/8\nL:1/8\nABc", tune("|| ::"), tune("A&B"), "", tune("[1")])
def test_what_is_no_tune_does_not_parse(text):
    found = figures(text)
    assert not found.parses
    assert found.fault
    assert found.share == 0


def test_repeats_are_played_with_their_own_endings():
    reading = read_tune(tune("C8 |: D8 |1 E8 :|2 F8 |: G8 :| A8 |"))
    assert [event.pitch for event in events(reading)] == [60, 62, 64, 62, 65, 67, 67, 69]
    assert duration(reading) == 8 * 4


def test_a_repeat_without_a_beginning_goes_back_to_the_start_and_one_sign_may_be_both():
    reading = read_tune(tune("C8 | D8 :: E8 :|"))
    assert [event.pitch for event in events(reading)] == [60, 62, 60, 62, 64, 64]


def test_ties_join_and_chords_last_until_the_next():
    reading = read_tune(tune('"C"C4 D4- | "G7"D2 ^F6 |', key="C"))
    melody = [(e.start, e.length, e.pitch) for e in events(reading) if not e.chord]
    assert melody == [(0, 2, 60), (2, 3, 62), (5, 3, 66)]
    chords = {(e.start, e.length) for e in events(reading) if e.chord}
    assert chords == {(0, 4), (4, 4)}


@pytest.mark.parametrize(
    ("symbol", "pitches"),
    [("C", [48, 52, 55]), ("Am", [45, 48, 52]), ("G7", [43, 47, 50, 53]), ("F#dim", [54, 57, 60]), ("Bb", [46, 50, 53]),
     ("x", [])],
)  # fmt: skip
def test_chord_symbols_sound_as_they_say(symbol, pitches):
    assert chord_pitches(symbol) == pitches


def test_midi_read_back_holds_the_notes():
    from music21 import converter

    reading = read_tune(tune("(3ABc d2 e>f g2 |: a4 _B4 :|", key="G"))
    score = converter.parseData(midi_bytes(reading), format="midi")
    notes = [(Fraction(n.offset).limit_denominator(12), n.pitch.midi) for n in score.flatten().notes]
    assert notes == [(event.start.limit_denominator(12), event.pitch) for event in events(reading)]


def test_sound_lasts_as_long_as_the_tune_and_sings_its_pitch():
    reading = read_tune(tune("A8 |: A8 :|"))
    rate, sound = wavfile.read(io.BytesIO(_wav(reading)))
    assert rate == RATE
    assert sound.dtype == np.int16
    assert len(sound) == round(12 * quarter_seconds("4/4") * RATE)
    spectrum = np.abs(np.fft.rfft(sound[:RATE]))
    assert spectrum.argmax() == 440  # A4, one second of it: bins are hertz
    assert 0.7 < np.abs(sound).max() / 32767 < 0.9


def _wav(reading):
    from perrin.kinds.music.sound import wav_bytes

    return wav_bytes(reading)


def test_sound_of_compound_time_counts_in_dotted_quarters():
    assert quarter_seconds("6/8") == pytest.approx(quarter_seconds("4/4") * 2 / 3)
    assert len(wave(read_tune(tune("A6|", "6/8")))) == round(3 * quarter_seconds("6/8") * RATE)


BOOK = "".join(
    f"X:{i}\nT:Tune {i}\nM:{metre}\nL:1/8\nK:{key}\n" + '"G"' * (i % 2) + notes + "\n\n"
    for i, (metre, key, notes) in enumerate(
        [("4/4", "D", "A | d2f2 a2f2 | (3gab a2 ^g2 =g2 | d4 z3 :|"), ("6/8", "G", "gab d3- | d2 B A>BA | G6 ||"),
         ("6/8", "Am", "ABc ecA | e6 |"), ("2/4", "F", "cA FA | c'4 :|")] * 3
    )
)  # fmt: skip


@pytest.fixture
def book(tmp_path):
    (tmp_path / "book.abc").write_text(BOOK)
    return Music.open(tmp_path / "book.abc")


def test_a_book_is_opened_tune_by_tune(book):
    assert len(book) == 12
    assert book[1]["name"] == "book.abc X:1 Tune 1"
    assert book.classes == ["2/4", "4/4", "6/8"]
    assert [book[i]["label"] for i in range(4)] == [1, 2, 2, 0]
    assert read_pieces(book[2]["value"])[:2] == ["M:6/8", "K:Am"]


def test_labels_may_be_keys_or_nothing(tmp_path, book):
    assert Music.open(tmp_path / "book.abc", label="key").classes == ["Am", "D", "F", "G"]
    assert Music.open(tmp_path, label="none").classes is None


def test_broken_tunes_are_refused_or_left_out(tmp_path):
    (tmp_path / "b.abc").write_text(BOOK + "X:99\nT:Bad\nK:C\nA&B\n")
    with pytest.raises(PerrinError, match=r"1 of 13.*X:99 Bad"):
        Music.open(tmp_path)
    assert Music.open(tmp_path, broken="skip").skipped == ["b.abc X:99 Bad"]


@pytest.mark.parametrize(
    ("name", "content", "says"), [("a.txt", "x", "no .abc file"), ("a.abc", "no tune", "no tune in")]
)
def test_what_holds_no_tunes_is_refused(tmp_path, name, content, says):
    (tmp_path / name).write_text(content)
    with pytest.raises(PerrinError, match=says):
        Music.open(tmp_path / name)


@pytest.mark.parametrize("chords", [False, True])
def test_tokens_are_the_tune_up_to_what_is_left_out(book, chords):
    codec = Music.codec.fit(book, chords=chords)
    for i in range(12):
        value = book[i]["value"]
        wanted = [p for p in read_pieces(value) if chords or not p.startswith('"')]
        state = codec.encode([book[i]]).state
        assert read_pieces(codec.decode(state)[0]) == wanted
    assert Music.codec.from_config(json.loads(json.dumps(codec.config()))) == codec


def test_a_tune_in_another_key_has_the_same_tokens_but_one(book):
    codec = Music.codec.fit(book)
    in_d, in_g = (
        codec.tokens(tune(body, key=key)) for body, key in (("d f a ^g |", "D"), ("G B d ^c |", "G"))
    )
    assert (in_d != in_g).sum() == 1
    assert in_d[1] != in_g[1]


def test_rare_signs_are_spelled_by_near_ones(book):
    codec = Music.codec.fit(book, chords=True)
    strange = tune('"F#m7"a/2b/4c/4 ^^d c,, | f8 |', metre="7/8", key="F#")
    found = read_pieces(codec.text(codec.tokens(strange)))
    assert found == ["M:none", "K:E", '"E"', "g", "c", "B", "|", "e8", "|"]


def test_lengths_are_those_of_the_training_tunes(book):
    codec = Music.codec.fit(book)
    lengths = sorted(len(codec.tokens(book[i]["value"])) for i in range(12))
    assert codec.length(0.0) == lengths[0]
    assert codec.length(1.0) == lengths[-1]
    assert codec.lengths == lengths


def test_tunes_longer_than_the_context_are_left_out(book):
    lengths = Music.codec.fit(book).lengths
    codec = Music.codec.fit(book, context=lengths[6])
    cut = codec.cut(book)
    assert cut.description["longer"] == sum(length > lengths[6] for length in lengths) > 0
    assert codec.length(1.0) == lengths[6]
    assert torch.equal(codec.encode([cut[0]]).state, codec.encode([book[cut_index(cut, book)]]).state)
    with pytest.raises(PerrinError, match="too short"):
        Music.codec.fit(book, context=4)


def cut_index(cut, book):
    return next(i for i in range(len(book)) if book[i]["name"] == cut[0]["name"])


def test_a_prompt_may_be_a_header_alone(book):
    codec = Music.codec.fit(book)
    known = codec.known("M:6/8\nK:G\n", 20)
    assert (
        known.tolist()
        == [codec.vocabulary.known.index("M:6/8"), codec.vocabulary.known.index("K:G")]
        + [codec.categories] * 18
    )
    assert codec.text(known).startswith("M:6/8 K:G ░░")


def test_a_folder_holds_every_form_with_how_it_was_made(book, tmp_path):
    codec = Music.codec.fit(book)
    good, bad = book[0]["value"], "X:1\nno tune"
    files = codec.save([good, bad], tmp_path / "out", [{"seed": 4}, {"seed": 5}])
    names = {file.name for file in files}
    assert {"00000.abc", "00000.mid", "00000.wav", "00000.png", "00001.abc"} <= names
    assert "00001.mid" not in names
    for suffix in (".abc", ".mid", ".wav", ".png"):
        assert read_provenance(tmp_path / "out" / f"00000{suffix}") == {"seed": 4}
    assert Music.read_saved(tmp_path / "out" / "00000.wav").dtype == np.int16
    assert len(Music.open(tmp_path / "out" / "00000.abc")) == 1


def test_a_book_that_was_saved_is_a_book_to_open(book, tmp_path):
    codec = Music.codec.fit(book)
    values = [book[i]["value"] for i in range(12)]
    codec.save(values, tmp_path / "again.abc", [{"seed": i} for i in range(12)])
    again = Music.open(tmp_path / "again.abc")
    assert [read_pieces(again[i]["value"]) for i in range(12)] == [read_pieces(v) for v in values]
    assert read_provenance(tmp_path / "again.abc")["items"][3] == {"seed": 3}
    with pytest.raises(PerrinError, match="holds one tune"):
        codec.save(values, tmp_path / "all.wav", [{}] * 12)
    with pytest.raises(PerrinError, match=r"not '.*x\.mp3'"):
        codec.save(values, tmp_path / "x.mp3", [{}] * 12)


def test_the_picture_shows_each_note_once(book):
    codec = Music.codec.fit(book)
    from perrin.kinds.music.roll import INK, QUARTER

    roll = np.asarray(codec.picture([tune("C2 z2 c2 z2 |")]))
    inked = (roll == INK).all(-1)
    assert inked.any(0).sum() == 2 * (QUARTER - 2)  # two quarter notes and two rests
    assert codec.picture(["nothing"]) is None


def test_a_copy_is_a_copy_in_any_key():
    notes = "cdef gabc' | edce fdge | a2g2 f2e2 | dcBA G4 | ABcd ecAc | d6 z2 |"
    up = "defg abc'd' | fedf geaf | b2a2 g2f2 | edcB A4 | Bcde fdBd | e6 z2 |"
    known = [tune(notes)]
    other = tune("c4 G4 | E4 C4 | D2F2 A2c2 | B8 |")
    assert copies([tune(notes), tune(up, key="D"), other, "nothing"], known).tolist() == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no tunes at '{DATA}'")
def test_real_tunes_keep_time_and_both_readers_agree():
    from perrin.kinds.music.lengths import note_lengths

    dataset = Music.open(DATA / "morris.abc")
    found = [figures(dataset[i]["value"]) for i in range(len(dataset))]
    assert all(f.parses for f in found)
    assert np.mean([f.share >= 0.8 for f in found]) > 0.9
    for i, f in enumerate(found):
        own = sum(note_lengths(read_pieces(dataset[i]["value"])))
        assert sum(f.lengths) == own / 2  # quarter notes; eighths

"""Texts and tokens say the same; prompts, gaps and files of texts; every mistake is named in a line."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perrin.errors import PerrinError
from perrin.kinds.provenance import read_provenance
from perrin.kinds.selection import Selection
from perrin.kinds.text import Text, TextCodec
from perrin.kinds.text.byte_pairs import byte_characters
from perrin.kinds.text.vocabularies import Bytes, Characters, blocks

VERSE = "Shall I compare thee to a summer's day?\nThou art more lovely and more temperate.\n"


class Shelf:
    """A source of given texts."""

    def __init__(self, texts, labels=None, classes=None):
        self.texts, self.classes = texts, classes
        self.labels = None if labels is None else np.array(labels)

    def read(self, index):
        return self.texts[index]

    def name(self, index):
        return f"text {index}"

    def __len__(self):
        return len(self.texts)


def dataset(*texts, labels=None, classes=None):
    return Selection(Shelf(texts, labels, classes), np.arange(len(texts)), {"path": "x"}, [])


def item(value, label=None):
    return {"value": value, "label": label, "name": "it"}


def fitted(level="character", **options):
    if level == "bpe":
        pytest.importorskip("tokenizers")
        options.setdefault("vocabulary", 300)
    return Text.codec.fit(dataset(VERSE * 3), level=level, **{"context": 32, **options})


@pytest.fixture(scope="module", params=["character", "byte", "bpe"])
def codec(request):
    return fitted(request.param)


SURROGATES = ("Cs",)
ANY_TEXT = st.text(st.characters(exclude_categories=SURROGATES))
VERSE_TEXT = st.text(st.sampled_from(sorted(set(VERSE))))


@settings(deadline=None)
@given(VERSE_TEXT)
def test_characters_give_every_text_of_them_back(text):
    codec = fitted()
    assert codec.text(codec.tokens(text)) == text
    assert len(codec.tokens(text)) == len(text)


@settings(deadline=None)
@given(ANY_TEXT)
def test_bytes_give_every_text_back(text):
    codec = TextCodec(8, None, Bytes(), [8])
    assert codec.text(codec.tokens(text)) == text
    assert codec.tokens(text).tolist() == list(text.encode())


BPE = []


@settings(deadline=None)
@given(ANY_TEXT)
def test_pieces_give_every_text_back(text):
    BPE[:] = BPE or [fitted("bpe")]
    assert BPE[0].text(BPE[0].tokens(text)) == text


def test_characters_are_the_sorted_ones_of_the_training_texts_and_those_asked_for():
    assert fitted().vocabulary == Characters("".join(sorted(set(VERSE))))
    codec = fitted(vocabulary="éS")
    assert codec.vocabulary.characters == "".join(sorted({*VERSE, "é"}))
    assert codec.categories == len(set(VERSE)) + 1


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-1, 256), max_size=40))
def test_every_position_has_its_piece_and_together_they_are_the_text(row):
    codec = TextCodec(64, None, Bytes(), [64])
    pieces = codec.pieces(np.array(row))
    assert len(pieces) == len(row)
    assert "".join(pieces) == codec.text(row)
    for token, piece in zip(row, pieces, strict=True):
        assert (piece == "░") == (token == 256)
        assert token != -1 or piece == ""
    runs = bytes(token if token in range(256) else 10 for token in row if token != -1).decode(
        errors="replace"
    )
    if 256 not in row and -1 not in row:
        assert "".join(pieces) == runs


def test_a_character_of_several_bytes_stands_where_its_last_byte_is():
    codec = TextCodec(8, None, Bytes(), [8])
    assert codec.pieces(codec.tokens("aé!")) == ["a", "", "é", "!"]
    assert codec.pieces([0xC3, 256, 0xA9]) == ["\ufffd", "░", "\ufffd"]  # torn by what is not known yet


def test_tokens_outside_the_vocabulary_are_refused(codec):
    for bad in (codec.categories + 1, -2):
        with pytest.raises(PerrinError, match=f"token {bad} at position 1 is none of"):
            codec.text([0, bad])
    with pytest.raises(PerrinError, match="whole numbers"):
        codec.decode(torch.zeros(1, 4))
    with pytest.raises(PerrinError, match="it holds tokens outside"):
        codec.encode([item(np.array([codec.categories]))])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Shall I\nthé\n\n", r"'é' at position 10 \(line 2\) of the text is not among this model's 24 characters; the "
         "nearest of them is 'e'$"),
        ("art“day”", r"'“' at position 3 \(line 1\) .* characters; nor are '”'$"),
        ("don\N{RIGHT SINGLE QUOTATION MARK}t", "'\N{RIGHT SINGLE QUOTATION MARK}' .*; the nearest of them is \"'\"$"),
        ("ART", r"'A' at position 0 .* is 'a'; nor are 'R'$"),
        ("日本", r"'日' .* characters; nor are '本'$"),
    ],
)  # fmt: skip
def test_a_character_outside_is_named_with_its_place_and_the_nearest_inside(text, said):
    with pytest.raises(PerrinError, match=said) as error:
        fitted().tokens(text)
    assert "\n" not in str(error.value)


def test_half_a_character_is_refused_by_every_vocabulary(codec):
    with pytest.raises(PerrinError, match=r"'\\ud800' at position 2 \(line 2\) of the text is"):
        codec.tokens("a\n\ud800")


def test_a_codec_is_its_config(codec):
    held = json.loads(json.dumps(codec.config()))
    again = TextCodec.from_config(held)
    assert again == codec
    assert again.tokens(VERSE).tolist() == codec.tokens(VERSE).tolist()
    with pytest.raises(PerrinError, match="codec option 'contex' is not known; did you mean 'context'"):
        TextCodec.from_config({**held, "contex": 3})
    with pytest.raises(PerrinError, match="level of a vocabulary 'word' is not known"):
        TextCodec.from_config({**held, "vocabulary": {"level": "word"}})


def test_states_are_tokens_padded_with_minus_one(codec):
    batch = codec.encode([item("more"), item(VERSE * 2), item("")])
    assert batch.state.dtype == torch.int64
    assert batch.state.shape == (3, *codec.shape) == (3, 32)
    short = codec.tokens("more").tolist()
    assert batch.state[0].tolist() == short + [-1] * (32 - len(short))
    assert batch.state[1].tolist() == codec.tokens(VERSE * 2)[:32].tolist()
    assert batch.state[2].tolist() == [-1] * 32
    assert codec.decode(batch.state)[0] == "more"
    assert codec.decode(batch.state)[2] == ""
    assert batch.condition is None
    assert torch.equal(codec.encode([item(codec.tokens(VERSE * 2))]).state[0], batch.state[1])


def test_labels_become_the_condition_unless_they_are_not_wanted():
    data = dataset("ab", "ba", "b", labels=[1, -1, 0], classes=["x", "y"])
    batch = Text.codec.fit(data).encode([data[i] for i in range(3)])
    assert batch.condition["label"].tolist() == [1, -1, 0]
    assert Text.codec.fit(data, labels=False).encode([data[0]]).condition is None


def test_lengths_are_those_of_the_training_texts():
    codec = Text.codec.fit(dataset("ab", "abc", "b", "a" * 99), context=10)
    assert codec.lengths == [1, 2, 3, 10]
    assert [codec.length(u) for u in (0, 0.24, 0.25, 0.5, 0.99, 1)] == [1, 1, 2, 3, 10, 10]
    many = Text.codec.fit(dataset(*("a" * n for n in range(1, 1001))), context=500)
    assert len(many.lengths) == 101
    assert many.lengths[:3] == [5, 15, 25]  # the quantiles (i + 1/2) / 101 of 1 .. 1,000
    assert many.lengths[51:] == [500] * 50
    assert fitted().lengths == [32]


def test_a_long_text_is_measured_by_its_beginning_only_where_that_tells():
    pytest.importorskip("tokenizers")
    data = dataset("a" * 4096)
    codec = Text.codec.fit(data, level="bpe", vocabulary=266, context=4)  # aa, aaaa, ..., 1,024 times a
    assert codec._length(item("a" * 3072)) == len(codec.tokens("a" * 3072)) == 3
    assert codec._length(item(VERSE * 9)) == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"level": "word"}, "level 'word' is not known"),
        ({"level": "byte", "vocabulary": 300}, "does not go with level byte"),
        ({"level": "character", "vocabulary": 300}, "does not go with level character"),
        ({"level": "bpe", "vocabulary": "abc"}, "does not go with level bpe"),
        ({"level": "bpe", "vocabulary": 255}, "smaller than the 256 bytes"),
        ({"level": "byte", "tokenizer": "t.json"}, "goes with level: bpe"),
        ({"tokenizer": "none.json"}, "cannot read the tokenizer 'none.json'"),
        ({"context": 0}, "context = 0 must be at least 1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, said):
    with pytest.raises(PerrinError, match=said):
        Text.codec.fit(dataset(VERSE), **options)
    with pytest.raises(PerrinError, match="the dataset is empty"):
        Text.codec.fit(dataset())


def test_training_pieces_needs_the_library_and_says_so(monkeypatch):
    monkeypatch.setattr("perrin.kinds.text.byte_pairs.find_spec", lambda name: None)
    with pytest.raises(PerrinError, match=r"needs the library tokenizers: pip install 'perrin\[text\]'"):
        Text.codec.fit(dataset(VERSE), level="bpe")


def test_text_of_pieces_is_read_without_the_library(monkeypatch):
    codec = fitted("bpe")
    tokens, held = codec.tokens(VERSE), codec.config()
    monkeypatch.setattr("perrin.kinds.text.byte_pairs.find_spec", lambda name: None)
    again = TextCodec.from_config(held)
    assert again.text(tokens) == VERSE
    with pytest.raises(PerrinError, match="this model's vocabulary needs the library"):
        again.known("thee")


def test_pieces_are_a_function_of_the_training_texts_alone():
    assert fitted("bpe").config() == fitted("bpe").config()
    codec = fitted("bpe")
    assert codec.categories == 300
    assert len(codec.tokens(VERSE)) < 0.75 * len(VERSE)  # they were trained on it
    assert codec.tokens("日本").max() < 300  # bytes spell what was never seen
    assert len(codec.tokens("日本")) == 6


def test_pieces_of_a_long_text_are_those_of_the_whole(monkeypatch):
    codec, long = fitted("bpe"), VERSE * 60
    whole = codec.vocabulary._library.encode(long, add_special_tokens=False).ids
    monkeypatch.setattr(
        "perrin.kinds.text.byte_pairs.blocks", lambda text: blocks(text, 100)
    )  # as a text of gigabytes
    assert len(list(blocks(long, 100))) > 30
    assert codec.tokens(long).tolist() == whole


def test_a_tokenizer_file_takes_the_place_of_training_one(tmp_path):
    held = fitted("bpe").vocabulary
    file = tmp_path / "tokenizer.json"
    file.write_text(held.tokenizer, encoding="utf-8")
    codec = Text.codec.fit(dataset(VERSE), tokenizer=str(file))
    assert codec.vocabulary == held
    with pytest.raises(PerrinError, match="has 300 tokens and the vocabulary is to have 400"):
        Text.codec.fit(dataset(VERSE), tokenizer=str(file), vocabulary=400)
    config = codec.config()
    config["vocabulary"]["count"] = 400
    with pytest.raises(PerrinError, match="the tokenizer has 300 tokens and this vocabulary 400"):
        TextCodec.from_config(config)
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(PerrinError, match=r"is no tokenizer\.json"):
        Text.codec.fit(dataset(VERSE), tokenizer=str(file))


def test_a_tokenizer_that_changes_texts_is_refused(tmp_path):
    held = json.loads(fitted("bpe").vocabulary.tokenizer)
    held["normalizer"] = {"type": "Lowercase"}
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(held), encoding="utf-8")
    with pytest.raises(
        PerrinError, match=r"does not give back 'text 0': 'Shall I .* becomes 'shall i"
    ) as error:
        Text.codec.fit(dataset(VERSE), tokenizer=str(file)).cut(dataset(VERSE))
    assert "\n" not in str(error.value)
    held["decoder"] = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    file.write_text(json.dumps(held), encoding="utf-8")
    with pytest.raises(PerrinError, match=r"is no byte-level BPE .*WordPiece"):
        Text.codec.fit(dataset(VERSE), tokenizer=str(file))


def test_special_tokens_of_a_tokenizer_spell_themselves(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer.from_str(fitted("bpe").vocabulary.tokenizer)
    made.add_special_tokens(["<|end|>"])
    made.save(str(tmp_path / "t.json"))
    codec = Text.codec.fit(dataset(VERSE), tokenizer=str(tmp_path / "t.json"))
    assert codec.categories == 301
    assert codec.tokens("day<|end|>")[-1] == 300
    assert codec.text(codec.tokens("day<|end|>")) == "day<|end|>"


def test_the_bytes_of_a_byte_level_vocabulary_are_those_of_the_library():
    pre_tokenizers = pytest.importorskip("tokenizers").pre_tokenizers
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    ours = byte_characters()
    assert sorted(ours) == sorted(level.alphabet())
    for text in ("\0\x1f !~\x7f", "¡¬®ÿ", "日本\U0001f600"):
        (written, _), *_ = level.pre_tokenize_str(text)
        assert written == "".join(ours[byte] for byte in text.encode())


def test_a_prompt_is_known_and_what_follows_is_not(codec):
    state = codec.known("more love", 20)
    given = codec.tokens("more love").tolist()
    assert state.dtype == torch.int64
    assert state.tolist() == given + [codec.categories] * (20 - len(given))
    assert codec.known("").tolist() == [codec.categories] * 32
    assert codec.text(codec.known("day", 8)).rstrip("░") == "day"
    with pytest.raises(PerrinError, match="more than this model's context of 32; shorten it"):
        codec.known(VERSE * 3)
    with pytest.raises(PerrinError, match=r"has \d+ tokens, more than the length of 2; shorten it"):
        codec.known("temperate lovely", 2)
    with pytest.raises(PerrinError, match="a length of 0 tokens; write at least 1"):
        codec.known("a", 0)
    assert codec.known("a", 90).shape == (90,)  # longer than the context: drawn window by window


def test_every_run_of_three_or_more_underscores_is_a_gap(codec):
    mask, tokens = [codec.categories], lambda text: codec.tokens(text).tolist()
    assert codec.infill("thee ___ a _____").tolist() == tokens("thee ") + mask * 3 + tokens(" a ") + mask * 5
    assert codec.infill("___ day", gap=7).tolist() == mask * 7 + tokens(" day")
    assert codec.infill("____").tolist() == mask * 4
    for pattern in ("no gap", "two __ are none" if codec.vocabulary.level != "character" else "none"):
        with pytest.raises(
            PerrinError, match=f"no gap in '{pattern}'; mark it with three or more underscores"
        ):
            codec.infill(pattern)
    with pytest.raises(
        PerrinError, match=r"the pattern has 4\d tokens with its gaps, more than .* 32; shorten it"
    ):
        codec.infill("a" + "_" * 40)
    with pytest.raises(PerrinError, match="gap = 0; a gap has at least 1 token"):
        codec.infill("a ___", gap=0)


def test_characters_outside_are_named_in_prompts_and_patterns():
    with pytest.raises(PerrinError, match=r"'é' at position 2 \(line 1\) of the prompt"):
        fitted().known("thé é")
    with pytest.raises(PerrinError, match=r"'é' at position 3 \(line 1\) of the pattern's part ' thé'"):
        fitted().infill("a ___ thé")


MADE = [{"index": 3, "seed": 1, "label": 0}, {"index": 4, "seed": 1, "label": -1}]


def test_saved_texts_come_back_with_how_they_were_made(codec, tmp_path):
    decoded = ["thee\nand", "day é"]
    labelled = TextCodec(codec.context, ["new old"], codec.vocabulary, codec.lengths)
    both = np.array([ord(c) for c in "".join(decoded)])

    files = labelled.save(decoded, tmp_path / "folder", MADE)
    assert [file.name for file in files] == [
        "00003_new-old.txt", "00003_new-old.txt.json", "00004.txt", "00004.txt.json",
    ]  # fmt: skip
    assert [file.read_bytes().decode() for file in files[::2]] == decoded
    assert [read_provenance(file) for file in files[::2]] == MADE
    assert [i["value"] for i in Text.open(tmp_path / "folder")] == decoded

    (lines,) = labelled.save(decoded, tmp_path / "a.jsonl", MADE)
    rows = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert [row["provenance"] for row in rows] == MADE
    assert [row["label"] for row in rows] == ["new old", None]
    assert [i["value"] for i in Text.open(lines)] == decoded
    assert Text.read_saved(lines).tolist() == both.tolist()

    plain, beside = labelled.save(decoded, tmp_path / "a.txt", MADE)
    assert read_provenance(plain) == {"items": MADE}
    assert beside.name == "a.txt.json"
    assert plain.read_text(encoding="utf-8").split("\n\n" + "-" * 40 + "\n\n") == decoded
    (alone, _) = labelled.save(decoded[:1], tmp_path / "b.txt", MADE[:1])
    assert Text.read_saved(alone).tolist() == [ord(c) for c in decoded[0]]
    assert read_provenance(alone) == MADE[0]

    with pytest.raises(PerrinError, match=r"saved as .txt, .jsonl or .parquet, or into a folder, not"):
        labelled.save(decoded, tmp_path / "a.doc", MADE)


def test_saved_parquet_comes_back(tmp_path):
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (file,) = fitted().save(["a", "b"], tmp_path / "a.parquet", MADE)
    assert [json.loads(made) for made in parquet.read_table(file)["provenance"].to_pylist()] == MADE
    assert [i["value"] for i in Text.open(file)] == ["a", "b"]
    assert Text.read_saved(file).tolist() == [97, 98]


def test_it_says_what_a_state_of_tokens_is(codec):
    assert (codec.sigma_data, codec.lattice, codec.log_det(), codec.augments) == (1.0, None, 0.0, True)
    assert codec.picture(["a"]) is None
    assert codec.categories == codec.vocabulary.size
    with pytest.raises(PerrinError, match="the data have no labels"):
        codec.label("x")

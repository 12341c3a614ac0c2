"""Windows show every token of every document once, and their crops begin everywhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kinds.test_text import dataset, item

from perrin.errors import PerrinError
from perrin.kinds.text import TextCodec
from perrin.kinds.text.vocabularies import Bytes, Characters
from perrin.kinds.text.windows import Window, crop


def lettered(size, first=0):
    """A text whose characters are all different, so that every place in it is known by its character."""
    return "".join(chr(0x4E00 + first + i) for i in range(size))


def documents(sizes):
    return [lettered(size, sum(sizes[:i])) for i, size in enumerate(sizes)]


def codec_of(texts, context):
    return TextCodec(context, None, Characters("".join(texts) or "a"), [context])


SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=6)


@settings(deadline=None, max_examples=100)
@given(SIZES, st.integers(1, 20))
def test_windows_show_every_token_once_in_order_and_never_cross_documents(sizes, context):
    texts = documents(sizes)
    codec = codec_of(texts, context)
    cut = codec.cut(dataset(*texts))
    shown = codec.decode(codec.encode(list(cut)).state)
    assert "".join(shown) == "".join(texts)
    for text, window in zip(shown, cut, strict=True):
        assert 0 < len(text) <= context
        owner = texts[int(window["name"].split()[1])]
        assert text in owner
        several = len(owner) > context
        assert window["name"].endswith(f" @ {owner.index(text)}") == several


@settings(deadline=None, max_examples=60)
@given(SIZES, st.integers(1, 12))
def test_crops_begin_everywhere_and_never_cross_documents(sizes, context):
    texts = documents(sizes)
    codec = codec_of(texts, context)
    found = set()
    for window in codec.cut(dataset(*texts)):
        tokens = window["value"].tokens
        for start in range(max(1, len(tokens) - context + 1)):  # all that a seed can give; see the next test
            found.add(codec.text(tokens[start : start + context]))
    wanted = {text[i : i + context] for text in texts for i in range(max(1, len(text) - context + 1))}
    assert found == wanted


def test_seeds_give_every_crop_of_a_window_equally_often():
    tokens = np.arange(15)
    starts = [int(crop(Window(tokens, 0), 8, seed)[0]) for seed in range(4000)]
    counts = np.bincount(starts, minlength=8)
    assert len(counts) == 8
    assert np.abs(counts - 500).max() < 4 * np.sqrt(500 * 7 / 8)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5))
def test_a_crop_is_a_function_of_its_seed_alone(seeds):
    codec = TextCodec(16, None, Bytes(), [16])
    value = bytes(range(32, 127)).decode()
    together = codec.encode([item(value)] * len(seeds), seeds).state
    for row, seed in zip(together, seeds, strict=True):
        assert codec.encode([item(value)], [seed]).state[0].tolist() == row.tolist()
        assert codec.text(row) in value


def test_a_document_that_fits_stays_whole_whatever_the_seed():
    codec = codec_of([lettered(10)], 10)
    cut = codec.cut(dataset(lettered(10)))
    assert len(cut) == 1
    assert cut[0]["name"] == "text 0"
    assert codec.decode(codec.encode([cut[0]], [5]).state) == [lettered(10)]


def test_labels_and_facts_go_with_the_windows():
    texts = documents([25, 3])
    whole = dataset(*texts, labels=[1, -1], classes=["a", "b"])
    codec = TextCodec(10, ["a", "b"], Characters("".join(texts)), [10])
    cut = codec.cut(whole)
    assert [window["label"] for window in cut] == [1, 1, 1, None]
    assert [window["name"] for window in cut] == ["text 0 @ 0", "text 0 @ 10", "text 0 @ 20", "text 1"]
    assert cut.classes == ["a", "b"]
    assert (cut.description["tokens"], cut.description["documents"], cut.description["count"]) == (28, 2, 4)
    some = cut.split(2, seed=0)[1]
    assert len(some) == 2


def test_tokens_are_kept_in_the_smallest_type_that_holds_them():
    cut = TextCodec(10, None, Bytes(), [10]).cut(dataset("ab" * 100))
    assert cut.source.tokens.dtype == np.uint8
    assert cut.source.tokens.nbytes == 200
    many = lettered(300)
    assert codec_of([many], 10).cut(dataset(many)).source.tokens.dtype == np.uint16


def test_a_character_that_training_lacked_is_named_with_what_to_do():
    codec = codec_of(["abc\n"], 10)
    said = r"'é' at position 4 \(line 2\) of 'text 0' .* \(vocabulary: \"...\"\), or write level: byte"
    with pytest.raises(PerrinError, match=said) as error:
        codec.cut(dataset("abc\né"))
    assert "\n" not in str(error.value)

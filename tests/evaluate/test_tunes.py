"""The four tests of tunes, and distances of distributions, on tunes written by hand."""

import itertools

import numpy as np
import pytest

pytest.importorskip("music21", reason="tunes are read by music21: pip install 'perrin[music]'")

from perrin.errors import PerrinError
from perrin.evaluate.symbol_chains import ngram_texts
from perrin.evaluate.tunes import distribution_picture, judge, tune_figures, variation
from perrin.kinds.music import Music

NOTES = "CDEFGABcdefgab"


def tune(seed, bars=8, metre="4/4", key="C", wrong=0):
    generator = np.random.default_rng(seed)
    made = ["".join(generator.choice(list(NOTES), 8)) for _ in range(bars)]
    made = [bar[:7] if i in range(2, 2 + wrong) else bar for i, bar in enumerate(made)]
    return f"X:{seed + 1}\nT:t\nM:{metre}\nL:1/8\nK:{key}\n{'|'.join(made)}|\n"


def test_each_test_fails_the_tune_that_it_is_for():
    known = [tune(0), tune(1, key="D")]
    copied_in_another_key = tune(0).replace("K:C", "K:C\nK:C")
    tunes = [
        tune(5),
        tune(6, bars=7),
        tune(7, wrong=2),
        tune(8, wrong=1),
        copied_in_another_key,
        "X:1\nK:C\nA&",
    ]
    tests = judge(tunes, known).tests
    assert tests["parses"].tolist() == [True] * 5 + [False]
    assert tests["bars"].tolist() == [True, False, True, True, True, False]
    assert tests["whole"].tolist() == [True, True, False, True, True, False]
    assert tests["original"].tolist() == [True, True, True, True, False, True]
    assert tests["good"].tolist() == [True, False, False, True, False, False]


def test_shares_and_distributions_are_counts():
    judgement = judge([tune(1), tune(2, metre="2/2"), tune(3, wrong=1), "nothing"], [tune(9)])
    shares = judgement.shares()
    assert shares["parses_share"] == 0.75
    assert shares["whole_bars"] == pytest.approx((1 + 1 + 7 / 8 + 0) / 4)
    found = judgement.distributions()
    assert found["metres"] == {"4/4": pytest.approx(2 / 3), "2/2": pytest.approx(1 / 3)}
    assert found["bar_lengths"] == {"4": pytest.approx(23 / 24), "7/2": pytest.approx(1 / 24)}


def test_variation_is_half_the_sum_of_differences():
    assert variation({"a": 0.5, "b": 0.5}, {"b": 0.25, "c": 0.75}) == pytest.approx(0.75)
    assert variation({"a": 1.0}, {"a": 1.0}) == 0
    assert variation({"a": 1.0}, {"b": 1.0}) == 1


@pytest.fixture
def book(tmp_path):
    (tmp_path / "a.abc").write_text("\n".join(tune(seed, key="CGD"[seed % 3]) for seed in range(24)))
    return Music.open(tmp_path / "a.abc")


def test_ngrams_begin_as_tunes_do_and_are_as_long(book):
    codec = Music.codec.fit(book)
    drawn = ngram_texts(codec, book, 20)
    heads = [text.splitlines()[2:5] for text in drawn]
    assert np.mean([head[0] == "M:4/4" and head[2][:2] == "K:" for head in heads]) >= 0.8
    assert drawn == ngram_texts(codec, book, 20)
    assert drawn != ngram_texts(codec, book, 20, seed=1)
    pairs = {pair for i in range(24) for pair in itertools.pairwise(codec.tokens(book[i]["value"]).tolist())}
    kept, shuffled = [], []
    for text in drawn:
        tokens = codec.tokens(text) if "K:" in text else np.zeros(0, int)
        for made, row in ((kept, tokens), (shuffled, np.random.default_rng(0).permutation(tokens))):
            made += [pair in pairs for pair in itertools.pairwise(row.tolist())]
    assert np.mean(kept) > np.mean(shuffled) + 0.1  # tokens follow one another as they do in the tunes


def test_figures_stand_beside_ceiling_and_baseline(book):
    codec = Music.codec.fit(book)
    train, test = book.split(8, 0)
    values = [train[i]["value"] for i in range(len(train))]
    found, judged = tune_figures(values, codec, train, test)
    assert found["original_share"] == 0  # the training tunes themselves
    assert found["original_share_ceiling"] == 1
    assert found["whole_share"] == found["whole_share_ceiling"] == 1
    assert found["keys_distance"] == 0
    assert found["counts"] == {"generated": 16, "training": 16, "test": 8}
    assert distribution_picture({"model": judged[""], "real": judged["_ceiling"]}).width > 500
    with pytest.raises(PerrinError, match="no tunes"):
        judge([], values)

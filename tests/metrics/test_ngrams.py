"""n-grams, repetition and copies: against the definitions written out, and figures known in advance."""

import math
import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perrin.errors import PerrinError
from perrin.metrics import distinct_share, longest_copies, ngram_bits, repeated_share, unigram_entropy
from perrin.metrics.ngrams import fit

DATA = Path(os.environ.get("PERRIN_DATA", Path(__file__).parents[3] / "shared" / "data"))


class Literal:
    """Witten-Bell interpolation as the formula says it, with dictionaries."""

    def __init__(self, sequences, order, categories):
        self.order, self.categories = order, categories
        self.followed = defaultdict(Counter)
        for sequence in sequences:
            for n in range(order):
                for at in range(n, len(sequence)):
                    self.followed[tuple(sequence[at - n : at])][sequence[at]] += 1

    def chance(self, context, word):
        context = tuple(context[-(self.order - 1) :]) if self.order > 1 else ()
        shorter = 1 / self.categories if not context else self._backed(context[1:], word)
        return self._mixed(context, word, shorter)

    def _backed(self, context, word):
        shorter = 1 / self.categories if not context else self._backed(context[1:], word)
        return self._mixed(context, word, shorter)

    def _mixed(self, context, word, shorter):
        counts = self.followed.get(context)
        if not counts:
            return shorter
        return (counts[word] + len(counts) * shorter) / (sum(counts.values()) + len(counts))


SEQUENCES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=25), min_size=1, max_size=4)


def arrays(sequences):
    return [np.array(sequence) for sequence in sequences]


@settings(deadline=None, max_examples=150)
@given(SEQUENCES, SEQUENCES, st.integers(1, 5))
def test_bits_are_those_of_the_formula_written_out(train, test, order):
    literal = Literal(train, order, 5)
    wanted = [-math.log2(literal.chance(s[:i], s[i])) for s in test for i in range(len(s))]
    model = fit(arrays(train), order, 5)
    np.testing.assert_allclose(model.bits(arrays(test)), wanted, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(SEQUENCES, st.lists(st.integers(0, 4), max_size=7), st.integers(1, 5))
def test_probabilities_are_those_of_the_formula_and_sum_to_one(train, context, order):
    model, literal = fit(arrays(train), order, 5), Literal(train, order, 5)
    chance = model.probabilities(np.array([context], np.int64).reshape(1, -1))
    np.testing.assert_allclose(chance[0], [literal.chance(context, w) for w in range(5)], rtol=0, atol=1e-12)
    assert abs(chance.sum() - 1) < 1e-12
    padded = np.array([[-1, -1, *context]], np.int64)  # a shorter context beside longer ones
    np.testing.assert_array_equal(model.probabilities(padded), chance)
    assert model.most_likely(padded)[0] == chance[0].argmax()


def test_a_smaller_order_is_a_part_of_a_larger_one():
    train = np.random.default_rng(0).integers(0, 6, 500)
    test = np.random.default_rng(1).integers(0, 6, 200)
    for order in (1, 2, 3):
        np.testing.assert_array_equal(fit(train, 5, 6).bits(test, order), fit(train, order, 6).bits(test))
    with pytest.raises(PerrinError, match="order 6 of n-grams that were counted up to 5"):
        fit(train, 5).bits(test, 6)


def test_contexts_end_where_their_sequence_does():
    model = fit([np.array([0, 1]), np.array([2, 3])], 3, 4)
    assert model.bits([np.array([1, 2])])[1] == model.bits([np.array([3, 2])])[1]  # 1 2 was never seen
    both = model.bits([np.array([0, 1]), np.array([2, 3])])
    np.testing.assert_array_equal(both[2:], model.bits(np.array([2, 3])))


def test_the_entropy_rate_of_a_known_chain_is_reached():
    chances = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]])
    generator = np.random.default_rng(0)
    state, drawn = 0, np.empty(60_000, np.int64)
    for i in range(len(drawn)):
        drawn[i] = state = int((chances[state].cumsum() <= generator.random()).sum())
    values, vectors = np.linalg.eig(chances.T)
    shares = np.real(vectors[:, np.argmax(np.real(values))])
    rate = float(-(shares / shares.sum()) @ (chances * np.log2(chances)).sum(1))
    model = fit(drawn[:50_000], 2)
    bits = model.bits(drawn[50_000:])
    assert abs(bits.mean() - rate) < 3 * bits.std() / 100
    np.testing.assert_allclose(model.probabilities(np.array([[0], [1], [2]])), chances, atol=0.015)


def test_samples_have_the_probabilities_of_the_model():
    model = fit(np.random.default_rng(0).choice(4, 400, p=[0.6, 0.25, 0.1, 0.05]), 2, 5)
    drawn = model.sample(4000, 3, seed=1)
    assert drawn.shape == (4000, 3)
    first = np.bincount(drawn[:, 0], minlength=5)
    chance = model.probabilities(np.empty((1, 0), np.int64))[0]
    assert (np.abs(first - 4000 * chance) < 4 * np.sqrt(4000 * chance * (1 - chance)) + 1e-9).all()
    after = drawn[drawn[:, 0] == 1, 1]
    chance = model.probabilities(np.array([[1]]))[0]
    expected = len(after) * chance
    assert (np.abs(np.bincount(after, minlength=5) - expected) < 4 * np.sqrt(expected) + 1).all()
    np.testing.assert_array_equal(drawn, model.sample(4000, 3, seed=1))
    assert not np.array_equal(drawn, model.sample(4000, 3, seed=2))


def test_tinyshakespeare_costs_what_it_is_known_to():
    path = DATA / "text" / "tinyshakespeare.txt"
    if not path.exists():
        pytest.skip("sample data text/ are not present (PERRIN_DATA names their folder)")
    points = np.frombuffer(path.read_bytes(), np.uint8)
    characters, tokens = np.unique(points, return_inverse=True)
    cut = int(0.9 * len(tokens))
    model = fit(tokens[:cut], 7, len(characters))
    found = [float(model.bits(tokens[cut:], order).mean()) for order in range(1, 8)]
    np.testing.assert_allclose(found, [4.83, 3.59, 2.96, 2.56, 2.41, 2.45, 2.57], atol=0.006)


def test_ngram_bits_of_a_set_under_another():
    real = [np.array([0, 1] * 50)]
    assert ngram_bits([np.array([0, 1] * 20)], real, 2) < 0.1
    assert ngram_bits([np.array([0, 0, 1, 1] * 10)], real, 2) > 2
    assert ngram_bits([np.array([3])], real, 1) == pytest.approx(-math.log2(2 / 4 / 102))  # T / K of c + T


def test_repeated_and_distinct_shares_by_hand():
    row = np.array([1, 2, 1, 2, 1])  # pairs 12 21 12 21
    assert repeated_share([row], 2) == 0.5
    assert distinct_share([row], 2) == 0.5
    assert repeated_share([row, np.array([3, 4])], 2) == 0.25  # the mean over sequences
    assert distinct_share([row, np.array([1, 2])], 2) == 2 / 5  # pooled
    assert repeated_share([np.array([1]), row], 2) == 0.5  # too short to have any
    with pytest.raises(PerrinError, match="no sequence has 3 tokens"):
        repeated_share([np.array([1, 2])], 3)


def test_entropy_by_hand():
    assert unigram_entropy([np.array([0, 1]), np.array([2, 3])]) == 2
    assert unigram_entropy([np.array([5, 5, 5])]) == 0
    assert unigram_entropy([np.array([0, 0, 0, 7])]) == pytest.approx(0.25 * 2 + 0.75 * math.log2(4 / 3))
    with pytest.raises(PerrinError, match="no tokens"):
        unigram_entropy([])


def brute(sequence, real):
    """The longest run by trying all."""
    runs = {tuple(r[i:j]) for r in real for i in range(len(r)) for j in range(i + 1, len(r) + 1)}
    own = (sequence[i:j] for i in range(len(sequence)) for j in range(i + 1, len(sequence) + 1))
    return max((len(run) for run in own if tuple(run) in runs), default=0)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.integers(0, 2), max_size=12), SEQUENCES)
def test_the_longest_copy_is_that_of_a_search_of_all_runs(sequence, real):
    assert longest_copies([np.array(sequence, int)], arrays(real)).tolist() == [brute(sequence, real)]


def test_copies_of_large_tokens_and_across_sequences():
    real = [np.array([70_000, 5]), np.array([6, 9])]
    assert longest_copies([np.array([70_000, 5, 6]), np.array([8])], real).tolist() == [2, 0]


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (np.array([0.5]), "tokens are whole numbers"),
        (np.array([[1, 2]]), "tokens are whole numbers"),
        (np.array([-1, 2]), "tokens run from -1 to 2; they are 0 .. 3 - 1"),
        (np.array([0, 3]), "tokens run from 0 to 3; they are 0 .. 3 - 1"),
        ([], "at least one token"),
    ],
)
def test_what_is_no_row_of_tokens_is_refused(tokens, said):
    with pytest.raises(PerrinError, match=said):
        fit(tokens, 2, 3)
    with pytest.raises(PerrinError, match="order 0 of n-grams must be at least 1"):
        fit(np.array([1]), 0)

"""Training and held-out items: scikit-learn's split, stratified, reproducible, disjoint."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perrin.errors import PerrinError
from perrin.kinds.images import Images
from perrin.kinds.selection import Selection


class Labelled:
    """A source of numbered items with given labels."""

    def __init__(self, labels):
        self.labels = None if labels is None else np.asarray(labels)
        self.classes = None if labels is None else [str(i) for i in range(max(labels) + 1)]

    def read(self, index):
        return np.array([index])

    def name(self, index):
        return f"row {index}"

    def __len__(self):
        return 0


def dataset(labels, count=None):
    return Selection(Labelled(labels), np.arange(count or len(labels)), {"path": "x"}, [])


def numbers(selection):
    return [int(item["value"][0]) for item in selection]


def test_the_digits_split_is_that_of_scikit_learn():
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    expected = train_test_split(
        digits.images, digits.target, stratify=digits.target, test_size=500, random_state=0
    )
    train, test = Images.open("digits").split(500, seed=0)
    assert (len(train), len(test)) == (1297, 500)
    assert [item["label"] for item in train] == expected[2].tolist()
    assert [item["label"] for item in test] == expected[3].tolist()
    pixels = np.stack([item["value"] for item in test])
    assert np.array_equal(np.rint(pixels * (16 / 255)), expected[1])
    assert test.shapes.shape == (500, 3)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.floats(0.01, 0.9), st.integers(0, 9))
def test_any_split_is_complete_disjoint_and_reproducible(labels, share, seed):
    whole = dataset(labels)
    try:
        train, test = whole.split(share, seed)
    except PerrinError:
        assert share * len(labels) > len(labels) - 1  # nothing would be left to train on
        return
    assert sorted(numbers(train) + numbers(test)) == list(range(len(labels)))
    assert len(test) >= 1
    assert [numbers(part) for part in whole.split(share, seed)] == [numbers(train), numbers(test)]


def test_a_class_with_one_item_stays_in_training_and_the_rest_is_stratified():
    labels = [0] * 20 + [1] * 20 + [2]
    train, test = dataset(labels).split(8, seed=0)
    assert 40 in numbers(train)
    assert np.bincount([item["label"] for item in test]).tolist() == [4, 4]
    assert test.description["split"] == {"part": "held out", "held_out": 8, "seed": 0, "stratified": True}


def test_fewer_items_than_classes_are_split_at_random_and_the_description_says_so():
    train, test = dataset([0, 1, 2, 3, 4] * 4).split(2, seed=0)
    assert (len(train), len(test)) == (18, 2)
    assert test.description["split"]["stratified"] is False


def test_unlabelled_items_are_split_at_random():
    train, test = dataset(None, count=10).split(0.3, seed=1)
    assert (len(train), len(test)) == (7, 3)
    assert train.labels is None
    assert train[0]["label"] is None


def test_nothing_held_out_keeps_everything():
    train, test = dataset([0, 1, 0]).split(0, seed=0)
    assert (numbers(train), len(test)) == ([0, 1, 2], 0)


@pytest.mark.parametrize("held_out", [1.0, -0.1, 3, 4, -1])
def test_impossible_shares_are_refused(held_out):
    with pytest.raises(PerrinError, match="cannot hold out"):
        dataset([0, 1, 0]).split(held_out, seed=0)


def test_a_split_of_a_split_stays_inside_it():
    train, _ = dataset([0, 1] * 20).split(10, seed=0)
    again, held = train.split(6, seed=1)
    assert sorted(numbers(again) + numbers(held)) == sorted(numbers(train))

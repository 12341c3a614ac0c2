"""Wasserstein distances: what mathematics says they are, and errors that repeated draws confirm."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from perrin.errors import PerrinError
from perrin.metrics import wasserstein


def test_a_shift_costs_its_size():
    values = np.random.default_rng(0).normal(size=100)
    assert wasserstein(values + 0.25, values).value == pytest.approx(0.25, abs=1e-12)
    assert wasserstein(values, values[::-1].copy()).value == pytest.approx(0, abs=1e-15)


def test_sets_of_different_size_agree_with_scipy():
    generator = np.random.default_rng(1)
    a, b = generator.normal(size=37), generator.exponential(size=53)
    assert wasserstein(a, b).value == pytest.approx(wasserstein_distance(a, b), rel=1e-12)
    assert wasserstein(a, b).value == pytest.approx(wasserstein(b, a).value, rel=1e-12)


def test_ties_and_single_values_are_no_special_case():
    assert wasserstein(np.array([1.0]), np.array([3.0])).value == 2
    assert wasserstein(np.array([0.0, 0, 1]), np.array([0.0, 1, 1])).value == pytest.approx(1 / 3)


def test_the_error_is_that_of_repeated_draws_of_items_not_of_values():
    generator = np.random.default_rng(2)

    def drawn(count, shift):
        """Ten equal values an item: as many values as ten times the items, and no more known."""
        return [np.full(10, value + shift) for value in generator.normal(size=count)]

    found = [wasserstein(drawn(60, 1.0), drawn(80, 0.0), draws=40, seed=i) for i in range(120)]
    spread = np.std([distance.value for distance in found])
    assert np.mean([distance.stderr for distance in found]) == pytest.approx(spread, rel=0.25)
    apart = wasserstein(np.concatenate(drawn(60, 1.0)), np.concatenate(drawn(80, 0.0)), draws=40)
    assert apart.stderr < 0.5 * spread  # as if every value were an item of its own


def test_a_fixed_seed_fixes_the_error_and_one_item_has_none():
    a, b = np.arange(10.0), np.arange(12.0)
    assert wasserstein(a, b, draws=20, seed=3) == wasserstein(a, b, draws=20, seed=3)
    assert wasserstein(a, b).stderr is None
    assert wasserstein([a], [b, b], draws=20).stderr is None
    assert wasserstein([a, np.zeros(0)], [b]).value == wasserstein(a, b).value


@pytest.mark.parametrize(
    ("bad", "said"),
    [([], "no numbers"), ([np.zeros(0)], "no numbers"), (np.array([0.0, np.nan]), "number 1")],
)
def test_what_has_no_distance_is_refused(bad, said):
    with pytest.raises(PerrinError, match=said):
        wasserstein(bad, np.arange(3.0))
    with pytest.raises(PerrinError, match=said):
        wasserstein(np.arange(3.0), bad)

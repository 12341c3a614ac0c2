"""Precision, recall, density and coverage: brute force, known expectations, invariances."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from perrin.errors import PerrinError
from perrin.metrics import density_coverage, neighbours, precision_recall


def draw(count: int, size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, size))


def brute_force(fake: np.ndarray, real: np.ndarray, k: int) -> tuple[float, float, float, float]:
    """The four figures by the papers' definitions on full distance tables."""
    real_radii = np.sort(cdist(real, real), axis=1)[:, k]
    fake_radii = np.sort(cdist(fake, fake), axis=1)[:, k]
    table = cdist(fake, real)
    on_real, on_fake = table <= real_radii[None, :], table <= fake_radii[:, None]
    return (
        on_real.any(1).mean(),
        on_fake.any(0).mean(),
        on_real.sum() / (k * len(fake)),
        on_real.any(0).mean(),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("chunk", [50, 16_000_000])
def test_agree_with_brute_force_in_any_chunking(k: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "CHUNK", chunk)
    fake, real = draw(70, 4, 1) * 0.8 + 0.3, draw(90, 4, 2)
    precision, recall, density, coverage = brute_force(fake, real, k)
    assert precision_recall(fake, real, k) == pytest.approx((precision, recall), abs=1e-12)
    assert density_coverage(fake, real, k) == pytest.approx((density, coverage), abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(arrays(np.int64, st.tuples(st.integers(4, 12), st.integers(1, 3)), elements=st.integers(-5, 5)))
def test_identical_sets_are_perfect(grid: np.ndarray) -> None:
    # Duplicates included: a ball of radius zero still holds its own centre.
    points = grid * 0.1
    assert precision_recall(points, points, 3) == (1, 1)
    assert density_coverage(points, points, 3).coverage == 1
    assert density_coverage(points, points, 3).density >= 1  # k neighbours and the point itself


@settings(deadline=None, max_examples=50)
@given(
    arrays(np.int64, (9, 2), elements=st.integers(-6, 6)),
    arrays(np.int64, (11, 2), elements=st.integers(-6, 6)),
    st.integers(-1000, 1000),
    st.randoms(use_true_random=False),
)
def test_invariant_to_shift_scale_reflection_and_order(fake, real, shift, random) -> None:  # type: ignore[no-untyped-def]
    expected = (precision_recall(fake, real, 2), density_coverage(fake, real, 2))
    order_a, order_b = random.sample(range(9), 9), random.sample(range(11), 11)
    moved, target = (fake[order_a][:, ::-1] + shift) * 4, (real[order_b][:, ::-1] + shift) * 4
    assert (precision_recall(moved, target, 2), density_coverage(moved, target, 2)) == expected


def test_precision_and_recall_change_places() -> None:
    a, b = draw(60, 3, 3), draw(80, 3, 4) + 0.5
    assert precision_recall(a, b) == precision_recall(b, a)[::-1]


def test_one_law_has_the_expected_coverage_and_density_one() -> None:
    # Naeem et al., lemma 2. A ball to the k-th of N - 1 neighbours holds k/N of the law: N (k/N) / k = 1.
    n, m, k = 60, 40, 3
    expected = 1 - prod((n - i) / (n + m - i) for i in range(1, k + 1))
    results = [density_coverage(draw(m, 2, seed), draw(n, 2, 10_000 + seed), k) for seed in range(300)]
    densities, coverages = (np.array(column) for column in zip(*results, strict=True))
    assert abs(coverages.mean() - expected) < 4 * coverages.std() / 300**0.5
    assert abs(densities.mean() - 1) < 4 * densities.std() / 300**0.5


def test_each_figure_sees_its_own_fault() -> None:
    real = np.concatenate([draw(100, 2, 5), draw(100, 2, 6) + 50])
    one_mode = draw(200, 2, 7)
    far = draw(200, 2, 8) - 500
    assert precision_recall(one_mode, real).recall < 0.55  # half the data is missing
    assert density_coverage(one_mode, real).coverage < 0.55
    assert precision_recall(one_mode, real).precision > 0.9
    assert precision_recall(far, real) == (0, 0)


def test_real_size_fits_in_memory_and_time() -> None:
    a, b = torch.randn(10_000, 16), torch.randn(10_000, 16)
    assert 0.9 < density_coverage(a, b).coverage < 1


def test_too_few_points() -> None:
    with pytest.raises(PerrinError, match="generated: 5 items, at least 6"):
        precision_recall(draw(5, 2, 0), draw(9, 2, 1))
    with pytest.raises(PerrinError, match="k = 0"):
        density_coverage(draw(5, 2, 0), draw(9, 2, 1), 0)

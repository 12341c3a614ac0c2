"""KID has no bias, and its error bar means what it says."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from perrin.errors import PerrinError
from perrin.metrics import kid, polynomial_mmd


def draw(count: int, size: int, seed: int) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equals_the_double_loop() -> None:
    x, y = draw(6, 3, 1), draw(4, 3, 2) + 1

    def k(a: torch.Tensor, b: torch.Tensor) -> float:
        return (float(a @ b) / 3 + 1) ** 3

    within_x = np.mean([k(x[i], x[j]) for i in range(6) for j in range(6) if i != j])
    within_y = np.mean([k(y[i], y[j]) for i in range(4) for j in range(4) if i != j])
    across = np.mean([k(a, b) for a in x for b in y])
    assert polynomial_mmd(x, y) == pytest.approx(within_x + within_y - 2 * across, rel=1e-12)


def test_the_mean_over_all_subsets_is_the_value_of_the_whole() -> None:
    # What it means to be unbiased, exactly: every subset equally likely, no Monte Carlo.
    x, y = draw(6, 3, 3), draw(5, 3, 4) * 1.5
    values = [
        polynomial_mmd(x[list(i)], y[list(j)])
        for i in combinations(range(6), 3)
        for j in combinations(range(5), 2)
    ]
    assert np.mean(values) == pytest.approx(polynomial_mmd(x, y), rel=1e-12)


def test_expectation_on_gaussians_is_the_closed_form() -> None:
    # In one dimension E k(x, y) = 1 + 3 E[xy] + 3 E[x^2 y^2] + E[x^3 y^3] for independent x, y;
    # with y ~ N(m, 1): E y = m, E y^2 = 1 + m^2, E y^3 = m^3 + 3 m; MMD^2 = sum_p c_p (E x^p - E y^p)^2.
    shift = 0.5
    expected = 3 * shift**2 + 3 * shift**4 + (shift**3 + 3 * shift) ** 2
    estimate = kid(draw(20_000, 1, 5), draw(20_000, 1, 6) + shift, blocks=40)
    assert abs(estimate.value - expected) < 4 * estimate.stderr
    assert estimate.stderr < 0.1 * expected


def test_the_error_bar_covers_zero_as_often_as_it_should() -> None:
    scores = []
    for trial in range(200):
        estimate = kid(draw(200, 4, 1000 + trial), draw(200, 4, 5000 + trial), blocks=10)
        scores.append(estimate.value / estimate.stderr)
    assert abs(np.mean(scores)) < 4 * np.std(scores) / 200**0.5  # no bias
    assert 0.85 < np.mean(np.abs(scores) < 1.96) <= 1.0  # Student's t with 9 degrees: 0.92


def test_sorted_input_and_seed() -> None:
    x = torch.cat([draw(50, 2, 7), draw(50, 2, 8) + 5])  # sorted by class, as files are
    same = kid(x, x[torch.randperm(100, generator=torch.Generator().manual_seed(1))], seed=3)
    assert abs(same.value) < 4 * same.stderr
    assert kid(x, x + 1, seed=3) == kid(x, x + 1, seed=3)


def test_too_few_points_for_the_blocks() -> None:
    with pytest.raises(PerrinError, match="generated: 19 items, at least 20"):
        kid(draw(19, 2, 0), draw(50, 2, 1))
    with pytest.raises(PerrinError, match="blocks = 1"):
        kid(draw(19, 2, 0), draw(50, 2, 1), blocks=1)

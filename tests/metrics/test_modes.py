"""Mode coverage on samples made so that every figure is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from perrin.errors import PerrinError
from perrin.kinds.arrays.toy import MODES, toy_points
from perrin.metrics import mode_coverage
from perrin.registry import metrics

CENTRES, STD = MODES["gaussians25"]


def test_one_point_on_every_mode_is_perfect():
    assert mode_coverage(CENTRES, CENTRES, STD) == (25, 25, 1.0, pytest.approx(0.0, abs=1e-12))
    assert metrics["mode_coverage"] is mode_coverage


def test_lost_modes_cost_coverage_and_divergence_and_no_quality():
    """All samples on 10 of 25 modes in equal shares: KL = log(25/10)."""
    found = mode_coverage(np.repeat(CENTRES[:10], 7, axis=0), CENTRES, STD)
    assert (found.covered, found.quality) == (10, 1.0)
    assert found.reverse_kl == pytest.approx(math.log(2.5))


def test_points_between_the_modes_cost_quality_and_cover_nothing():
    far = CENTRES + np.array([0.4, 0.0])
    found = mode_coverage(np.concatenate([CENTRES[:5], far]), CENTRES, STD)
    assert (found.covered, found.quality) == (5, pytest.approx(5 / 30))
    rim = CENTRES[:4] + np.array([[2.9 * STD, 0], [3.1 * STD, 0], [0, -2.9 * STD], [0, -3.1 * STD]])
    assert mode_coverage(rim, CENTRES, STD).covered == 2
    assert mode_coverage(rim, CENTRES, STD, reach=3.2).covered == 4


def test_weights_are_the_shares_that_samples_should_have():
    points = torch.tensor([[0.0], [0.0], [0.0], [1.0]])
    centres = torch.tensor([[0.0], [1.0]])
    assert mode_coverage(points, centres, 0.1, weights=torch.tensor([3.0, 1.0])).reverse_kl == pytest.approx(
        0
    )
    p = mode_coverage(points, centres, 0.1).reverse_kl
    assert p == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))


def test_real_draws_reach_the_documented_ceiling():
    count = 20_000
    (values, _), _ = toy_points("gaussians25", count, 3)
    found = mode_coverage(values, CENTRES, STD)
    right = 1 - math.exp(-4.5)
    assert found.covered == 25
    assert found.quality == pytest.approx(right, abs=5 * math.sqrt(right * (1 - right) / count))
    assert found.reverse_kl == pytest.approx(24 / (2 * count), abs=5 * math.sqrt(24 / 2) / count)


def test_impossible_questions_are_refused_in_one_line():
    for wrong in (
        {"std": 0.0},
        {"std": STD, "reach": 0.0},
        {"std": STD, "weights": torch.ones(3)},
        {"std": STD, "weights": torch.zeros(25)},
    ):
        with pytest.raises(PerrinError) as caught:
            mode_coverage(CENTRES, CENTRES, **wrong)
        assert "\n" not in str(caught.value)
    with pytest.raises(PerrinError):
        mode_coverage(np.zeros((3, 3)), CENTRES, STD)

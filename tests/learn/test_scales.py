"""Noise scales from data: the two rules of Song and Ermon on data where the answers are known."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from perrin.errors import PerrinError
from perrin.learn.scales import (
    MOST,
    WIDEST,
    fixed_draw,
    largest_ratio,
    noise_scales,
    overlap,
    widest_distance,
)


def test_the_largest_scale_is_the_largest_distance_between_two_items():
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [4.0, 5.0]])
    assert noise_scales(corners).sigma_max == pytest.approx(math.hypot(4, 5))
    points = torch.randn(2500, 3, 2, generator=torch.Generator().manual_seed(0))  # several blocks
    points[3], points[2400] = -50.0, 50.0
    assert widest_distance(points) == pytest.approx(100 * math.sqrt(6))


def test_large_sets_are_measured_on_the_same_draw_each_time():
    assert torch.equal(fixed_draw(7), torch.arange(7))
    draw = fixed_draw(3 * MOST)
    assert torch.equal(draw, fixed_draw(3 * MOST))
    assert len(set(draw.tolist())) == len(draw) == MOST
    states = torch.randn(3 * MOST, 2, generator=torch.Generator().manual_seed(1))
    assert noise_scales(states).sigma_max == widest_distance(states[draw])


@pytest.mark.parametrize("dimension", [100, 784, 3072, 12288])
def test_neighbouring_scales_overlap_by_half(dimension):
    """Against the normal distribution of scipy, and against the shells themselves: |noise| in d dimensions."""
    ratio = largest_ratio(dimension)
    shift = math.sqrt(2 * dimension) * (ratio - 1)
    assert stats.norm.cdf(shift + 3 * ratio) - stats.norm.cdf(shift - 3 * ratio) == pytest.approx(
        0.5, abs=1e-9
    )
    # noise of scale 1 within three widths, ratio/sqrt(2) each, of the shell at ratio sqrt(d)
    radius = stats.chi(dimension)
    centre, width = ratio * math.sqrt(dimension), 3 * ratio / math.sqrt(2)
    share = radius.cdf(centre + width) - radius.cdf(centre - width)
    assert share == pytest.approx(overlap(ratio, dimension), abs=0.03)


def test_the_numbers_of_the_paper_are_found():
    """CIFAR-10: sigma_1 = 50 and 0.01 in 3072 dimensions are given 232 scales there, 'approximately' by the rule."""
    low, far = torch.zeros(3072), torch.zeros(3072)
    far[0] = 50.0
    found = noise_scales(torch.stack([low, far]), 0.01)
    assert found.sigma_max == 50.0
    assert found.count == pytest.approx(232, rel=0.06)


def test_the_count_is_the_smallest_whose_ratio_is_allowed():
    for dimension in (2, 40, 784):
        far = torch.zeros(2, dimension)
        far[1, 0] = 7.0
        found = noise_scales(far, 0.05)
        ratio = largest_ratio(dimension)
        assert (7 / 0.05) ** (1 / (found.count - 1)) <= ratio * (1 + 1e-9)
        assert (7 / 0.05) ** (1 / (found.count - 2)) > ratio
    assert largest_ratio(2) == WIDEST


@pytest.mark.parametrize(
    ("states", "sigma_min"),
    [
        (torch.zeros(1, 2), 0.01),
        (torch.ones(5, 2), 0.01),
        (torch.tensor([[0.0], [1.0]]), 1.0),
        (torch.tensor([[0.0], [1.0]]), 0.0),
        (torch.tensor([[0.0], [math.nan]]), 0.01),
    ],
)
def test_data_without_scales_are_refused_in_one_line(states, sigma_min):
    with pytest.raises(PerrinError) as caught:
        noise_scales(states, sigma_min)
    assert "\n" not in str(caught.value)

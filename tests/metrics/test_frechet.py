"""The Frechet distance against closed forms, singular covariances and scipy's matrix square root."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perrin.errors import PerrinError
from perrin.metrics import Moments, frechet_distance, frechet_from_moments, moments


def draw(count: int, size: int, seed: int) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(size: int, seed: int) -> torch.Tensor:
    return torch.linalg.qr(draw(size, size, seed)).Q


def test_gaussians_with_one_eigenbasis_have_the_closed_form() -> None:
    # Commuting covariances: |m1 - m2|^2 + sum (s1 - s2)^2 over the common axes.
    basis = rotation(6, 1)
    s1, s2 = torch.linspace(0.1, 3, 6).double(), torch.linspace(2, 0.5, 6).double()
    m1, m2 = draw(2, 6, 2)
    a = Moments(m1, basis * s1**2 @ basis.T)
    b = Moments(m2, basis * s2**2 @ basis.T)
    expected = (m1 - m2).square().sum() + (s1 - s2).square().sum()
    assert frechet_from_moments(a, b) == pytest.approx(float(expected), rel=1e-12)


def test_two_dimensions_have_the_determinant_form() -> None:
    # For 2 x 2: (tr M^(1/2))^2 = tr M + 2 sqrt(det M), with M similar to S1 S2.
    a, b = (Moments(torch.zeros(2), x.T @ x) for x in (draw(2, 2, 3), draw(2, 2, 4)))
    product = a.covariance @ b.covariance
    overlap = (product.trace() + 2 * product.det().sqrt()).sqrt()
    expected = a.covariance.trace() + b.covariance.trace() - 2 * overlap
    assert frechet_from_moments(a, b) == pytest.approx(float(expected), rel=1e-12)


def test_agrees_with_scipys_matrix_square_root() -> None:
    x, y = draw(300, 12, 5).numpy(), (draw(200, 12, 6) @ draw(12, 12, 7) + 1).numpy()
    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(s1 @ s2).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s1 + s2 - 2 * root)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_singular_covariances_are_no_special_case() -> None:
    # Each set lies on a line; the lines are orthogonal, so the overlap is zero and the spreads add up.
    t = draw(50, 1, 8)
    x, y = t * torch.tensor([1.0, 0, 0, 0]), t * torch.tensor([0, 2.0, 0, 0])
    mean, variance = t.mean(), t.var()
    expected = 5 * mean**2 + 5 * variance
    assert frechet_distance(x, y) == pytest.approx(float(expected), rel=1e-12)
    assert frechet_distance(x, 3 * x) == pytest.approx(float(4 * mean**2 + 4 * variance), rel=1e-12)


def test_a_set_with_fewer_points_than_dimensions_is_at_zero_from_itself() -> None:
    x = draw(20, 64, 9)
    assert frechet_distance(x, x) < 1e-11 * float(x.var(0).sum())


def test_stored_moments_give_the_same_number() -> None:
    x, y = draw(40, 5, 10), draw(60, 5, 11) * 2
    assert frechet_from_moments(moments(x), moments(y)) == frechet_distance(x, y)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100), count=st.integers(2, 30))
def test_symmetric_and_invariant_to_rotation_and_shift(seed: int, scale: float, count: int) -> None:
    x, y = scale * draw(count, 8, seed), scale * (draw(25, 8, seed + 1) + 0.5)
    turn, shift = rotation(8, seed + 2), draw(1, 8, seed + 3)
    expected = pytest.approx(frechet_distance(x, y), rel=1e-9, abs=1e-9 * scale**2)
    assert frechet_distance(y, x) == expected
    assert frechet_distance(x @ turn + shift, y @ turn + shift) == expected
    assert frechet_distance(2 * x, 2 * y) / 4 == expected


def test_bad_input_is_named() -> None:
    x = draw(5, 3, 0)
    with pytest.raises(PerrinError, match="3 numbers each and real ones 2"):
        frechet_distance(x, x[:, :2])
    with pytest.raises(PerrinError, match="generated: 1 items, at least 2"):
        frechet_distance(x[:1], x)
    x[3, 1] = float("nan")
    with pytest.raises(PerrinError, match="real: item 3 holds NaN"):
        frechet_distance(x[:3], x)
    with pytest.raises(PerrinError, match="negative"):
        frechet_from_moments(Moments(torch.zeros(2), -torch.eye(2)), Moments(torch.zeros(2), torch.eye(2)))

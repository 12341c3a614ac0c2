"""The exact denoiser of points on a torus or of rotations: Bayes, slopes of its density, and both ends."""

from __future__ import annotations

import math

import pytest
import torch

from perrin.denoise import exact
from perrin.errors import PerrinError
from perrin.process.levels import level_of_ratio
from perrin.process.rotations import Rotations
from perrin.process.torus import Torus

INF = math.inf
TORUS, SPACE = Torus(), Rotations()
WEIGHTS = torch.tensor([0.5, 0.3, 0.2])
EYE = torch.eye(3, dtype=torch.float64)


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


ANGLES, TURNS = TORUS.prior(random(3, 2)), SPACE.prior(random(3, 2, 3, seed=1))
CASES = [(TORUS, ANGLES), (SPACE, TURNS)]


def level(value, count=1):
    return torch.full((count,), value, dtype=torch.float64)


@pytest.mark.parametrize("std", [0.0, 0.4])
@pytest.mark.parametrize("s", [0.4, 0.9, 1.5, 4.0])
@pytest.mark.parametrize(("process", "points"), CASES, ids=["torus", "rotations"])
def test_the_mean_is_the_slope_of_its_own_density(process, points, s, std):
    denoiser, count, h = exact.Points(process, points, std, WEIGHTS), 30, 1e-5
    at = level_of_ratio(torch.full((count,), s))
    x = process.prior(random(count, *process.places(tuple(points.shape[1:])), seed=2))
    mean = denoiser(x, at).mean.reshape(count, -1)
    for i in range(mean.shape[1]):
        v = torch.zeros_like(mean)
        v[:, i] = h
        v = v.reshape(count, *process.places(tuple(points.shape[1:])))
        rise = denoiser.log_prob(process.exp(x, v), at) - denoiser.log_prob(process.exp(x, -v), at)
        torch.testing.assert_close(mean[:, i], s**2 * rise / (2 * h), rtol=1e-6, atol=1e-9)


def test_the_mean_is_that_of_the_displacement_over_the_posterior():
    """Integrals over the clean angle: the heat of the points and that of the noise are one."""
    count, s, std = 3000, 0.8, 0.5
    denoiser = exact.Points(TORUS, ANGLES[:, :1], std, WEIGHTS)
    clean = (2 * math.pi * (torch.arange(count, dtype=torch.float64) + 0.5) / count - math.pi)[:, None]
    law = denoiser.log_prob(clean, level(INF, count)).exp()
    assert float(law.sum()) * 2 * math.pi / count == pytest.approx(1, abs=1e-12)
    at = level_of_ratio(torch.tensor([s], dtype=torch.float64))
    for x in (-3.0, -0.4, 2.2):
        here = torch.tensor([[x]], dtype=torch.float64)
        weight = law * TORUS.log_density(here, clean, at)[:, 0].exp()
        right = (weight * TORUS.displacement(here, clean, at)[:, 0]).sum() / weight.sum()
        assert float(denoiser(here, at).mean) == pytest.approx(float(right), abs=1e-12)
        density = float(weight.sum()) * 2 * math.pi / count
        assert float(denoiser.log_prob(here, at)) == pytest.approx(math.log(density), abs=1e-12)


def test_the_density_of_rotations_is_one_on_the_whole():
    axis = (torch.arange(24, dtype=torch.float64) + 0.5) / 24
    x = SPACE.prior(torch.cartesian_prod(axis, axis, axis))
    for s, std in ((0.5, 0.5), (0.8, 0.0), (3.0, 0.0)):
        denoiser = exact.Points(SPACE, TURNS[:, 0], std, WEIGHTS)
        total = denoiser.log_prob(x, level_of_ratio(torch.full((len(x),), s))).exp().mean()
        assert float(total) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize(("process", "points"), CASES, ids=["torus", "rotations"])
def test_the_ends_are_finite_and_right(process, points):
    x = process.prior(random(9, *process.places(tuple(points.shape[1:])), seed=3))
    alone, blurred = (exact.Points(process, points, std) for std in (0.0, 0.3))
    for denoiser in (alone, blurred):
        assert float(denoiser(x, level(-INF, 9)).mean.abs().max()) < 1e-13
    assert float(blurred(x, level(INF, 9)).mean.abs().max()) == 0
    back = torch.stack([process.log(x, point.expand_as(x)) for point in points], 1)
    nearest = back.reshape(9, 3, -1).square().sum(2).argmin(1)
    right = back[torch.arange(9), nearest]
    torch.testing.assert_close(alone(x, level(INF, 9)).mean, right)
    near = process.exp(points, torch.full_like(back[:3, 0], 1e-3))
    found = alone(near, level(12.0, 3)).mean
    torch.testing.assert_close(found, torch.full_like(found, -1e-3), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("process", "points"), CASES, ids=["torus", "rotations"])
def test_an_item_never_hears_of_the_others(process, points, dtype):
    denoiser, at = exact.Points(process, points, 0.2), torch.linspace(-3, 6, 9, dtype=torch.float64)
    x = process.prior(random(9, *process.places(tuple(points.shape[1:])), seed=4)).to(dtype)
    mean, log_prob = denoiser(x, at).mean, denoiser.log_prob(x, at)
    assert mean.dtype == dtype
    assert mean.shape == (9, *process.places(tuple(points.shape[1:])))
    for i in range(9):
        assert torch.equal(denoiser(x[i : i + 1], at[i : i + 1]).mean[0], mean[i])
        assert torch.equal(denoiser.log_prob(x[i : i + 1], at[i : i + 1])[0], log_prob[i])


def test_impossible_points_are_refused():
    with pytest.raises(PerrinError, match="std = -1"):
        exact.Points(TORUS, ANGLES, -1.0)
    for weights in (torch.ones(2), torch.tensor([1.0, 0.0, 1.0])):
        with pytest.raises(PerrinError, match="weights must be 3 positive numbers"):
            exact.Points(TORUS, ANGLES, weights=weights)

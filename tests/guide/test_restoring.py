"""Restoration: with an exact denoiser of a Gaussian it is Bayes' rule, and samples have the posterior's moments."""

from __future__ import annotations

import pytest
import torch

from perrin.denoise import Prediction
from perrin.denoise.correlated import Correlated
from perrin.errors import PerrinError
from perrin.guide.operators import Compressed, Downsample, KSpace, Mask, cartesian, gaussian_blur
from perrin.guide.restoring import MMPS, PiGDM, Proximal
from perrin.process import edm, levels
from perrin.sample import make_plan, run

D = 16
AT = torch.arange(D, dtype=torch.float64)
COVARIANCE = torch.exp(-(AT[:, None] - AT).abs() / 4)
MEAN = torch.sin(AT / 3)
SMOOTH = Correlated(MEAN[None], COVARIANCE)
LEVEL = torch.tensor([-6.0, -2.0, 0.0, 1.5, 5.0], dtype=torch.float64)
X = torch.randn(5, 1, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
OPERATORS = {
    "mask": Mask((1, D), AT % 3 == 0),
    "blur": gaussian_blur((1, D), 1.5),
    "downsample": Downsample((1, D), 4),
    "compressed": Compressed((1, D), 6),
}
METHODS = {
    "mmps": lambda *given: MMPS(*given, iterations=40),
    "pigdm": PiGDM,
    "proximal": Proximal,
}
named = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)


def matrix(operator):
    return operator(torch.eye(D, dtype=torch.float64)[:, None]).flatten(1).T


def measurement(operator, noise):
    generator = torch.Generator().manual_seed(1)
    clean = MEAN + torch.linalg.cholesky(COVARIANCE) @ torch.randn(
        D, generator=generator, dtype=torch.float64
    )
    y = operator(clean[None, None])
    seen = y + noise * torch.randn(y.shape, generator=generator, dtype=torch.float64)
    return torch.where(y == 0, y, seen)  # nothing is measured where a mask lets nothing through


def posterior(mean, covariance, operator, y, noise):
    a = matrix(operator)
    gain = (
        covariance
        @ a.T
        @ torch.linalg.pinv(a @ covariance @ a.T + noise**2 * torch.eye(len(a), dtype=a.dtype))
    )
    return mean + (y.flatten() - mean @ a.T) @ gain.T, covariance - gain @ a @ covariance


def given_both(x, level, prior, operator, y, noise):
    """E[clean | x, y] of a Gaussian prior (mean, covariance): Bayes' rule for x, then for y."""
    alpha, sigma = levels.alpha(level), levels.sigma(level)
    mean, c = prior
    gain = alpha * c @ torch.linalg.inv(alpha**2 * c + sigma**2 * torch.eye(D, dtype=c.dtype))
    one = mean + (x.flatten() - alpha * mean) @ gain.T
    return posterior(one, c - alpha * gain @ c, operator, y, noise)[0]


@named
@pytest.mark.parametrize("noise", [0.05, 0.7])
def test_moment_matching_is_bayes_rule_at_every_level(operator, noise):
    y = measurement(operator, noise)
    found = MMPS(SMOOTH, operator, y, noise, iterations=60)(X, LEVEL).mean
    for i in range(len(X)):
        right = given_both(X[i], LEVEL[i], (MEAN, COVARIANCE), operator, y, noise)
        torch.testing.assert_close(found[i, 0], right, rtol=1e-4, atol=1e-4)


@named
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_of_independent_entries_every_method_is_bayes_rule(operator, method):
    deviation, noise = 0.6, 0.3
    white = Correlated(MEAN[None], deviation**2 * torch.eye(D))
    y = measurement(operator, noise)
    found = method(white, operator, y, noise, deviation)(X, LEVEL).mean
    for i in range(len(X)):
        prior = (MEAN, deviation**2 * torch.eye(D, dtype=torch.float64))
        right = given_both(X[i], LEVEL[i], prior, operator, y, noise)
        torch.testing.assert_close(found[i, 0], right, rtol=1e-4, atol=1e-4)


@named
def test_samples_have_the_moments_of_the_posterior(operator):
    noise, count = 0.1, 700
    y = measurement(operator, noise)
    mean, covariance = posterior(MEAN, COVARIANCE, operator, y, noise)
    plan = make_plan("dpmpp_2m", edm(sigma_min=0.01, sigma_max=80.0), steps=30, grid="karras")
    denoiser = MMPS(SMOOTH, operator, y, noise, iterations=20)
    x = run(plan, denoiser, shape=(1, D), seeds=[(0, i) for i in range(count)], dtype=torch.float64)[:, 0]
    error = (x.mean(0) - mean) / (covariance.diagonal().sqrt() / count**0.5 + 0.01)
    assert float(error.abs().max()) < 4
    assert float((torch.cov(x.T) - covariance).norm() / COVARIANCE.norm()) < 0.035


def test_complex_measurements_of_real_states():
    shape, noise = (1, 4, 4), 0.2
    operator = KSpace(shape, cartesian(4, 2.0, 0.25))
    y = torch.randn(1, 1, 4, 4, dtype=torch.complex128, generator=torch.Generator().manual_seed(3))
    y = torch.where(operator.mask, y, 0)
    covariance = COVARIANCE + 0.1 * torch.eye(D)
    found = MMPS(Correlated(torch.zeros(shape), covariance), operator, y, noise, iterations=60)(
        X.view(5, *shape), LEVEL
    ).mean
    # the same with real and imaginary parts as measurements of their own
    a = torch.view_as_real(operator(torch.eye(D, dtype=torch.float64).view(D, *shape))).flatten(1).T
    b = torch.view_as_real(y).flatten()
    for i in range(5):
        alpha, sigma = levels.alpha(LEVEL[i]), levels.sigma(LEVEL[i])
        eye = torch.eye(D, dtype=torch.float64)
        gain = alpha * covariance @ torch.linalg.inv(alpha**2 * covariance + sigma**2 * eye)
        one, v = gain @ X[i].flatten(), covariance - alpha * gain @ covariance
        k = v @ a.T @ torch.linalg.inv(a @ v @ a.T + noise**2 * torch.eye(len(a), dtype=a.dtype))
        torch.testing.assert_close(found[i].flatten(), one + k @ (b - a @ one), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_row_has_its_own_measurement_and_none_sees_another(method):
    operator = OPERATORS["blur"]
    y = torch.cat([measurement(operator, 0.1) + k for k in range(5)])
    together = method(SMOOTH, operator, y, 0.1, 1.0)(X, LEVEL).mean
    alone = [
        method(SMOOTH, operator, y[i : i + 1], 0.1, 1.0)(X[i : i + 1], LEVEL[i : i + 1]).mean
        for i in range(5)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_raw_noise_prediction_moves_with_the_mean(method):
    def with_noise(x, level, condition=None):
        found = SMOOTH(x, level)
        return Prediction(found.mean, found.noise_at(x, level))

    operator, y = OPERATORS["mask"], measurement(OPERATORS["mask"], 0.1)
    moved = method(with_noise, operator, y, 0.1, 1.0)(X, LEVEL)
    plain = method(SMOOTH, operator, y, 0.1, 1.0)(X, LEVEL)
    torch.testing.assert_close(moved.noise, plain.noise_at(X, LEVEL))


def test_without_noise_the_end_explains_the_measurement():
    operator = OPERATORS["downsample"]
    y = measurement(operator, 0.0)
    plan = make_plan("dpmpp_2m", edm(sigma_min=0.002, sigma_max=80.0), steps=20, grid="karras")
    x = run(
        plan, MMPS(SMOOTH, operator, y), shape=(1, D), seeds=[(0, i) for i in range(4)], dtype=torch.float64
    )
    torch.testing.assert_close(operator(x), y.expand(4, -1, -1), rtol=0, atol=1e-2)


def test_what_does_not_fit_is_refused():
    operator, y = OPERATORS["mask"], measurement(OPERATORS["mask"], 0.1)
    with pytest.raises(PerrinError, match="takes measurements of shape"):
        MMPS(SMOOTH, operator, y[..., 1:], 0.1)
    with pytest.raises(PerrinError, match="noise = -1"):
        MMPS(SMOOTH, operator, y, -1)
    with pytest.raises(PerrinError, match="2 measurements for 5 samples"):
        MMPS(SMOOTH, operator, torch.cat([y, y]), 0.1)(X, LEVEL)
    with pytest.raises(PerrinError, match="starts at a finite level"):
        MMPS(SMOOTH, operator, y, 0.1).check(torch.tensor([-torch.inf, 0.0]))

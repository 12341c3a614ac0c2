"""Restoration: with an exact denoiser of a Gaussian it is Bayes' rule, and samples have the posterior's moments."""

from __future__ import annotations

import pytest
import torch

from perrin.denoise import Prediction
from perrin.denoise.correlated import Correlated
from perrin.denoise.exact import Mixture
from perrin.errors import PerrinError
from perrin.guide.conjugate_gradients import solve, solve_through
from perrin.guide.operators import Compressed, Downsample, KSpace, Mask, cartesian, gaussian_blur
from perrin.guide.restoring import MMPS, Pooled, Proximal, descent
from perrin.process import edm, levels
from perrin.registry import methods
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
METHODS = {name: methods[name] for name in methods if name != "pooled"}  # which is for another operator
METHODS["mmps"] = lambda *given: MMPS(*given, iterations=40)
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


BIAS = {"mmps": 0.02, "pigdm": 0.06, "proximal": 0.2}
"""Of the posterior mean, in deviations of the prior; chance of 700 samples comes on top."""


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_misses_the_posterior_by_no_more_than_its_bias(name):
    noise, count, operator = 0.1, 700, OPERATORS["mask"]
    y = measurement(operator, noise)
    mean, covariance = posterior(MEAN, COVARIANCE, operator, y, noise)
    denoiser = METHODS[name](SMOOTH, operator, y, noise, 1.0)
    x = run(descent(1.0), denoiser, shape=(1, D), seeds=[(0, i) for i in range(count)], dtype=torch.float64)[
        :, 0
    ]
    chance = float(covariance.diagonal().mean() / count) ** 0.5
    assert float((x.mean(0) - mean).square().mean().sqrt()) < BIAS[name] + chance
    std = x.std(0) - covariance.diagonal().sqrt()
    assert float(std.square().mean().sqrt()) < 1.5 * BIAS[name] + chance


def test_the_plan_keeps_the_variance_that_one_of_first_order_loses():
    def spread(plan):
        x = run(plan, SMOOTH, shape=(1, D), seeds=[(0, i) for i in range(1500)], dtype=torch.float64)
        return float(x.var(0).mean())

    assert spread(descent(1.0)) == pytest.approx(1, abs=0.05)
    assert spread(descent(1.0, rule="ddpm")) < 0.9
    assert descent(0.5).stochastic
    assert float(levels.ratio(descent(0.5).grid[0])) == pytest.approx(5)


def test_without_noise_replacing_what_is_known_is_the_proximal_method():
    """Its state is then a draw from q(x | clean = y) at every level: blended replacement, by the plan's own noise."""
    operator, y = OPERATORS["mask"], measurement(OPERATORS["mask"], 0.0)
    guide = Proximal(SMOOTH, operator, y)
    found = guide(X, LEVEL).mean
    seen = operator.keep.expand_as(found)
    torch.testing.assert_close(found[seen], y.expand_as(found)[seen], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[~seen], SMOOTH(X, LEVEL).mean[~seen])


def test_a_jacobian_that_is_not_positive_moves_nothing():
    """Conjugate gradients stop where the curvature is not positive: a wild network is not followed."""

    def mirrored(x, level, condition=None):
        return Prediction(-50 * x)

    operator, y = OPERATORS["mask"], measurement(OPERATORS["mask"], 0.1)
    found = MMPS(mirrored, operator, y, 0.1)(X, LEVEL).mean
    torch.testing.assert_close(found, -50 * X)


def test_conjugate_gradients_give_what_the_product_goes_through():
    generator = torch.Generator().manual_seed(5)
    inside = torch.randn(4, 9, 6, generator=generator, dtype=torch.float64)
    b = torch.randn(4, 6, generator=generator, dtype=torch.float64)

    def product(u):
        through = torch.einsum("bij,bj->bi", inside, u)
        return through, torch.einsum("bij,bi->bj", inside, through) + 0.1 * u

    through, u = solve_through(product, b, 12)
    torch.testing.assert_close(product(u)[1], b, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(through, product(u)[0])
    torch.testing.assert_close(solve(lambda u: product(u)[1], b, 12), u)
    assert solve_through(product, torch.zeros_like(b))[0] is None


EVERYTHING = Mask((1, D), torch.ones(1, D, dtype=torch.bool))


def test_pooling_is_bayes_rule_of_any_data():
    """A mixture, given x and y: the same as given x, and then its components given y as well."""
    noise, y = 0.4, X[:1] * 0.5
    means = torch.stack([MEAN, -MEAN, MEAN.flip(0)])
    stds = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    found = Pooled(Mixture(means[:, None], stds), EVERYTHING, y, noise)(X, LEVEL).mean
    for i in range(len(X)):
        alpha, sigma = levels.alpha(LEVEL[i]), levels.sigma(LEVEL[i])
        a = torch.cat([alpha * torch.eye(D), torch.eye(D)]).double()
        b = torch.cat([X[i].flatten(), y.flatten()])
        n = torch.cat([sigma**2 * torch.ones(D), noise**2 * torch.ones(D)]).double()
        logs, each = [], []
        for m, s in zip(means, stds, strict=True):
            spread = s**2 * a @ a.T + torch.diag(n)
            gaussian = torch.distributions.MultivariateNormal(a @ m, spread)
            logs.append(gaussian.log_prob(b))
            each.append(m + s**2 * a.T @ torch.linalg.solve(spread, b - a @ m))
        right = torch.softmax(torch.stack(logs), 0) @ torch.stack(each)
        torch.testing.assert_close(found[i, 0], right, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        Pooled(SMOOTH, EVERYTHING, y, noise)(X, LEVEL).mean,
        MMPS(SMOOTH, EVERYTHING, y, noise, iterations=60)(X, LEVEL).mean,
        rtol=1e-4,
        atol=1e-4,
    )


def test_pooling_adds_up_to_the_plain_prediction_and_its_shift():
    guide = Pooled(SMOOTH, EVERYTHING, X, 0.3)
    found, shift = guide.shift(X, LEVEL, None)
    torch.testing.assert_close(found.mean + shift, guide(X, LEVEL).mean)
    torch.testing.assert_close(found.mean, SMOOTH(X, LEVEL).mean)
    alone = Pooled(SMOOTH, EVERYTHING, X[1:2], 0.3)(X[1:2], LEVEL[1:2]).mean
    torch.testing.assert_close(alone, guide(X, LEVEL).mean[1:2], rtol=1e-9, atol=1e-9)
    with pytest.raises(PerrinError, match="noise on every entry"):
        Pooled(SMOOTH, OPERATORS["mask"], X[:1], 0.3)


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
    with pytest.raises(PerrinError, match="iterations = 0"):
        MMPS(SMOOTH, operator, y, 0.1, iterations=0)
    with pytest.raises(PerrinError, match="2 measurements for 5 samples"):
        MMPS(SMOOTH, operator, torch.cat([y, y]), 0.1)(X, LEVEL)
    with pytest.raises(PerrinError, match="starts at a finite level"):
        MMPS(SMOOTH, operator, y, 0.1).check(torch.tensor([-torch.inf, 0.0]))

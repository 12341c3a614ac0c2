"""Exact denoisers are exact: their score is the gradient of their log density, their variance Tweedie's second order."""

from __future__ import annotations

import math

import pytest
import torch

from perrin.denoise import Prediction, exact
from perrin.errors import PerrinError
from perrin.process import levels

INF = math.inf
D = 3
MEANS = torch.tensor([[-1.0, 0.3, 0.0], [0.8, -0.5, 0.4], [0.1, 1.2, -0.7]], dtype=torch.float64)
STD = torch.tensor([0.3, 1.0, 2.0], dtype=torch.float64)
EXACT = {
    "gaussian": lambda **o: exact.Gaussian(0.4, 0.7, **o),
    "gaussian_by_entry": lambda **o: exact.Gaussian(MEANS[0], STD, **o),
    "point": lambda **o: exact.Gaussian(0.4, 0.0, **o),
    "mixture": lambda **o: exact.Mixture(
        MEANS, torch.tensor([0.2, 0.5, 0.0]), torch.tensor([1.0, 2.0, 0.5]), **o
    ),
    "empirical": lambda **o: exact.Empirical(MEANS, **o),
    "blurred": lambda **o: exact.Empirical(MEANS, 0.1, **o),
}
LEVELS = [-9.0, -2.0, 0.0, 1.5, 5.0]


def states(level, count=6):
    generator = torch.Generator().manual_seed(int(10 * level) + 200)
    noise = torch.randn(count, D, generator=generator, dtype=torch.float64)
    clean = MEANS[torch.arange(count) % 3]
    x = levels.alpha(level) * clean + levels.sigma(level) * noise
    return x, torch.full((count,), level, dtype=torch.float64)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", EXACT)
def test_the_score_is_the_gradient_of_the_log_density(name, level):
    denoiser = EXACT[name]()
    x, at = states(level)
    y = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(denoiser.log_prob(y, at).sum(), y)
    torch.testing.assert_close(denoiser(x, at).score(x, at), gradient, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", EXACT)
def test_the_variance_is_the_jacobian_of_the_mean(name, level):
    """Tweedie at second order: Cov[clean | x] = (sigma^2 / alpha) d mean / d x."""
    denoiser = EXACT[name](variance=True)
    x, at = states(level)
    jacobian = torch.stack(
        [torch.func.jacfwd(lambda v: denoiser(v[None], at[:1]).mean[0])(row).diagonal() for row in x]
    )
    right = levels.sigma(level) ** 2 / levels.alpha(level) * jacobian
    torch.testing.assert_close(denoiser(x, at).variance, right, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["gaussian", "mixture", "blurred"])
def test_densities_integrate_to_one_and_means_are_posterior_means(name):
    """By a fine sum in one dimension: E[clean | x] and p(x) from the definition."""
    one = {
        "gaussian": exact.Gaussian(0.4, 0.7),
        "mixture": exact.Mixture(
            torch.tensor([[-1.0], [0.8]]), torch.tensor([0.2, 0.5]), torch.tensor([1.0, 3.0])
        ),
        "blurred": exact.Empirical(torch.tensor([[-1.0], [0.8]]), 0.3),
    }[name]
    grid = torch.linspace(-12, 12, 20001, dtype=torch.float64)
    step = float(grid[1] - grid[0])
    clean_density = torch.exp(one.log_prob(grid[:, None], torch.full((20001,), INF)))
    assert float(clean_density.sum() * step) == pytest.approx(1, abs=1e-8)
    for level in (-1.0, 2.0):
        alpha, sigma = levels.alpha(level), levels.sigma(level)
        for x in (-0.7, 0.2):
            kernel = torch.exp(-0.5 * ((x - alpha * grid) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
            p = float((kernel * clean_density).sum() * step)
            mean = float((grid * kernel * clean_density).sum() * step) / p
            at = torch.tensor([level], dtype=torch.float64)
            point = torch.tensor([[x]], dtype=torch.float64)
            assert float(one(point, at).mean) == pytest.approx(mean, rel=1e-8)
            assert float(one.log_prob(point, at)) == pytest.approx(math.log(p), rel=1e-8)


@pytest.mark.parametrize("name", EXACT)
def test_at_both_ends_the_mean_is_finite_and_known(name):
    denoiser = EXACT[name](variance=True)
    x, _ = states(0.0)
    noise = denoiser(x, torch.full((6,), -INF))
    assert float(noise.mean.std(0).max()) < 1e-12  # nothing is known: the mean of the data, everywhere
    assert bool(torch.isfinite(noise.variance).all())
    points = MEANS if name in ("mixture", "empirical", "blurred") else x[:3]
    clean = denoiser(points, torch.full((3,), INF))
    right = torch.full_like(points, 0.4) if name == "point" else points
    torch.testing.assert_close(clean.mean, right)
    assert float(clean.variance.abs().max()) < 1e-9


@pytest.mark.parametrize("name", EXACT)
def test_exact_denoisers_are_safe_under_jvp(name):
    denoiser = EXACT[name]()
    x, at = states(1.0)
    tangent = torch.randn(6, D, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    _, slope = torch.func.jvp(lambda v: denoiser(v, at).mean, (x,), (tangent,))
    h = 1e-5
    right = (denoiser(x + h * tangent, at).mean - denoiser(x - h * tangent, at).mean) / (2 * h)
    torch.testing.assert_close(slope, right, rtol=1e-5, atol=1e-7)
    _, in_level = torch.func.jvp(lambda v: denoiser(x, v).mean, (at,), (torch.ones_like(at),))
    right = (denoiser(x, at + h).mean - denoiser(x, at - h).mean) / (2 * h)
    torch.testing.assert_close(in_level, right, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", EXACT)
def test_levels_are_per_item_and_dtypes_are_kept(name):
    denoiser = EXACT[name](variance=True)
    x = torch.randn(3, D, generator=torch.Generator().manual_seed(4))
    at = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64)
    found = denoiser(x, at)
    assert found.mean.dtype == found.variance.dtype == torch.float32
    assert found.mean.shape == found.variance.shape == x.shape
    for i in range(3):
        torch.testing.assert_close(found.mean[i : i + 1], denoiser(x[i : i + 1], at[i : i + 1]).mean)


def test_an_empirical_denoiser_is_a_mixture_of_its_points_and_one_point_is_a_gaussian():
    x, at = states(0.5)
    torch.testing.assert_close(exact.Empirical(MEANS, 0.2)(x, at).mean, exact.Mixture(MEANS, 0.2)(x, at).mean)
    one = exact.Mixture(MEANS[:1], 0.3)(x, at).mean
    torch.testing.assert_close(one, exact.Gaussian(MEANS[0], 0.3)(x, at).mean)
    image = exact.Empirical(MEANS.reshape(3, 1, 3, 1), 0.1)
    assert image(x.reshape(6, 1, 3, 1), at).mean.shape == (6, 1, 3, 1)


def test_impossible_data_are_refused():
    for wrong in (
        lambda: exact.Gaussian(0.0, -1.0),
        lambda: exact.Mixture(MEANS, -0.1),
        lambda: exact.Mixture(MEANS, 0.1, torch.tensor([1.0, 0.0, 1.0])),
        lambda: exact.Mixture(MEANS, 0.1, torch.ones(2)),
    ):
        with pytest.raises(PerrinError):
            wrong()


def test_the_views_of_a_prediction_are_one_another():
    """score = -noise / sigma, and the velocity is the derivative of the exact flow along the level."""
    x, at = states(1.0)
    prediction = exact.Gaussian(0.4, 0.7)(x, at)
    sigma = levels.sigma(at)[:, None]
    torch.testing.assert_close(prediction.score(x, at), -prediction.noise_at(x, at) / sigma)

    def flow(level):
        def spread(v):
            return torch.sqrt(levels.alpha(v) ** 2 * 0.49 + levels.sigma(v) ** 2)

        return levels.alpha(level) * 0.4 + (x - levels.alpha(1.0) * 0.4) * spread(level) / spread(1.0)

    h = 1e-5
    torch.testing.assert_close(
        prediction.velocity(x, at), (flow(1 + h) - flow(1 - h)) / (2 * h), rtol=1e-6, atol=1e-9
    )


def test_a_mean_alone_is_a_prediction_and_leaves_are_viewed_one_by_one():
    x = {"a": torch.ones(2, 3), "b": torch.zeros(2)}
    prediction = Prediction({"a": torch.zeros(2, 3), "b": torch.ones(2)})
    level = torch.zeros(2, dtype=torch.float64)
    assert prediction.noise is None
    assert prediction.variance is None
    torch.testing.assert_close(prediction.score(x, level)["a"], torch.full((2, 3), -2.0))
    torch.testing.assert_close(prediction.velocity(x, level)["b"], torch.full((2,), 0.5 * math.sqrt(0.5)))
    raw = Prediction(torch.zeros(2, 3), noise=torch.full((2, 3), 9.0))
    assert torch.equal(raw.noise_at(torch.ones(2, 3), level), torch.full((2, 3), 9.0))

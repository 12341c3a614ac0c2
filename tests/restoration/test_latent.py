"""Measurements of what is decoded: with a linear decoder Bayes' rule, with another one what importance sampling says."""

from __future__ import annotations

import pytest
import torch
from tests.guide.test_restoring import COVARIANCE, LEVEL, MEAN, SMOOTH, D, X, given_both, posterior

from perrin.denoise.correlated import Correlated
from perrin.errors import PerrinError
from perrin.guide.operators import Clip, Compressed, Mask, gaussian_blur
from perrin.guide.particles import particles
from perrin.guide.restoring import MMPS, PiGDM, Proximal, descent
from perrin.process import edm
from perrin.restoration.decoded import Decoded, decoded, in_parts
from perrin.sample import make_plan, run

V = 20
BENT = torch.randn(V, D, generator=torch.Generator().manual_seed(3), dtype=torch.float64) / D**0.5
AT = torch.arange(V)
OPERATORS = {
    "mask": Mask((1, V), AT % 3 == 0),
    "blur": gaussian_blur((1, V), 1.5),
    "compressed": Compressed((1, V), 6),
}
named = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)


def linear(z):
    return z @ BENT.T


class Whole:
    """The matrix of A D, for `posterior`, which asks an operator for its own."""

    def __init__(self, operator):
        self.operator = operator

    def __call__(self, z):
        return self.operator(linear(z))


def measurement(operator, noise):
    generator = torch.Generator().manual_seed(1)
    root = torch.linalg.cholesky(COVARIANCE)
    clean = MEAN + root @ torch.randn(D, generator=generator, dtype=torch.float64)
    y = operator(linear(clean[None, None]))
    seen = y + noise * torch.randn(y.shape, generator=generator, dtype=torch.float64)
    return torch.where(y == 0, y, seen)


@named
@pytest.mark.parametrize("noise", [0.05, 0.7])
def test_of_a_linear_decoder_moment_matching_is_bayes_rule(operator, noise):
    y = measurement(operator, noise)
    found = MMPS(SMOOTH, Decoded(operator, linear, (1, D)), y, noise, iterations=60)(X, LEVEL).mean
    for i in range(len(X)):
        right = given_both(X[i], LEVEL[i], (MEAN, COVARIANCE), Whole(operator), y, noise)
        torch.testing.assert_close(found[i, 0], right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", [PiGDM, Proximal])
def test_of_independent_latents_the_other_methods_are_too(method):
    white, noise, operator = Correlated(MEAN[None], torch.eye(D)), 0.3, OPERATORS["mask"]
    y = measurement(operator, noise)
    found = method(white, Decoded(operator, linear, (1, D)), y, noise)(X, LEVEL).mean
    for i in range(len(X)):
        prior = (MEAN, torch.eye(D, dtype=torch.float64))
        right = given_both(X[i], LEVEL[i], prior, Whole(operator), y, noise)
        torch.testing.assert_close(found[i, 0], right, rtol=1e-4, atol=1e-4)


def test_samples_and_what_they_decode_to_have_the_moments_of_the_posterior():
    noise, count, operator = 0.1, 700, OPERATORS["blur"]
    y = measurement(operator, noise)
    mean, covariance = posterior(MEAN, COVARIANCE, Whole(operator), y, noise)
    plan = make_plan("dpmpp_2m", edm(sigma_min=0.01, sigma_max=80.0), steps=30, grid="karras")
    guide = MMPS(SMOOTH, Decoded(operator, linear, (1, D)), y, noise, iterations=20)
    z = run(plan, guide, shape=(1, D), seeds=[(0, i) for i in range(count)], dtype=torch.float64)
    for x, m, c, prior in (
        (z[:, 0], mean, covariance, COVARIANCE),
        (linear(z)[:, 0], BENT @ mean, BENT @ covariance @ BENT.T, BENT @ COVARIANCE @ BENT.T),
    ):
        error = (x.mean(0) - m) / (c.diagonal().sqrt() / count**0.5 + 0.01)
        assert float(error.abs().max()) < 4
        assert float((torch.cov(x.T) - c).norm() / prior.norm()) < 0.035


TANH = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
PRIOR = torch.tensor([[1.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 1.0]], dtype=torch.float64)
SEEN = Mask((1, 6), torch.tensor([True, True, False, True, False, False]))


def squashed(z):
    return torch.tanh(z @ TANH.T)


def weighed(y, noise, n=200_000):
    """(values, mean, std) of latents and of what they decode to, by importance sampling from the prior."""
    z = torch.randn(n, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    z = (z @ torch.linalg.cholesky(PRIOR).T)[:, None]
    v = squashed(z)
    w = torch.softmax(-0.5 * (y - SEEN(v)).square().flatten(1).sum(1) / noise**2, 0)
    assert 1 / float(w.square().sum()) > 2000  # so that it is one
    found = []
    for x in (z[:, 0], v[:, 0]):
        mean = w @ x
        found.append((mean, (w @ (x - mean).square()).sqrt()))
    return found


LATENT = Correlated(torch.zeros(1, 3, dtype=torch.float64), PRIOR)


BIAS = {MMPS: (0.04, 0.1, 0.17), PiGDM: (0.28, 0.13, 0.17), Proximal: (0.3, 0.15, 0.17)}
"""Of the mean of latents, in deviations of the prior; chance of 600 samples comes on top of that (.03)."""


@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("method", BIAS)
def test_of_a_bent_decoder_every_method_is_near_the_posterior(method, case):
    noise, truth = ((0.1, 0), (0.3, 0), (0.3, 1))[case]
    clean = torch.randn(1, 1, 3, generator=torch.Generator().manual_seed(10 + truth), dtype=torch.float64)
    y = SEEN(squashed(clean))
    (mean, std), (_, spread) = weighed(y, noise)
    guide = method(LATENT, Decoded(SEEN, squashed, (1, 3)), y, noise, 1.0)
    z = run(descent(1.0), guide, shape=(1, 3), seeds=[(0, i) for i in range(600)], dtype=torch.float64)
    assert float((z[:, 0].mean(0) - mean).square().mean().sqrt()) < BIAS[method][case] + 0.03
    assert float((z[:, 0].std(0) / std - 1).abs().max()) < 0.15
    assert float(squashed(z)[:, 0].std(0).norm() / spread.norm() - 1) == pytest.approx(0, abs=0.22)


def test_particles_have_no_such_bias():
    clean = torch.randn(1, 1, 3, generator=torch.Generator().manual_seed(11), dtype=torch.float64)
    y, noise = SEEN(squashed(clean)), 0.3
    (mean, _), _ = weighed(y, noise)
    guide = MMPS(LATENT, Decoded(SEEN, squashed, (1, 3)), y, noise)
    seeds = [(0, i) for i in range(12)]
    found = particles(
        descent(1.0, 100, "ddpm"), guide, seeds=seeds, shape=(1, 3), count=64, dtype=torch.float64
    )
    z = found.resampled(seeds).flatten(0, 1)[:, 0]
    assert float((z.mean(0) - mean).square().mean().sqrt()) < 0.08


def test_a_tangent_is_the_derivative_and_its_transpose():
    operator = Decoded(gaussian_blur((1, 6), 1.0), squashed, (1, 3))
    generator = torch.Generator().manual_seed(2)
    at, u = (torch.randn(4, 1, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    y = torch.randn(4, 1, 6, generator=generator, dtype=torch.float64)
    tangent, residual = operator.around(at, y, torch.ones(()), 0.1)
    torch.testing.assert_close(residual, y - operator(at))
    h = 1e-6
    along = (operator(at + h * u) - operator(at - h * u)) / (2 * h)
    torch.testing.assert_close(tangent(u), along, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close((tangent(u) * y).sum((1, 2)), (u * tangent.adjoint(y)).sum((1, 2)))


def test_pictures_are_decoded_so_many_at_a_time():
    seen = []

    def decode(z):
        seen.append(len(z))
        return z.expand(-1, 600, 500)

    assert decoded(decode, torch.zeros(3, 1, 1), (600, 500)).shape == (3, 600, 500)
    assert seen == [1, 1, 1]
    assert in_parts(lambda z: z, (1, 3), X).equal(X)


def test_what_is_not_linear_itself_is_refused():
    with pytest.raises(PerrinError, match="Clip is not linear"):
        Decoded(Clip((1, 6), -0.5, 0.5), squashed, (1, 3))

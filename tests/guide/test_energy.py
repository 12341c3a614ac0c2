"""Guidance by any energy: exact where that is possible, its bias where it is not, and nothing where it has none."""

from __future__ import annotations

import math

import pytest
import torch
from tests.guide.test_classifier_free import exact_network

from perrin.denoise import exact
from perrin.errors import PerrinError
from perrin.guide import ClassifierFree, Energy
from perrin.process import levels, vp
from perrin.registry import parameterisations
from perrin.sample import make_plan, run

GENERATOR = torch.Generator().manual_seed(0)
ROOT = torch.randn(3, 3, generator=GENERATOR, dtype=torch.float64)
COVARIANCE = ROOT @ ROOT.T + 0.1 * torch.eye(3, dtype=torch.float64)
CENTRE = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64)
PRIOR = exact.Correlated(CENTRE, COVARIANCE)
SLOPE, SEEN, NOISE = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64), 1.5, 0.2
X = torch.randn(6, 3, generator=GENERATOR, dtype=torch.float64)
LEVEL = torch.tensor([-9.0, -3.0, -0.5, 0.5, 3.0, 9.0], dtype=torch.float64)
PLAN = make_plan("dpmpp_2m", vp(), steps=12)


def seen(clean):
    """Of one number, SLOPE . clean, measured with noise."""
    return 0.5 * (clean @ SLOPE.to(clean) - SEEN) ** 2 / NOISE**2


def posterior(weight=1.0):
    """The Gaussian N(CENTRE, COVARIANCE) exp(-weight seen), exactly."""
    gain = COVARIANCE @ SLOPE / (SLOPE @ COVARIANCE @ SLOPE + NOISE**2 / weight)
    covariance = COVARIANCE - gain[:, None] * (COVARIANCE @ SLOPE)[None]
    return exact.Correlated(CENTRE + gain * (SEEN - SLOPE @ CENTRE), (covariance + covariance.T) / 2)


@pytest.mark.parametrize("weight", [0.3, 1.0, 4.0])
def test_one_quadratic_statistic_of_gaussian_data_is_exact_at_every_level(weight):
    found = Energy(PRIOR, seen, weight)(X, LEVEL).mean
    torch.testing.assert_close(found, posterior(weight)(X, LEVEL).mean, rtol=1e-9, atol=1e-10)


def test_so_is_an_energy_that_is_quadratic_in_independent_entries():
    target = torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64)
    found = Energy(exact.Gaussian(0.3, 0.8), lambda c: ((c - target) ** 2).sum(1) / 0.5)(X, LEVEL).mean
    precision = 1 / 0.64 + 4
    right = exact.Gaussian((0.3 / 0.64 + 4 * target) / precision, precision**-0.5)(X, LEVEL).mean
    torch.testing.assert_close(found, right, rtol=1e-9, atol=1e-10)


def test_its_samples_are_those_of_the_posterior():
    found = run(PLAN, Energy(PRIOR, seen), seeds=range(20), shape=(3,), dtype=torch.float64)
    right = run(PLAN, posterior(), seeds=range(20), shape=(3,), dtype=torch.float64)
    torch.testing.assert_close(found, right, rtol=1e-7, atol=1e-8)


def test_the_plain_step_overshoots_by_what_the_clean_state_is_uncertain():
    """(s^2 + a V a) / s^2 times as far: the bias of diffusion posterior sampling, in closed form."""
    mean = PRIOR(X, LEVEL).mean
    right, plain = (Energy(PRIOR, seen, curved=curved)(X, LEVEL).mean - mean for curved in (True, False))
    noise = (levels.sigma(LEVEL) ** 2 / levels.alpha(LEVEL) ** 2)[:, None, None]
    spread = torch.linalg.inv(torch.linalg.inv(COVARIANCE) + torch.eye(3) / noise)  # of clean given x
    factor = (NOISE**2 + torch.einsum("i,bij,j->b", SLOPE, spread, SLOPE)) / NOISE**2
    torch.testing.assert_close(plain, factor[:, None] * right, rtol=1e-7, atol=1e-9)
    assert float(factor.max()) > 50


def test_several_statistics_share_one_step_which_is_a_bias():
    """Two numbers of unequal uncertainty: not exact, but no further from the posterior than the prior is."""
    energy = Energy(PRIOR, lambda c: 0.5 * (c[:, :2] ** 2).sum(1) / NOISE**2)
    precision = torch.linalg.inv(COVARIANCE) + torch.diag(torch.tensor([1.0, 1.0, 0.0])) / NOISE**2
    covariance = torch.linalg.inv(precision)
    right = exact.Correlated(
        covariance @ torch.linalg.solve(COVARIANCE, CENTRE), (covariance + covariance.T) / 2
    )
    wrong, before = (float((d(X, LEVEL).mean - right(X, LEVEL).mean).norm()) for d in (energy, PRIOR))
    assert 0.05 * before < wrong < before


@pytest.mark.parametrize("slope", ["network", "mean"])
def test_the_step_lowers_an_energy_that_the_plain_one_raises(slope):
    def energy(clean):
        return 5 * (clean**4).sum(1)

    before = energy(PRIOR(X, LEVEL).mean)
    found, plain = (
        energy(Energy(PRIOR, energy, slope=slope, curved=curved)(X, LEVEL).mean) for curved in (True, False)
    )
    assert bool((found < before).all())
    assert float((plain / before).max()) > 10


def test_without_the_network_independent_entries_are_exact_all_the_same():
    prior = exact.Gaussian(0.0, 0.8)
    one, other = (
        Energy(prior, lambda c: (c**2).sum(1), slope=s, deviation=0.8)(X, LEVEL) for s in ("network", "mean")
    )
    torch.testing.assert_close(one.mean, other.mean)


def test_without_the_network_it_is_not_differentiated():
    def denoiser(x, level, condition=None):
        return exact.Gaussian(0.0, 0.8)(x.detach(), level)

    found = Energy(denoiser, lambda c: (c**2).sum(1), slope="mean")(X, LEVEL).mean
    assert float((found - denoiser(X, LEVEL).mean).abs().max()) > 0.1


def test_weight_zero_and_levels_outside_the_interval_change_nothing_to_the_bit():
    def fails(clean):
        raise AssertionError("not asked for")

    right = PRIOR(X, LEVEL).mean
    assert torch.equal(Energy(PRIOR, fails, 0.0)(X, LEVEL).mean, right)
    assert torch.equal(Energy(PRIOR, fails, 1.0, (20.0, 30.0))(X, LEVEL).mean, right)
    found = Energy(PRIOR, seen, 1.0, (-1.0, 2.0))(X, LEVEL).mean
    inside = (LEVEL >= -1.0) & (LEVEL <= 2.0)
    assert torch.equal(found[~inside], right[~inside])
    assert torch.equal(found[inside], Energy(PRIOR, seen)(X, LEVEL).mean[inside])


def test_a_sample_alone_is_the_same():
    guide = Energy(exact.Gaussian(0.0, 0.8), lambda c: (c**4).sum((1, 2)))
    x = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    together = guide(x, LEVEL[:5]).mean
    for i in range(5):
        assert torch.equal(guide(x[i : i + 1], LEVEL[i : i + 1]).mean[0], together[i])


@pytest.mark.parametrize("name", parameterisations)
def test_a_guided_sample_is_the_same_under_every_parameterisation(name):
    """Around classifier-free guidance, whose Jacobian it then takes."""
    plan, condition = (
        make_plan("dpmpp_2m", grid=[-6.0 + 1.2 * k for k in range(11)]),
        {"label": torch.tensor([1, 2])},
    )
    found = [
        run(
            plan,
            Energy(ClassifierFree(network, 2.0), lambda c: (c**2).sum(1), 0.7),
            seeds=[1, 2],
            shape=(3,),
            condition=condition,
            dtype=torch.float64,
        )
        for network in (exact_network(name), exact_network("clean"))
    ]
    torch.testing.assert_close(found[0], found[1], rtol=1e-7, atol=1e-8)


def test_it_converges_as_steps_are_doubled():
    guide, found = Energy(PRIOR, lambda c: (c**4).sum(1)), []
    for steps in (40, 80, 160):
        plan = make_plan("heun", grid=[-6.0 + 14.0 * k / steps for k in range(steps + 1)])
        found.append(run(plan, guide, seeds=[1], start=X[:1]))
    apart = [float((a - found[2]).abs().max()) for a in found[:2]]
    assert apart[1] < 0.35 * apart[0] < 0.02


def test_it_can_be_differentiated_forward():
    """The tilted Gaussian is a Gaussian, whose mean is linear."""

    def mean(x):
        return Energy(PRIOR, seen)(x, LEVEL).mean

    with torch.no_grad():
        _, slope = torch.func.jvp(mean, (X,), (torch.ones_like(X),))
    torch.testing.assert_close(slope, mean(X + 1.0) - mean(X), rtol=1e-6, atol=1e-9)


def test_an_energy_without_a_slope_is_for_particles():
    guide = Energy(PRIOR, lambda c: (c[:, 0] > 0).double(), slope="none")
    found, shift = guide.shift(X, LEVEL, None)
    assert torch.equal(found.mean, PRIOR(X, LEVEL).mean)
    assert not bool(shift.any())
    with pytest.raises(PerrinError, match="particles"):
        guide(X, LEVEL)


def test_an_energy_of_the_wrong_shape_is_named():
    def loss(clean):
        return clean.sum()

    with pytest.raises(PerrinError, match=r"'loss' gives shape \(\) for 6 states"):
        Energy(PRIOR, loss)(X, LEVEL)
    with pytest.raises(PerrinError, match="continuous"):
        Energy(PRIOR, loss)(torch.zeros(6, 3, dtype=torch.long), LEVEL)


@pytest.mark.parametrize(
    "wrong",
    [{"weight": -1.0}, {"interval": (1.0, 0.0)}, {"slope": "some"}, {"deviation": 0.0}, {"draws": -1}],
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(PerrinError):
        Energy(PRIOR, seen, **wrong)


def test_zero_snr_is_refused_unless_the_interval_leaves_it_out():
    plan = make_plan("ddim", grid=[-math.inf, 0.0, math.inf])
    with pytest.raises(PerrinError, match="zero SNR"):
        run(plan, Energy(PRIOR, seen), seeds=[1], shape=(3,))
    run(plan, Energy(PRIOR, seen, interval=(-5.0, 5.0)), seeds=[1], shape=(3,), dtype=torch.float64)

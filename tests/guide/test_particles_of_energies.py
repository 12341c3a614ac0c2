"""Particles that follow any reward: events and energies against their exact laws, with and without derivatives."""

from __future__ import annotations

import math

import pytest
import torch
from tests.guide.test_particles import MIXTURE, NOISE, PLAN, SEEN, posterior

from perrin.denoise import exact
from perrin.errors import PerrinError
from perrin.guide import Energy
from perrin.guide.particles import particles
from perrin.process import gaussian, levels

NORMAL = exact.Gaussian(0.0, 1.0)


def spread():
    """The standard deviation that the plan, whose steps are not small, makes of N(0, 1): its rows are linear."""
    variance = 1.0
    for level, after in zip(PLAN.evaluated, PLAN.base_levels[1:], strict=True):
        c_x, c_clean, std = (float(v) for v in gaussian.posterior(level, after))
        variance = (c_x + c_clean * float(levels.alpha(level))) ** 2 * variance + std**2
    return math.sqrt(variance)


def above(limit):
    """The event that the first number is above a limit: a state is allowed or it is not."""

    def energy(clean):
        return torch.where(clean[:, 0] > limit, 0.0, torch.inf)

    return energy


def drawn(energy, samples, count, denoiser=NORMAL, shape=(1,), **options):
    guide = Energy(denoiser, energy, **{"slope": "none", "draws": 16, **options})
    return particles(PLAN, guide, seeds=range(samples), shape=shape, count=count, dtype=torch.float64)


def moment(found, power=1):
    """The average over samples of the weighted average of the first number's power."""
    return float((found.weight * found.state[..., 0] ** power).sum(1).mean())


def law(energy):
    """Mean and second moment of the plan's N(0, 1) under exp(-E), by quadrature."""
    z = torch.linspace(-6, 6, 24001, dtype=torch.float64)[:, None]
    density = torch.exp(-0.5 * z[:, 0] ** 2 / spread() ** 2 - energy(z))
    return tuple(float((z[:, 0] ** k * density).sum() / density.sum()) for k in (1, 2))


def test_an_event_of_a_gaussian_is_the_truncated_gaussian():
    mean, square = law(above(1.0))
    found = drawn(above(1.0), 20, 200)
    assert bool((found.state[found.weight > 0] > 1.0).all())
    assert moment(found) == pytest.approx(mean, abs=0.03)
    assert moment(found, 2) == pytest.approx(square, abs=0.08)


def test_its_error_falls_as_the_root_of_the_number_of_particles():
    mean, _ = law(above(1.0))
    found = [drawn(above(1.0), 30, count).mean()[:, 0] - mean for count in (40, 360)]
    few, many = (float(error.square().mean().sqrt()) for error in found)
    assert 2.0 * many < few < 4.5 * many


def test_its_bias_goes_away_as_particles_grow():
    """A reward that favours one side by 4 to 1: one particle does not know of it."""

    def energy(clean):
        return -math.log(4.0) * (clean[:, 0] > 0).double()

    found = [drawn(energy, 1200 // count, count) for count in (1, 4, 60)]
    bias = [0.8 - float((f.weight * (f.state[..., 0] > 0)).sum(1).mean()) for f in found]
    assert bias[0] == pytest.approx(0.3, abs=0.05)
    assert 0.04 < bias[1] < 0.2
    assert abs(bias[2]) < 0.03


def test_judging_by_the_mean_alone_loses_no_state_that_is_allowed():
    """Without draws the promise of a noisy state is poor, but it is never nothing: the law is the same."""
    mean, _ = law(above(1.0))
    assert moment(drawn(above(1.0), 20, 400, draws=0)) == pytest.approx(mean, abs=0.08)


def test_an_event_of_a_mixture_has_the_shares_that_it_should():
    """The first number above 0: the first component is out, the others keep their odds of 3 to 2."""
    found = drawn(above(0.0), 20, 200, MIXTURE, (2,))
    upper = float((found.weight * (found.state[..., 1] > -0.4)).sum(1).mean())
    assert upper == pytest.approx(0.6, abs=0.04)


@pytest.mark.parametrize("slope", ["network", "mean", "none"])
def test_every_proposal_leads_to_the_same_law(slope):
    """A quartic energy of a Gaussian, whose law is known by quadrature; guidance alone is off."""

    def energy(clean):
        return (clean[:, 0] - 1) ** 4

    found, (mean, square) = drawn(energy, 20, 100, slope=slope, draws=0), law(energy)
    assert moment(found) == pytest.approx(mean, abs=0.03)
    assert moment(found, 2) == pytest.approx(square, abs=0.06)


def test_guidance_alone_has_a_bias_that_the_weights_take_away():
    """A measurement's energy of a mixture has the measurement's posterior; one particle is guidance alone."""
    _, right = posterior()

    def energy(clean):
        return 0.5 * (clean[:, 0] - SEEN[0, 0]) ** 2 / NOISE**2

    options = {"slope": "network", "draws": 0}
    alone, weighed = (
        float((drawn(energy, n, count, MIXTURE, (2,), **options).mean().mean(0) - right).abs().max())
        for n, count in ((600, 1), (24, 64))
    )
    assert alone > 0.07
    assert weighed < 0.06


def test_a_guided_proposal_keeps_more_particles_than_none():
    def energy(clean):
        return 0.5 * (clean[:, 0] - 2) ** 2 / 0.1**2

    guided, blind = (
        float(drawn(energy, 8, 50, slope=slope, draws=0).effective.min(1).values.mean())
        for slope in ("network", "none")
    )
    assert guided > 20
    assert blind < 5


def test_a_sample_is_a_function_of_its_key():
    together, alone = drawn(above(0.5), 3, 16), drawn(above(0.5), 1, 16)
    torch.testing.assert_close(together.state[:1], alone.state, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(together.weight[:1], alone.weight, rtol=1e-9, atol=1e-9)


def test_an_event_that_no_particle_meets_asks_for_more_of_them():
    with pytest.raises(
        PerrinError, match=r"none of the 4 particles of \d of 6 samples is allowed: use more particles"
    ):
        drawn(above(4.0), 6, 4)


def test_a_weight_that_is_no_number_is_named():
    def broken(clean):
        return torch.full((len(clean),), torch.nan)

    with pytest.raises(PerrinError, match="'broken' is not a number"):
        drawn(broken, 2, 4)


def test_ones_own_twist_is_one():
    """Anything with the four methods moves particles: here no twist at all, so that only the end counts."""

    class Late:
        def shift(self, x, level, condition):
            return NORMAL(x, level), torch.zeros_like(x)

        def log_twist(self, mean, level):
            return torch.zeros(len(mean), dtype=torch.float64)

        def log_likelihood(self, clean):
            return torch.where(clean[:, 0] > 1.0, 0.0, -torch.inf).double()

        def repeated(self, count):
            return self

    found = particles(PLAN, Late(), seeds=range(4), shape=(1,), count=500, dtype=torch.float64)
    assert moment(found) == pytest.approx(law(above(1.0))[0], abs=0.08)


MEANS = torch.tensor([[-1.0, 0.5], [0.3, 0.2], [1.4, -2.0]], dtype=torch.float64)
AT = torch.tensor([0.5, 0.5, 0.5], dtype=torch.float64)
LEFT = float(levels.sigma(0.5))
"""The deviation of a clean N(0, 1) entry at level .5: its variance is sigma^2, since alpha^2 + sigma^2 = 1."""


def test_draws_promise_the_probability_of_an_event():
    guide = Energy(NORMAL, above(1.0), slope="none", draws=4000)
    right = torch.special.log_ndtr((MEANS[:, 0] - 1.0) / LEFT)
    torch.testing.assert_close(guide.log_twist(MEANS, AT).exp(), right.exp(), rtol=0, atol=0.02)


def test_a_slope_promises_the_average_of_a_quadratic_energy_up_to_a_constant():
    def energy(clean):
        return 0.5 * ((clean - 0.7) ** 2).sum(1) / 0.3**2

    found = Energy(NORMAL, energy).log_twist(MEANS, AT)
    right = -0.5 * ((MEANS - 0.7) ** 2).sum(1) / (0.3**2 + LEFT**2)
    torch.testing.assert_close(found - found[0], right - right[0])


def test_where_all_draws_are_ruled_out_the_promise_is_small_and_not_nothing():
    guide = Energy(NORMAL, above(50.0), slope="none", draws=16)
    torch.testing.assert_close(
        guide.log_twist(MEANS, AT).exp(), torch.full((3,), 1 / 32, dtype=torch.float64)
    )

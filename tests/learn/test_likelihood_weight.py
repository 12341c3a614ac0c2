"""The likelihood weight: whatever the law, the expected loss is the bound's diffusion part between its end levels."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from scipy import stats

from perrin.denoise import exact
from perrin.errors import PerrinError
from perrin.learn import Denoising
from perrin.learn.laws import lognormal, uniform_level, uniform_step, uniform_time
from perrin.learn.weighting import likelihood
from perrin.process import levels
from perrin.registry import level_laws, schedules

STD = 0.6
COUNT = 200_000
U = (torch.arange(COUNT, dtype=torch.float64) + 0.5) / COUNT
NAMES = ["vp", "sub_vp", "ve", "cosine", "edm", "flow"]


def error(level):
    """E|D - clean|^2 per entry of N(0, STD^2): the posterior variance."""
    alpha, sigma = levels.alpha(level), levels.sigma(level)
    return STD**2 * sigma**2 / (alpha**2 * STD**2 + sigma**2)


def bound(low, high):
    """1/2 the integral of SNR error over levels low to high, in closed form."""
    return 0.5 * (math.log1p(STD**2 * math.exp(high)) - math.log1p(STD**2 * math.exp(low)))


@pytest.mark.parametrize("name", NAMES)
def test_uniform_time_of_every_schedule_has_the_expectation_of_the_bound(name):
    law = uniform_time(name)
    level = law(U)
    value = float((likelihood(law)(level) * error(level)).mean())
    assert value == pytest.approx(bound(*schedules[name]().level_range), rel=3e-3)


@pytest.mark.parametrize(("low", "high"), [(-10.0, 12.4), (-3.0, 2.0)])
def test_uniform_level_is_snr_over_two_times_the_range(low, high):
    law = uniform_level(low, high)
    level = law(U)
    torch.testing.assert_close(likelihood(law)(level), torch.exp(level) / 2 * (high - low))
    value = float((likelihood(law)(level) * error(level)).mean())
    assert value == pytest.approx(bound(low, high), rel=1e-6)


def test_the_lognormal_law_has_it_between_any_two_of_its_levels():
    law, (low, high) = lognormal(-0.8, 1.2), (-4.0, 6.0)
    level = law(U)
    inside = (level > low) & (level < high)
    value = float((likelihood(law)(level) * error(level) * inside).mean())
    assert value == pytest.approx(bound(low, high), rel=1e-3)


def test_the_weight_in_time_is_half_the_snr_times_the_speed_of_the_level():
    """Song et al. 2021: lambda(t) = g(t)^2 on the score's error, half of it, is SNR/2 |dlevel/dt| on the clean state's."""
    schedule = schedules["vp"]()
    t = torch.tensor([0.05, 0.3, 0.8], dtype=torch.float64)
    level = schedule.level(t)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    on_clean = 0.5 * schedule.diffusion(t) ** 2 * (alpha / sigma**2) ** 2
    torch.testing.assert_close(likelihood(uniform_time("vp"))(level), on_clean, rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_density_is_that_of_the_levels_a_law_gives(name):
    law = uniform_time(name)
    low, high = schedules[name]().level_range
    edges = torch.linspace(max(low, -6.0), min(high, 6.0), 9, dtype=torch.float64)
    level = law(U)
    for a, b in pairwise(edges):
        share = float(((level > a) & (level < b)).double().mean())
        inner = a + (b - a) * (torch.arange(2000) + 0.5) / 2000
        assert float(law.density(inner).mean() * (b - a)) == pytest.approx(share, abs=2e-5)
    points = torch.tensor([-3.0, 0.0, 4.0], dtype=torch.float64)
    right = stats.norm.pdf((-points / 2).numpy(), -1.2, 1.2) / 2
    torch.testing.assert_close(lognormal().density(points), torch.from_numpy(right))


def test_sampled_losses_of_two_laws_agree_with_the_bound_for_an_exact_denoiser():
    seeds = torch.arange(8000)
    clean = STD * torch.randn(8000, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for law in (uniform_level(-8.0, 8.0), uniform_time("ve", sigma_min=math.exp(-4), sigma_max=math.exp(4))):
        losses = Denoising(law, likelihood(law))(exact.Gaussian(0.0, STD), clean, None, seeds).value
        stderr = float(losses.std()) / math.sqrt(len(losses))
        assert abs(float(losses.mean()) - bound(-8.0, 8.0)) < 4 * stderr
        assert stderr < 0.03 * bound(-8.0, 8.0)


def test_times_beyond_the_range_carry_no_weight():
    law = uniform_time("edm", sigma_min=0.5, sigma_max=2.0)
    level = law(U)
    low, high = schedules["edm"](sigma_min=0.5, sigma_max=2.0).level_range
    assert float((level == high).double().mean()) > 0.2  # times from 0 to sigma_min
    weight = likelihood(law)(level)
    assert bool((weight[level == high] == 0).all())
    assert bool((weight[(level > low) & (level < high)] > 0).all())


def test_a_law_without_density_is_refused():
    with pytest.raises(PerrinError, match="needs a law with a density"):
        likelihood(uniform_step())
    with pytest.raises(PerrinError, match="needs a law with a density"):
        likelihood(lambda u: u)
    assert {n for n in level_laws if hasattr(level_laws[n](), "density")} == {
        "uniform_level",
        "uniform_time",
        "lognormal",
    }

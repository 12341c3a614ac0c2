"""Weights are the losses of their papers; laws of levels have the distributions they are named after."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from perrin.errors import PerrinError
from perrin.learn.laws import lognormal, uniform_level, uniform_time
from perrin.learn.weighting import edm, min_snr, sigmoid, simple, uniform
from perrin.process import levels
from perrin.registry import level_laws, parameterisations, schedules, weights

LEVEL = torch.linspace(-12, 12, 25, dtype=torch.float64)
SNR = torch.exp(LEVEL)
U = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000


@pytest.mark.parametrize("sigma_data", [0.3, 0.5, 1.0])
def test_the_edm_weight_is_one_over_c_out_squared(sigma_data):
    _, out = parameterisations["edm"](None, sigma_data=sigma_data).coefficients(LEVEL)
    torch.testing.assert_close(edm(sigma_data)(LEVEL), 1 / out**2, rtol=1e-12, atol=0)


def test_the_simple_weight_is_the_noise_loss():
    """|E - noise|^2 = SNR |D - clean|^2 at the same noisy state."""
    clean, noise, mean = (torch.randn(25, 3, dtype=torch.float64) for _ in range(3))
    alpha, sigma = levels.alpha(LEVEL)[:, None], levels.sigma(LEVEL)[:, None]
    predicted = (alpha * clean + sigma * noise - alpha * mean) / sigma
    loss = (predicted - noise).pow(2).sum(1)
    torch.testing.assert_close(simple()(LEVEL) * (mean - clean).pow(2).sum(1), loss, rtol=1e-8, atol=1e-12)


def test_the_loss_on_a_networks_own_output_is_one_over_out_squared():
    """|F - target|^2 = |D - clean|^2 / out^2, so that v and flow losses are weights too."""
    for name, right in (
        ("v", 1 / levels.sigma(LEVEL) ** 2),
        ("noise", SNR),
        ("clean", torch.ones_like(LEVEL)),
    ):
        _, out = parameterisations[name](None).coefficients(LEVEL)
        torch.testing.assert_close(1 / out**2, right, rtol=1e-12, atol=0)


def test_min_snr_and_sigmoid_are_the_noise_loss_times_their_factor():
    torch.testing.assert_close(min_snr(5.0)(LEVEL), SNR * torch.clamp(5.0 / SNR, max=1.0))
    torch.testing.assert_close(sigmoid(-1.0)(LEVEL), SNR * torch.sigmoid(-1.0 - LEVEL))
    torch.testing.assert_close(uniform()(LEVEL), torch.ones_like(LEVEL))


@pytest.mark.parametrize("name", weights)
def test_every_weight_is_positive_and_finite_at_all_trained_levels(name):
    value = weights[name]()(LEVEL)
    assert value.shape == LEVEL.shape
    assert bool((value > 0).all())
    assert bool(torch.isfinite(value).all())


@pytest.mark.parametrize("name", level_laws)
def test_every_law_gives_finite_levels_with_more_noise_for_larger_u(name):
    law = level_laws[name]()
    level = law(U)
    assert level.dtype == torch.float64
    assert bool((level[1:] <= level[:-1]).all())
    assert bool(torch.isfinite(law(torch.tensor([1e-9, 1 - 1e-9], dtype=torch.float64))).all())


def test_the_lognormal_law_is_that_of_sigma_over_alpha():
    level = lognormal(-1.2, 1.2)(U)
    log_ratio = torch.log(levels.ratio(level))
    assert stats.kstest(log_ratio.numpy(), "norm", args=(-1.2, 1.2)).statistic < 1e-3


@pytest.mark.parametrize("name", [n for n in schedules if n != "discrete"])
def test_uniform_time_is_uniform_in_the_time_of_its_schedule(name):
    schedule = schedules[name]()
    low, high = schedule.level_range
    level = uniform_time(name)(U)
    assert low <= float(level.min())
    assert float(level.max()) <= high
    inside = (level > low) & (level < high)
    clean, noisy = schedule.times
    torch.testing.assert_close(schedule.time(level)[inside], (clean + (noisy - clean) * U)[inside])
    assert float(inside.double().mean()) > 0.9


def test_uniform_level_is_uniform():
    level = uniform_level(-3.0, 5.0)(U)
    assert stats.kstest(level.numpy(), "uniform", args=(-3.0, 8.0)).statistic < 1e-3


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: edm(0.0),
        lambda: min_snr(-1.0),
        lambda: lognormal(0.0, 0.0),
        lambda: uniform_level(1.0, 0.0),
        lambda: uniform_time("cosin"),
        lambda: weights["min_snt"],
        lambda: level_laws["log_normal"],
    ],
)
def test_impossible_options_and_unknown_names_are_refused_in_one_line(wrong):
    with pytest.raises(PerrinError) as caught:
        wrong()
    assert "\n" not in str(caught.value)


def test_the_edm_law_and_weight_are_the_defaults_of_the_objective():
    import inspect

    from perrin.learn import objective

    parameters = inspect.signature(objective).parameters
    assert list(parameters)[:3] == ["denoiser", "batch", "generator"]
    assert math.isclose(float(edm()(torch.zeros(1, dtype=torch.float64))), 5.0)

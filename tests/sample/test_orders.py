"""Orders: measured between the levels -4 and 8 for every rule, and no floor below them."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from tests.sample.measure import (
    DETERMINISTIC,
    HIGH,
    LOW,
    STOCHASTIC,
    Basis,
    covariance_error,
    deterministic_error,
    line,
    output_variance,
    slope,
)

from perrin.denoise import exact
from perrin.process import levels, vp
from perrin.registry import rules
from perrin.sample import make_plan, run

COUNTS = (160, 320, 640)
MIXTURE = exact.Mixture(torch.tensor([[-0.8], [0.1], [1.0]]), torch.tensor([0.15, 0.3, 0.2]))


@cache
def errors(rule: str, history: int) -> list[float]:
    return [deterministic_error(rule, steps, history) for steps in COUNTS]


@pytest.mark.parametrize("rule", DETERMINISTIC)
def test_every_deterministic_rule_reaches_its_declared_order_with_history_supplied(rule):
    assert slope(errors(rule, 6), COUNTS) >= rules[rule].order - 0.15


@pytest.mark.parametrize("rule", DETERMINISTIC)
def test_every_deterministic_rule_reaches_its_declared_order_when_it_starts_itself(rule):
    assert slope(errors(rule, 0), COUNTS) >= rules[rule].start_order - 0.15
    assert rules[rule].start_order <= rules[rule].order


@pytest.mark.parametrize("rule", DETERMINISTIC)
def test_no_rule_declares_a_start_order_below_what_it_has(rule):
    """A start that loses no order must not be documented as if it did; the last halving shows the asymptote."""
    coarse, fine = errors(rule, 0)[1:]
    if rules[rule].start_order < rules[rule].order:
        assert math.log2(coarse / fine) < rules[rule].order - 0.15


@pytest.mark.parametrize("rule", [r for r in DETERMINISTIC if rules[r].order >= 2])
def test_the_error_keeps_falling_at_the_rules_order_down_to_one_in_a_million(rule):
    order = rules[rule].start_order

    def error(steps):
        return deterministic_error(rule, steps, 0, low=-1.0, high=3.0)

    coarse = error(60)
    steps = max(120, math.ceil(60 * (coarse / 5e-7) ** (1 / order)))
    fine = error(steps)
    assert fine < 1e-6
    assert math.log(coarse / fine) / math.log(steps / 60) >= order - 0.15


@pytest.mark.parametrize("std", [0.5, 1.7])
@pytest.mark.parametrize("rule", [r for r in STOCHASTIC if rules[r].order > 0])
def test_every_stochastic_rule_reaches_its_weak_order(rule, std):
    """From the covariance of the output on N(0, std^2), propagated through the table: no Monte Carlo."""
    found = slope([covariance_error(rule, steps, std) for steps in COUNTS[:2]], COUNTS[:2])
    assert found >= rules[rule].order - 0.15


@pytest.mark.parametrize("rule", rules)
def test_the_table_and_the_executor_agree_on_the_output_variance(rule, monkeypatch):
    """The instrument above is checked against the real loop, run on basis vectors."""
    plan = make_plan(rule, grid=line(LOW, HIGH, 7))
    std = 0.6
    start = math.sqrt(float(levels.alpha(LOW) ** 2 * std**2 + levels.sigma(LOW) ** 2))
    out = Basis(monkeypatch).run(plan, exact.Gaussian(0.0, std), 0.0, start)
    assert float((out**2).sum()) == pytest.approx(output_variance(plan, std), rel=1e-12)


@pytest.mark.parametrize("std", [0.2, 1.0, 1.5])
@pytest.mark.parametrize("rule", [r for r in rules if rules[r].order > 0])
def test_the_output_variance_on_gaussian_data_tends_to_that_of_the_data(rule, std):
    """From pure noise to clean: no residual noise, and an error that vanishes with the steps.

    What is left of the rules of order 0 stands in closed form in `test_literal_schemes`.
    """
    off = []
    for steps in (60, 240):
        plan = make_plan(rule, grid=[-math.inf, *line(-12.0, 14.0, steps), math.inf])
        off.append(abs(output_variance(plan, std) / std**2 - 1))
    assert off[1] < {1: 0.25, 2: 0.02}.get(rules[rule].order, 0.02)
    # below 1e-5 only the two ends of the grid are left, and they do not move with the steps
    assert off[1] < 0.4 * off[0] or off[1] < 1e-4


def reference_flow(x, low, high, steps):
    """Runge-Kutta on dx/dlevel, the velocity of the exact mixture."""
    h = (high - low) / steps

    def f(x, level):
        at = torch.full((len(x),), level, dtype=torch.float64)
        return MIXTURE(x, at).velocity(x, at)

    for k in range(steps):
        a = low + h * k
        k1 = f(x, a)
        k2 = f(x + 0.5 * h * k1, a + 0.5 * h)
        k3 = f(x + 0.5 * h * k2, a + 0.5 * h)
        x = x + h * (k1 + 2 * k2 + 2 * k3 + f(x + h * k3, a + h)) / 6
    return x


@pytest.fixture(scope="module")
def mixture_truth():
    x = torch.linspace(-2.0, 2.0, 8, dtype=torch.float64)[:, None]
    return x, reference_flow(x, LOW, HIGH, 800)


@pytest.mark.parametrize("rule", [r for r in DETERMINISTIC if r != "euler"])
def test_on_a_mixture_every_deterministic_rule_converges_to_the_probability_flow(rule, mixture_truth):
    """The non-linear case: the flow of another method, of the fourth order, is where all rules go."""
    x, truth = mixture_truth
    found = [
        float(
            (run(make_plan(rule, grid=line(LOW, HIGH, n)), MIXTURE, seeds=range(8), start=x) - truth)
            .abs()
            .max()
        )
        for n in (60, 120)
    ]
    assert found[1] < {1: 0.1, 2: 5e-3}.get(rules[rule].start_order, 5e-4)
    assert math.log2(found[0] / found[1]) > rules[rule].start_order - 0.5


@pytest.mark.parametrize("rule", ["dpmpp_2m_sde", "euler_ancestral", "edm_heun"])
def test_without_their_noise_stochastic_rules_are_their_deterministic_ones(rule):
    options = {"edm_heun": {"churn": 0.0}}.get(rule, {"eta": 0.0})
    twin = {"dpmpp_2m_sde": "dpmpp_2m", "euler_ancestral": "ddim", "edm_heun": "heun"}[rule]
    a, b = make_plan(rule, vp(), steps=9, **options), make_plan(twin, vp(), steps=9)
    assert not a.stochastic
    denoiser = exact.Gaussian(0.2, 0.4)
    x = [run(p, denoiser, seeds=[1, 2], shape=(3,), dtype=torch.float64) for p in (a, b)]
    torch.testing.assert_close(x[0], x[1], rtol=1e-12, atol=1e-14)


def test_with_full_noise_the_ancestral_step_is_the_posterior_of_ddpm():
    a, b = make_plan("euler_ancestral", vp(), steps=9), make_plan("ddpm", vp(), steps=9)
    for r, s in zip(a.rows, b.rows, strict=True):
        torch.testing.assert_close(r.matrix[0, :3], s.matrix[0, :3], rtol=1e-9, atol=1e-12)
        # ddpm keeps the standard deviation beside the matrix, where a learned variance can join it
        spread = 1.0 if s.variance is None else math.sqrt(s.variance[0])
        torch.testing.assert_close(r.matrix[0, 4:], s.matrix[0, 4:] * spread, rtol=1e-12, atol=0)


def test_ddpm_adds_the_variance_that_a_model_has_learned():
    """On N(0, s^2) data the step with the exact posterior variance is the exact transition: variance at any steps."""
    std = 0.7
    grid = [-6.0, -2.0, 1.0, 4.0]
    plan = make_plan("ddpm", grid=grid)
    n = 40_000
    start = math.sqrt(float(levels.alpha(-6.0) ** 2 * std**2 + levels.sigma(-6.0) ** 2))
    x0 = torch.randn(1, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * start
    out = run(plan, exact.Gaussian(0.0, std, variance=True), seeds=[3], start=x0)
    right = float(levels.alpha(4.0) ** 2 * std**2 + levels.sigma(4.0) ** 2)
    assert float(out.var()) == pytest.approx(right, rel=5 * math.sqrt(2 / n))
    without = run(plan, exact.Gaussian(0.0, std), seeds=[3], start=x0)
    assert abs(float(without.var()) / right - 1) > 0.1


def midpoint_noise(s, m, t):
    """Weights of the two disjoint increments in the whole one: the root of their shares of the SNR."""
    first = (math.exp(m) - math.exp(s)) / (math.exp(t) - math.exp(s))
    return math.sqrt(first), math.sqrt(1 - first)


@pytest.mark.parametrize("std", [0.0, 0.4, 1.3])
def test_overlapping_noise_of_dpmpp_sde_has_the_variance_of_one_path_in_closed_form(std):
    """One step, written out: x_m = c x + k D(x) + s_m z1 and x_t = c' x + k' D(x_m) + s_t (w1 z1 + w2 z2)."""
    s, t = -1.0, 2.5
    m = 0.5 * (s + t)
    step = make_plan("dpmpp_sde", grid=[s, t])

    def posterior(noisy, cleaner):
        h = cleaner - noisy
        a, b = float(levels.alpha(noisy)), float(levels.alpha(cleaner))
        r = float(levels.sigma(cleaner) / levels.sigma(noisy))
        spread = float(levels.sigma(cleaner)) * math.sqrt(1 - math.exp(-h))
        return a / b * r**2, b * (1 - math.exp(-h)), spread

    def gain(level):
        a, sigma = float(levels.alpha(level)), float(levels.sigma(level))
        return a * std**2 / (a**2 * std**2 + sigma**2)

    (c, k, up), (c2, k2, up2) = posterior(s, m), posterior(s, t)
    w1, w2 = midpoint_noise(s, m, t)
    variance = float(levels.alpha(s) ** 2 * std**2 + levels.sigma(s) ** 2)
    on_x = c2 + k2 * gain(m) * (c + k * gain(s))
    on_z1 = k2 * gain(m) * up + up2 * w1
    right = on_x**2 * variance + on_z1**2 + (up2 * w2) ** 2
    assert output_variance(step, std) == pytest.approx(right, rel=1e-12)
    if std:  # what independent draws would give, so that this test can fail
        independent = on_x**2 * variance + (k2 * gain(m) * up) ** 2 + up2**2
        assert abs(independent / right - 1) > 0.01


def test_two_short_ancestral_steps_are_one_long_one_on_the_same_path():
    """The weights above are forced: the noise of s -> m -> t must be that of s -> t."""
    from perrin.process import gaussian

    s, m, t = -1.0, 0.3, 2.0
    c, _, _ = gaussian.posterior(m, t)
    first, second, whole = (float(gaussian.posterior(a, b)[2]) for a, b in ((s, m), (m, t), (s, t)))
    w1, w2 = midpoint_noise(s, m, t)
    assert float(c) * first == pytest.approx(whole * w1, rel=1e-12)
    assert second == pytest.approx(whole * w2, rel=1e-12)

"""Clipping against truncated Gaussians: closed forms for independent entries, a grid for two correlated ones."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from perrin.denoise.correlated import Correlated
from perrin.errors import PerrinError
from perrin.guide.operators import Clip, Mask
from perrin.guide.particles import particles
from perrin.guide.restoring import MMPS, PiGDM, Proximal
from perrin.process import edm, levels
from perrin.sample import make_plan, run

METHODS = {
    "mmps": lambda *given: MMPS(*given, iterations=20),
    "pigdm": PiGDM,
    "proximal": Proximal,
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
LEVEL = torch.tensor([-5.0, -2.0, 0.0, 2.0, 6.0], dtype=torch.float64)
CLIP = Clip((1, 6), -0.5, 0.7)
Y = torch.tensor([[[0.7, -0.5, 0.7, -0.5, 0.1, -0.3]]], dtype=torch.float64)


def normals(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def given_limit(mean, r, noise, low, high, y):
    """E[x | y] of x ~ N(mean, r^2), y = x + noise, or only that it lies beyond a limit."""
    tau = math.hypot(r, noise)
    if low < y < high:
        return mean + r**2 / tau**2 * (y - mean)
    ends = ((high - mean) / tau, math.inf) if y >= high else (-math.inf, (low - mean) / tau)
    return mean + r**2 / tau * float(stats.truncnorm.mean(*ends))


@every_method
@pytest.mark.parametrize("noise", [0.3, 0.02])
def test_of_independent_entries_every_method_is_bayes_rule(method, noise):
    deviation = 0.6
    white = Correlated(torch.zeros(1, 6, dtype=torch.float64), deviation**2 * torch.eye(6))
    x = normals(5, 1, 6)
    found = method(white, CLIP, Y, noise, deviation)(x, LEVEL).mean
    for i, level in enumerate(LEVEL):
        alpha, sigma = float(levels.alpha(level)), float(levels.sigma(level))
        total = alpha**2 * deviation**2 + sigma**2
        r = sigma * deviation / math.sqrt(total)
        for k in range(6):
            mean = alpha * deviation**2 / total * float(x[i, 0, k])
            right = given_limit(mean, r, noise, CLIP.low, CLIP.high, float(Y[0, 0, k]))
            assert float(found[i, 0, k]) == pytest.approx(right, rel=1e-4, abs=1e-5)


def test_means_far_beyond_a_limit_lose_nothing_to_rounding():
    """A mean 1 to 300,000 deviations on the wrong side comes to rest at the limit, on the right side leaves no trace."""
    noise = 1e-5
    mean = torch.tensor([[[-300.0, -3.0, 0.699, 0.701, 3.0, 300.0]]], dtype=torch.float64)
    variance = torch.full((1, 1, 1), 1e-6, dtype=torch.float64)
    operator, apart = CLIP.around(mean, torch.full_like(mean, 0.7), variance, noise)
    weight = operator(torch.ones_like(mean))
    gained = mean + variance * weight * apart / (noise**2 + variance * weight**2)
    r, tau = 1e-3, math.hypot(1e-3, noise)
    for k in (2, 3):
        right = given_limit(float(mean[0, 0, k]), r, noise, -0.5, 0.7, 0.7)
        assert float(gained[0, 0, k]) == pytest.approx(right, abs=1e-9)
    # of a tail at distance t beyond the mean, E[x] = limit + tau^2 / t to first order, of which x has r^2 / tau^2
    for k in (0, 1):
        at = float(mean[0, 0, k])
        right = at + r**2 / tau**2 * (0.7 - at + tau**2 / (0.7 - at))
        assert float(gained[0, 0, k]) == pytest.approx(right, abs=1e-9)
    torch.testing.assert_close(gained[0, 0, 4:], mean[0, 0, 4:])


def test_weights_leave_the_variance_of_a_tail():
    r, noise, t = 1e-3, 1e-9, torch.tensor([1.0, 20.0, 45.0, 300.0], dtype=torch.float64)
    mean = (0.7 - r * t)[None, None]
    operator, _ = Clip((1, 4), -9.0, 0.7).around(
        mean, torch.full_like(mean, 0.7), torch.full((1, 1, 1), r**2, dtype=torch.float64), noise
    )
    left = 1 / (1 / r**2 + operator(torch.ones_like(mean)) ** 2 / noise**2) / r**2
    right = [float(stats.truncnorm.var(at, math.inf)) for at in t[:2]]
    right += [float(1 / at**2 - 6 / at**4 + 50 / at**6) for at in t[2:]]
    torch.testing.assert_close(left[0, 0], torch.tensor(right, dtype=torch.float64), rtol=2e-3, atol=0)


def test_what_was_stored_in_single_precision_is_still_at_its_limit():
    clip = Clip((1, 3), -0.7, 0.7)
    y = clip(normals(1, 1, 3) * 9).float()
    assert [bool(at.any()) for at in clip.at_limits(y.double())] == [True, True]
    assert not bool(clip.at_limits(torch.full((1, 1, 3), 0.6999))[1].any())


def test_likelihoods_of_all_that_can_be_measured_add_up_to_one():
    x, noise = normals(7, 1, 1), 0.4
    clip = Clip((1, 1), -0.5, 0.7)
    step = 1e-4
    inside = torch.arange(-0.5 + step / 2, 0.7, step, dtype=torch.float64)
    for one in x:
        many = one.expand(len(inside), 1, 1)
        seen = clip.log_likelihood(many, inside[:, None, None], noise).exp().sum() * step
        ends = [
            float(clip.log_likelihood(one[None], torch.full((1, 1, 1), end), noise).exp())
            for end in (-0.5, 0.7)
        ]
        assert float(seen) / (noise * math.sqrt(2 * math.pi)) + sum(ends) == pytest.approx(1, abs=1e-6)


def test_limits_are_values_and_become_states():
    x = normals(3, 1, 6)
    for gain in (2.0, -2.0):
        values = (5 + gain * x).clamp(4.0, 5.5)
        operator, y = Clip((1, 6), 4.0, 5.5).in_states(values, 5.0, gain)
        torch.testing.assert_close(operator(x), y)
    operator, y = Mask((1, 6), torch.arange(6) < 3).in_states(torch.ones(1, 1, 6), 5.0, 2.0)
    torch.testing.assert_close(y, torch.tensor([[[-2.0, -2, -2, 0.5, 0.5, 0.5]]]))  # a mask measures 0 as 0


def test_without_clipped_entries_it_is_a_mask_that_keeps_all():
    smooth = Correlated(torch.zeros(1, 6, dtype=torch.float64), torch.eye(6) + 0.5)
    x, y = normals(5, 1, 6), Y * 0.3
    for method in METHODS.values():
        clipped = method(smooth, CLIP, y, 0.1)(x, LEVEL).mean
        seen = method(smooth, Mask((1, 6), torch.ones(6)), y, 0.1)(x, LEVEL).mean
        torch.testing.assert_close(clipped, seen)


COVARIANCE = torch.tensor([[1.0, 0.9], [0.9, 1.0]], dtype=torch.float64)
PAIR = Correlated(torch.zeros(1, 2, dtype=torch.float64), COVARIANCE)
CUT, SEEN, NOISE = Clip((1, 2), -0.5, 0.5), torch.tensor([[[0.5, 0.5]]], dtype=torch.float64), 0.1


def on_a_grid():
    """Posterior mean [2] and deviation of two correlated numbers of which both are at the limit."""
    axis = torch.linspace(-1, 6, 701, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    log = -0.5 * (points @ torch.linalg.inv(COVARIANCE) * points).sum(1)
    tails = torch.special.log_ndtr((points - 0.5) / NOISE).sum(1)
    weight = torch.softmax(log + tails, 0)
    mean = weight @ points
    return mean, (weight @ (points - mean) ** 2).sqrt()


@pytest.mark.parametrize(("method", "bias"), [(MMPS, 0.12), (PiGDM, 0.35)])
def test_the_bias_of_correlated_entries_is_what_is_said(method, bias):
    """Both methods count the second limit as news: the mean is too high by at most this, and by more than a third of it."""
    mean, _ = on_a_grid()
    plan = make_plan("dpmpp_2m", edm(sigma_min=0.01, sigma_max=80.0), steps=30, grid="karras")
    guide = method(PAIR, CUT, SEEN, NOISE)
    x = run(plan, guide, shape=(1, 2), seeds=[(0, i) for i in range(1500)], dtype=torch.float64)
    apart = float((x[:, 0].mean(0) - mean).mean())
    assert bias / 3 < apart < bias


@pytest.mark.parametrize("method", [MMPS, PiGDM])
def test_particles_converge_to_the_posterior(method):
    mean, deviation = on_a_grid()
    # 40 rows of this rule would leave samples a tenth too narrow, whatever is measured
    plan = make_plan("ddpm", edm(sigma_min=0.01, sigma_max=20.0), steps=160, grid="karras")
    guide = method(PAIR, CUT, SEEN, NOISE)
    found = particles(plan, guide, seeds=range(24), shape=(1, 2), count=64, dtype=torch.float64)
    weight = (found.weight / len(found.weight)).flatten()
    x = found.state.flatten(0, 2)
    torch.testing.assert_close(weight @ x, mean, rtol=0, atol=0.05)
    torch.testing.assert_close((weight @ (x - mean) ** 2).sqrt(), deviation, rtol=0.1, atol=0)


@pytest.mark.parametrize("limits", [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (-math.inf, math.inf)])
def test_limits_that_are_none_are_refused(limits):
    with pytest.raises(PerrinError, match="clipping at"):
        Clip((1, 4), *limits)

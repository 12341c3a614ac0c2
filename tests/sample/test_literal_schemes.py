"""The literal schemes of the score literature: their own published updates, and their biases in closed form."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from tests.sample.measure import draws_of, line, output_variance

from perrin.denoise import exact
from perrin.errors import PerrinError
from perrin.process import levels
from perrin.registry import rules
from perrin.sample import make_plan, run

INF = math.inf
MIXTURE = exact.Mixture(torch.tensor([[-0.9, 0.4], [0.7, -0.2], [0.3, 1.0]]), 0.15)
KEYS = list(range(5))
STDS = [0.0, 0.3, 1.4]


def noise_of(level):
    """sigma/alpha: the scale of the noise where the clean state is unscaled."""
    return math.exp(-level / 2)


def score_of(y, level):
    """grad log p of the noisy mixture in coordinates that leave the clean state unscaled."""
    alpha = levels.alpha(level)
    at = torch.full((len(y),), level, dtype=torch.float64)
    return alpha * MIXTURE(alpha * y, at).score(alpha * y, at)


@pytest.mark.parametrize("corrections", [1, 3])
def test_annealed_langevin_is_algorithm_1_of_song_and_ermon(corrections):
    """Written as in the paper, with the rule's own noise: steps at each scale, the next scale takes y as it is."""
    grid, size = [-3.0, -1.5, 0.5, 4.0], 0.3
    plan = make_plan("annealed_langevin", grid=[*grid, INF], corrections=corrections, step_size=size)
    x0 = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = iter([z for row in plan.rows for z in draws_of(row, KEYS, (2,))])
    y = x0 / levels.alpha(grid[0])
    for level in grid:
        delta = size * noise_of(level) ** 2
        for _ in range(corrections):
            y = y + delta / 2 * score_of(y, level) + math.sqrt(delta) * next(drawn)
    denoised = y + noise_of(grid[-1]) ** 2 * score_of(y, grid[-1])
    torch.testing.assert_close(run(plan, MIXTURE, seeds=KEYS, start=x0), denoised, rtol=1e-10, atol=1e-10)
    assert plan.nfe == corrections * len(grid) + 1


def langevin_variance(variance, level, std, corrections, size):
    """Of y on N(0, std^2) data after the steps of one level: V* + (1 - a)^2T (V - V*)."""
    r2 = noise_of(level) ** 2
    a = 0.5 * size * r2 / (std**2 + r2)
    stationary = (std**2 + r2) / (1 - a / 2)
    return stationary + (1 - a) ** (2 * corrections) * (variance - stationary)


@pytest.mark.parametrize("std", STDS)
@pytest.mark.parametrize(("corrections", "size"), [(1, 0.2), (5, 0.2), (40, 1.0)])
def test_the_variance_of_annealed_langevin_is_its_closed_form(std, corrections, size):
    """Level after level, from the marginal of the first, through the table; std 0 is the point mass."""
    grid = [-4.0, -2.0, 1.0, 3.0]
    variance = std**2 + noise_of(grid[0]) ** 2
    for level in grid:
        variance = langevin_variance(variance, level, std, corrections, size)
    plan = make_plan("annealed_langevin", grid=grid, corrections=corrections, step_size=size)
    found = output_variance(plan, std) / float(levels.alpha(grid[-1]) ** 2)
    assert found == pytest.approx(variance, rel=1e-10)


@pytest.mark.parametrize("std", STDS)
def test_the_bias_of_annealed_langevin_does_not_vanish_with_the_steps_and_does_with_their_size(std):
    """What order 0 says: a finer grid ends at the stationary variance, (s^2 + r^2)/(1 - a/2)."""
    grid = line(-0.2, 0.0, 600)  # so fine that the scale hardly moves while the dynamics settle
    r2 = noise_of(0.0) ** 2
    for size in (0.8, 0.4):
        plan = make_plan("annealed_langevin", grid=grid, corrections=1, step_size=size)
        excess = output_variance(plan, std) / float(levels.alpha(0.0) ** 2) / (std**2 + r2) - 1
        a = 0.5 * size * r2 / (std**2 + r2)
        assert excess == pytest.approx(1 / (1 - a / 2) - 1, rel=0.05)
    assert rules["annealed_langevin"].order == 0


def test_euler_maruyama_is_the_explicit_step_of_the_reverse_sde():
    """x + (f x - g^2 score)(-h) + g sqrt(h) z with the drift and diffusion of the process, which runs to noise."""
    from perrin.process import gaussian

    s, t = -0.7, 0.4
    plan = make_plan("euler_maruyama", grid=[s, t])
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    at = torch.full((5,), s, dtype=torch.float64)
    (z,) = draws_of(plan.rows[0], KEYS, (2,))
    f, g, h = gaussian.drift(s), gaussian.diffusion(s), t - s
    right = x - h * (f * x - g**2 * MIXTURE(x, at).score(x, at)) + g * math.sqrt(h) * z
    torch.testing.assert_close(run(plan, MIXTURE, seeds=KEYS, start=x), right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("std", STDS)
def test_the_variance_of_euler_maruyama_is_its_closed_form(std):
    """V <- c^2 V + h sigma^2, c the factor of x with the linear denoiser put in; the point mass is not exact."""
    grid = [-4.0, -3.0, -1.5, 0.0, 1.0, 1.7]
    variance = float(levels.alpha(grid[0]) ** 2 * std**2 + levels.sigma(grid[0]) ** 2)
    for s, t in itertools.pairwise(grid):
        alpha2, sigma2, h = float(levels.alpha(s) ** 2), float(levels.sigma(s) ** 2), t - s
        gain = alpha2 * std**2 / (alpha2 * std**2 + sigma2)
        variance = (1 + h * (sigma2 / 2 + gain - 1)) ** 2 * variance + h * sigma2
    assert output_variance(make_plan("euler_maruyama", grid=grid), std) == pytest.approx(variance, rel=1e-12)
    truth = float(levels.alpha(grid[-1]) ** 2 * std**2 + levels.sigma(grid[-1]) ** 2)
    assert abs(variance / truth - 1) > 0.05


def test_euler_maruyama_amplifies_noise_where_the_level_rises_by_more_than_two():
    """The documented limit: near the clean end a step multiplies what is there by 1 - h."""
    for h, grows in ((1.8, False), (2.4, True)):
        found = [
            output_variance(make_plan("euler_maruyama", grid=line(8.0, 8 + h * n, n)), 0.0) for n in (10, 20)
        ]
        assert (found[1] > found[0]) is grows


def test_both_leave_pure_noise_on_the_marginal_and_end_with_the_mean():
    for name in ("annealed_langevin", "euler_maruyama"):
        entered = make_plan(name, grid=[-INF, -2.0, 1.0]).rows[0]
        state, mean = entered.matrix[1, :2].sum(), entered.matrix[1, -2 - len(entered.draws)]
        noise = torch.cat(
            [state[None], entered.matrix[1, len(entered.matrix[1]) - len(entered.draws) :]]
        ).norm()
        assert float(noise) == pytest.approx(float(levels.sigma(-2.0)))
        assert float(mean) == pytest.approx(float(levels.alpha(-2.0)))
        plan = make_plan(name, grid=[-2.0, 1.0, INF])
        only_the_mean = torch.zeros_like(plan.rows[-1].matrix[0])
        only_the_mean[plan.slots] = 1.0
        assert torch.equal(plan.rows[-1].matrix[0], only_the_mean)


@pytest.mark.parametrize("wrong", [{"corrections": 0}, {"step_size": 0.0}, {"step_size": 4.0}])
def test_unstable_or_empty_langevin_is_refused(wrong):
    with pytest.raises(PerrinError, match="step_size") as caught:
        make_plan("annealed_langevin", grid=[-2.0, 1.0], **wrong)
    assert "\n" not in str(caught.value)

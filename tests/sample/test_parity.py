"""Beside the peers: diffusers' schedulers on the same levels, and the published formulas with the same noise."""

from __future__ import annotations

import math

import pytest
import torch
from tests.sample.measure import draws_of

from perrin.denoise import exact
from perrin.process import discrete
from perrin.sample import make_plan, run

MIXTURE = exact.Mixture(torch.tensor([[-0.9, 0.4], [0.7, -0.2], [0.3, 1.0]]), 0.15)
KEYS = list(range(12))
X0 = torch.randn(12, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def level_of(sigma):
    """Of a sigma in coordinates with alpha = 1."""
    return -2 * math.log(float(sigma))


def mean_at(x, level):
    return MIXTURE(x, torch.full((len(x),), float(level), dtype=torch.float64)).mean


def ours(rule, grid, **options):
    plan = make_plan(rule, grid=grid, **options)
    plan.check()
    return run(plan, MIXTURE, seeds=KEYS, start=X0)


def close(found, right):
    torch.testing.assert_close(found, right.double(), rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def diffusers():
    return pytest.importorskip(
        "diffusers", reason="the parity oracle is not installed (pip install perrin[peers])"
    )


@pytest.mark.parametrize("steps", [5, 20, 50])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_ddim_is_diffusers_ddim(diffusers, spacing, steps):
    peer = diffusers.DDIMScheduler(
        prediction_type="sample", clip_sample=False, timestep_spacing=spacing, set_alpha_to_one=True
    )
    peer.set_timesteps(steps)
    schedule = discrete(peer.alphas_cumprod)
    x, grid = X0, []
    for t in peer.timesteps:
        grid.append(float(schedule.level(float(t))))
        x = peer.step(mean_at(x, grid[-1]), t, x, eta=0.0).prev_sample
    close(ours("ddim", [*grid, math.inf]), x)
    if spacing == "trailing":  # the time grid of the table is this spacing, by name
        named = run(make_plan("ddim", schedule, steps=steps, grid="time"), MIXTURE, seeds=KEYS, start=X0)
        close(named, x)


@pytest.mark.parametrize("steps", [4, 12, 30])
def test_heun_is_diffusers_heun(diffusers, steps):
    peer = diffusers.HeunDiscreteScheduler(use_karras_sigmas=True, prediction_type="epsilon")
    peer.set_timesteps(steps)
    first = peer.sigmas[0].double()
    y, told = X0 * torch.sqrt(1 + first**2), []
    for t in peer.timesteps:
        peer.scale_model_input(y, t)
        sigma = peer.sigmas[peer.step_index].double()
        told.append(level_of(sigma))
        mean = mean_at(y / torch.sqrt(1 + sigma**2), told[-1])
        y = peer.step((y - mean) / sigma, t, y).prev_sample
    grid = sorted(set(told))
    assert len(grid) == steps
    plan = make_plan("heun", grid=[*grid, math.inf])
    assert list(plan.evaluated) == told
    close(ours("heun", [*grid, math.inf]), y)


MULTISTEP = {
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "solver_type": "midpoint"}),
    "unipc_2": ("UniPCMultistepScheduler", {"solver_type": "bh2", "predict_x0": True}),
}


@pytest.mark.parametrize("steps", [3, 12, 30])
@pytest.mark.parametrize("karras", [True, False])
@pytest.mark.parametrize("rule", MULTISTEP)
def test_multistep_rules_are_diffusers_multistep_schedulers(diffusers, rule, karras, steps):
    name, options = MULTISTEP[rule]
    peer = getattr(diffusers, name)(
        solver_order=2,
        prediction_type="sample",
        use_karras_sigmas=karras,
        final_sigmas_type="zero",
        **options,
    )
    peer.set_timesteps(steps)
    x, grid = X0, []
    for i, t in enumerate(peer.timesteps):
        grid.append(level_of(peer.sigmas[i]))
        x = peer.step(mean_at(x, grid[-1]), t, x).prev_sample
    found = ours(rule, [*grid, math.inf])
    close(found, x)
    # the tolerance tells the rules apart: the other one on the same levels is another sample
    if steps == 12:
        (other,) = set(MULTISTEP) - {rule}
        assert float((ours(other, [*grid, math.inf]) - x).abs().max()) > 5e-3


def sigmas_of(grid):
    return [math.exp(-level / 2) if level < math.inf else 0.0 for level in grid]


GRID = [-9.0, -6.0, -4.5, -3.0, -1.2, 0.0, 1.1, 2.0, 4.0, 6.5, 9.0, math.inf]


@pytest.mark.parametrize("eta", [1.0, 0.6])
def test_euler_ancestral_is_the_published_step_given_the_same_noise(eta):
    """Where alpha = 1: down^2 = to^2 - up^2, up^2 = eta^2 to^2 (from^2 - to^2) / from^2."""
    plan = make_plan("euler_ancestral", grid=GRID, eta=eta)
    sigmas = sigmas_of(GRID)
    y = X0 * math.sqrt(1 + sigmas[0] ** 2)
    for i, row in enumerate(plan.rows):
        now, after = sigmas[i], sigmas[i + 1]
        denoised = mean_at(y / math.sqrt(1 + now**2), GRID[i])
        up = min(after, eta * math.sqrt(after**2 * (now**2 - after**2) / now**2))
        down = math.sqrt(after**2 - up**2)
        y = y + (y - denoised) / now * (down - now)
        if after > 0:
            (z,) = draws_of(row, KEYS, (2,))
            y = y + up * z
    torch.testing.assert_close(ours("euler_ancestral", GRID, eta=eta), y, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("eta", [1.0, 0.5])
def test_dpmpp_2m_sde_is_the_published_step_given_the_same_noise(eta):
    """Where alpha = 1, with the time -log sigma and the midpoint form of the second-order term."""
    plan = make_plan("dpmpp_2m_sde", grid=GRID, eta=eta)
    sigmas = sigmas_of(GRID)
    y = X0 * math.sqrt(1 + sigmas[0] ** 2)
    old, last = None, None
    for i, row in enumerate(plan.rows):
        now, after = sigmas[i], sigmas[i + 1]
        denoised = mean_at(y / math.sqrt(1 + now**2), GRID[i])
        if after == 0:
            y = denoised
            continue
        h = math.log(now / after)
        grow = -math.expm1(-h - eta * h)
        y = after / now * math.exp(-eta * h) * y + grow * denoised
        if old is not None:
            y = y + 0.5 * grow * (h / last) * (denoised - old)
        (z,) = draws_of(row, KEYS, (2,))
        y = y + z * after * math.sqrt(-math.expm1(-2 * eta * h))
        old, last = denoised, h
    torch.testing.assert_close(ours("dpmpp_2m_sde", GRID, eta=eta), y, rtol=1e-10, atol=1e-10)


def test_edm_heun_is_algorithm_2_given_the_same_noise():
    """Karras et al. 2022: gamma = min(churn/N, sqrt(2) - 1) in [low, high], where alpha = 1."""
    churn, low, high = 8.0, 0.05, 50.0
    plan = make_plan("edm_heun", grid=GRID, churn=churn, low=low, high=high)
    sigmas = sigmas_of(GRID)
    draws = iter([row for row in plan.rows if row.draws])
    y = X0 * math.sqrt(1 + sigmas[0] ** 2)
    for i in range(len(GRID) - 1):
        now, after = sigmas[i], sigmas[i + 1]
        gamma = min(churn / (len(GRID) - 1), math.sqrt(2) - 1) if low <= now <= high else 0.0
        hat = now * (1 + gamma)
        if gamma > 0:
            (z,) = draws_of(next(draws), KEYS, (2,))
            y = y + math.sqrt(hat**2 - now**2) * z
        d = (y - mean_at(y / math.sqrt(1 + hat**2), level_of(hat))) / hat
        euler = y + (after - hat) * d
        if after > 0:
            d2 = (euler - mean_at(euler / math.sqrt(1 + after**2), level_of(after))) / after
            euler = y + (after - hat) * 0.5 * (d + d2)
        y = euler
    assert next(draws, None) is None
    torch.testing.assert_close(
        ours("edm_heun", GRID, churn=churn, low=low, high=high), y, rtol=1e-9, atol=1e-9
    )

"""The one Gaussian process in unit coordinates: marginals, transitions, posteriors, and the SDE of all schedules."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perrin.denoise import exact
from perrin.process import edm, flow, gaussian, levels, sub_vp, ve, vp
from perrin.process.state import batch_size, leaves, like, map_leaves
from perrin.sample import make_plan, run
from perrin.sample.noise import normals, seed_of, seed_tensor

LEVELS = st.floats(-60, 60)
INF = math.inf


@settings(deadline=None)
@given(LEVELS)
def test_alpha_and_sigma_are_on_the_unit_circle(level):
    assert float(levels.alpha(level) ** 2 + levels.sigma(level) ** 2) == pytest.approx(1, rel=1e-14)
    assert float(2 * torch.log(levels.alpha(level) / levels.sigma(level))) == pytest.approx(level, abs=1e-11)


def test_both_ends_are_finite():
    assert (float(levels.alpha(-INF)), float(levels.sigma(-INF))) == (0.0, 1.0)
    assert (float(levels.alpha(INF)), float(levels.sigma(INF))) == (1.0, 0.0)


@settings(deadline=None)
@given(LEVELS, LEVELS, LEVELS)
def test_transitions_compose_and_carry_marginals(a, b, c):
    a, b, c = sorted((a, b, c), reverse=True)  # noisier and noisier
    k_ab, s_ab = gaussian.transition(a, b)
    k_bc, s_bc = gaussian.transition(b, c)
    k_ac, s_ac = gaussian.transition(a, c)
    torch.testing.assert_close(k_bc * k_ab, k_ac, rtol=1e-12, atol=0)
    torch.testing.assert_close((k_bc * s_ab) ** 2 + s_bc**2, s_ac**2, rtol=1e-10, atol=1e-15)
    torch.testing.assert_close(k_ab * levels.alpha(a), levels.alpha(b), rtol=1e-12, atol=0)
    noise = (k_ab * levels.sigma(a)) ** 2 + s_ab**2
    torch.testing.assert_close(noise, levels.sigma(b) ** 2, rtol=1e-10, atol=1e-15)


@settings(deadline=None)
@given(LEVELS, LEVELS)
def test_the_posterior_is_bayes_rule(noisy, cleaner):
    """Joint Gaussian of (x_cleaner, x_noisy) given clean: condition by the formula for two normals."""
    noisy, cleaner = sorted((noisy, cleaner))
    if cleaner - noisy < 1e-3:
        return
    c_x, c_clean, std = gaussian.posterior(noisy, cleaner)
    k, _ = gaussian.transition(cleaner, noisy)
    v_t, v_s = levels.sigma(cleaner) ** 2, levels.sigma(noisy) ** 2
    gain = k * v_t / v_s
    torch.testing.assert_close(c_x, gain, rtol=1e-10, atol=1e-300)
    right = levels.alpha(cleaner) - gain * levels.alpha(noisy)
    torch.testing.assert_close(c_clean, right, rtol=1e-6, atol=1e-13)
    torch.testing.assert_close(std**2, v_t - gain * k * v_t, rtol=1e-6, atol=1e-18)


@pytest.mark.parametrize(("noisy", "cleaner"), [(-INF, 2.0), (-1.0, INF), (-INF, INF)])
def test_the_posterior_is_finite_at_infinite_levels(noisy, cleaner):
    c_x, c_clean, std = (float(v) for v in gaussian.posterior(noisy, cleaner))
    expected_clean = float(levels.alpha(cleaner)) if noisy == -INF else 1.0
    assert c_x == 0
    assert c_clean == pytest.approx(expected_clean)
    assert std == pytest.approx(float(levels.sigma(cleaner)) if noisy == -INF else 0.0)


def test_marginal_mixes_clean_and_noise_item_by_item():
    clean, noise = torch.ones(2, 3), torch.full((2, 3), 2.0)
    level = torch.tensor([0.0, INF], dtype=torch.float64)
    x = gaussian.marginal(clean, level, noise)
    torch.testing.assert_close(x[0], torch.full((3,), 3 * math.sqrt(0.5)))
    torch.testing.assert_close(x[1], clean[1])


@pytest.mark.parametrize("schedule", [vp(), ve(), sub_vp(), edm(), flow()], ids=lambda s: type(s).__name__)
def test_the_sde_of_a_schedule_is_the_unit_sde_in_its_own_coordinates(schedule):
    """y = scale x, tau = -level: f = dlog scale/dt + f_unit dtau/dt, g = scale g_unit sqrt(dtau/dt)."""
    clean, noisy = schedule.times
    t = torch.tensor([clean + (noisy - clean) * p for p in (0.11, 0.5, 0.83)], dtype=torch.float64)
    level, speed = schedule.level(t), -schedule.d_level(t)
    f = schedule.d_log_scale(t) + gaussian.drift(level) * speed
    g = schedule.scale(t) * gaussian.diffusion(level) * torch.sqrt(speed)
    torch.testing.assert_close(schedule.drift(t), f, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(schedule.diffusion(t), g, rtol=1e-11, atol=1e-13)


SONG = {"vp": vp(), "ve": ve(), "sub_vp": sub_vp()}
MIXTURE = exact.Mixture(torch.tensor([[-1.0, 0.5], [0.8, -0.3], [0.2, 0.9]]), 0.2)


def own_score(schedule, y, t):
    """grad log p_t(y) in the schedule's own coordinates: the unit one over the scale."""
    scale = schedule.scale(t)
    x = y / scale
    level = schedule.level(t).expand(len(x))
    return MIXTURE(x, level).score(x, level) / scale


def reverse_sde(schedule, grid, x0, noises):
    """Euler-Maruyama for dy = (f y - g^2 score) dt + g dw backwards, in own coordinates; returned in unit ones."""
    t = schedule.time(torch.tensor(grid, dtype=torch.float64))
    y = x0 * schedule.scale(t[0])
    for k, z in enumerate(noises):
        dt = t[k] - t[k + 1]
        f, g = schedule.drift(t[k]), schedule.diffusion(t[k])
        y = y - (f * y - g**2 * own_score(schedule, y, t[k])) * dt + g * torch.sqrt(dt) * z
    return y / schedule.scale(t[-1])


def reverse_ode(schedule, grid, x0):
    """Runge-Kutta for dy/dt = f y - g^2 score / 2, in own coordinates; returned in unit ones."""
    t = schedule.time(torch.tensor(grid, dtype=torch.float64))

    def slope(y, u):
        return schedule.drift(u) * y - 0.5 * schedule.diffusion(u) ** 2 * own_score(schedule, y, u)

    y = x0 * schedule.scale(t[0])
    for a, b in itertools.pairwise(t):
        h = b - a
        k1 = slope(y, a)
        k2 = slope(y + 0.5 * h * k1, a + 0.5 * h)
        k3 = slope(y + 0.5 * h * k2, a + 0.5 * h)
        y = y + h * (k1 + 2 * k2 + 2 * k3 + slope(y + h * k3, b)) / 6
    return y / schedule.scale(t[-1])


def line(low, high, steps):
    return [low + (high - low) * k / steps for k in range(steps + 1)]


def test_reverse_sdes_of_vp_ve_and_sub_vp_coincide_in_unit_coordinates_given_the_same_noise():
    """And with the plan `ddpm`: the difference vanishes with the step, as Euler-Maruyama's error does."""
    keys = list(range(64))
    apart = []
    for steps in (150, 600):
        grid = line(-5.0, 4.0, steps)
        plan = make_plan("ddpm", grid=grid)
        x0 = normals(seed_tensor([seed_of(k, "", "start") for k in keys]), (2,), torch.float64)
        draws = [row.draws[0] for row in plan.rows]
        noises = [
            normals(
                seed_tensor([seed_of(k, "", "path", d.start, d.stop, d.visit) for k in keys]),
                (2,),
                torch.float64,
            )
            for d in draws
        ]
        ours = run(plan, MIXTURE, seeds=keys, start=x0)
        ends = [reverse_sde(s, grid, x0, noises) for s in SONG.values()]
        apart.append(max(float((e - ours).square().mean().sqrt()) for e in ends))
    assert apart[1] < 0.02
    assert apart[1] < 0.45 * apart[0]  # strong order one: a quarter, but for the spread of 64 paths


def test_probability_flows_of_vp_ve_and_sub_vp_coincide_in_unit_coordinates():
    x0 = normals(seed_tensor(list(range(16))), (2,), torch.float64)
    grid = line(-5.0, 5.0, 200)
    ends = {name: reverse_ode(s, grid, x0) for name, s in SONG.items()}
    ours = run(make_plan("unipc_3", grid=grid), MIXTURE, seeds=range(16), start=x0)
    for name, end in ends.items():
        assert float((end - ours).abs().max()) < 1e-4, name


@settings(max_examples=10, deadline=None)
@given(st.permutations(["positions", "types", "charges"]))
def test_leaves_are_visited_in_the_order_of_their_names(names):
    state = {n: torch.zeros(2, 1) for n in names}
    assert list(leaves(state)) == sorted(names)
    assert batch_size(state) == 2
    doubled = map_leaves(lambda v: v + 1, state)
    assert set(doubled) == set(names)
    assert like({"": torch.ones(1)}, torch.zeros(1)).shape == (1,)

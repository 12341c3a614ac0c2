"""Schedules: exact at both ends, against mpmath; the SDE that follows from them is the one of the papers."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch

from perrin.errors import PerrinError
from perrin.process import Schedule, cosine, ddpm_cosine, ddpm_linear, discrete, edm, flow, sub_vp, ve, vp
from perrin.registry import schedules

mpmath.mp.dps = 60
ARGUMENTS = {
    "discrete": ([0.999, 0.9, 0.4, 0.05, 0.0],),
    # levels of a table have a kink at every step, where no derivative is to be measured: 1000 would put one there
    "ddpm_linear": (997,),
    "ddpm_cosine": (997,),
}
EVERY = sorted(schedules)


def make(name: str) -> Schedule:
    return schedules[name](*ARGUMENTS.get(name, ()))


def inner_times(schedule: Schedule) -> list[float]:
    """Times towards both ends and between them, at which the schedule is neither clean nor pure noise."""
    clean, noisy = schedule.times
    span = noisy - clean
    near = [1e-12, 1e-9, 1e-6, 1e-3, 0.1, 0.37, 0.5]
    return [clean + span * p for p in near] + [noisy - span * p for p in near[:-1]]


@pytest.mark.parametrize("name", EVERY)
def test_levels_fall_in_time_and_both_ends_are_exact(name):
    schedule = make(name)
    t = torch.linspace(*schedule.times, 41, dtype=torch.float64)
    level = schedule.level(t)
    assert bool((level[1:] < level[:-1]).all())
    assert not bool(torch.isnan(level).any())
    for value in (schedule.alpha(t), schedule.sigma(t), schedule.scale(t)):
        assert bool(torch.isfinite(value).all())


@pytest.mark.parametrize("name", EVERY)
def test_alpha_and_sigma_are_the_level_times_the_scale(name):
    schedule = make(name)
    t = torch.tensor(inner_times(schedule), dtype=torch.float64)
    alpha, sigma, scale = schedule.alpha(t), schedule.sigma(t), schedule.scale(t)
    torch.testing.assert_close(alpha**2 + sigma**2, scale**2, rtol=1e-13, atol=0)
    torch.testing.assert_close(2 * torch.log(alpha / sigma), schedule.level(t), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", EVERY)
def test_time_inverts_level_to_twelve_digits_at_both_ends(name):
    schedule = make(name)
    t = torch.tensor(inner_times(schedule), dtype=torch.float64)
    again = schedule.time(schedule.level(t))
    # near a clean end at t = 0 the level tells the digits of t; where the level is finite it has lost them
    from_zero = schedule.times[0] == 0 and math.isinf(float(schedule.level(0.0)))
    torch.testing.assert_close(again, t, rtol=1e-12, atol=0 if from_zero else 1e-15)


@pytest.mark.parametrize("name", EVERY)
def test_time_beyond_the_range_is_the_nearest_end(name):
    schedule = make(name)
    clean, noisy = schedule.times
    assert float(schedule.time(math.inf)) == pytest.approx(clean, abs=1e-300)
    assert float(schedule.time(-math.inf)) == pytest.approx(noisy, rel=1e-15)
    if math.isfinite(float(schedule.level(noisy))):
        assert float(schedule.time(float(schedule.level(noisy)) - 5)) == pytest.approx(noisy)


@pytest.mark.parametrize("name", EVERY)
def test_the_level_range_is_finite_and_inside_the_schedule(name):
    schedule = make(name)
    low, high = schedule.level_range
    assert math.isfinite(low)
    assert math.isfinite(high)
    assert low < high
    assert float(schedule.level(schedule.times[1])) <= low + 1e-9
    assert float(schedule.level(schedule.times[0])) >= high - 1e-9


@pytest.mark.parametrize("name", EVERY)
def test_floats_and_tensors_of_any_shape_are_taken(name):
    schedule = make(name)
    t = torch.linspace(*schedule.times, 6, dtype=torch.float32).reshape(2, 3)
    for method in ("level", "alpha", "sigma", "scale", "drift", "diffusion", "d_level"):
        many = getattr(schedule, method)(t)
        one = getattr(schedule, method)(float(t[0, 1]))
        assert many.shape == (2, 3)
        assert many.dtype == one.dtype == torch.float64
        assert one.shape == ()
        torch.testing.assert_close(many[0, 1], one, rtol=1e-14, atol=0)
    assert schedule.time(schedule.level(t)).shape == (2, 3)


@pytest.mark.parametrize("name", EVERY)
def test_drift_and_diffusion_follow_from_the_coefficients(name):
    """f = d log alpha / dt and g^2 = d sigma^2/dt - 2 f sigma^2, by central differences; g^2 = -sigma^2 dlevel/dt."""
    schedule = make(name)
    clean, noisy = schedule.times
    t = torch.tensor([clean + (noisy - clean) * p for p in (0.13, 0.37, 0.61, 0.86)], dtype=torch.float64)
    h = 1e-5 * (noisy - clean)
    f = (torch.log(schedule.alpha(t + h)) - torch.log(schedule.alpha(t - h))) / (2 * h)
    variance_slope = (schedule.sigma(t + h) ** 2 - schedule.sigma(t - h) ** 2) / (2 * h)
    torch.testing.assert_close(schedule.drift(t), f, rtol=1e-6, atol=1e-10)
    g2 = variance_slope - 2 * f * schedule.sigma(t) ** 2
    torch.testing.assert_close(schedule.diffusion(t) ** 2, g2, rtol=1e-6, atol=1e-10)
    torch.testing.assert_close(
        schedule.diffusion(t) ** 2, -(schedule.sigma(t) ** 2) * schedule.d_level(t), rtol=1e-10, atol=0
    )


@pytest.mark.parametrize("name", EVERY)
def test_the_sde_is_defined_at_both_ends(name):
    schedule = make(name)
    for t in schedule.times:
        assert not math.isnan(float(schedule.drift(t)))
        assert not math.isnan(float(schedule.diffusion(t)))
        assert not math.isnan(float(schedule.d_level(t)))
    assert math.isfinite(float(schedule.drift(schedule.times[0])))
    assert math.isfinite(float(schedule.diffusion(schedule.times[0])))


@pytest.mark.parametrize("name", EVERY)
def test_a_schedule_is_rebuilt_from_its_config(name):
    schedule = make(name)
    config = dict(schedule.config())
    again = schedules[str(config.pop("name"))](**config)
    t = torch.linspace(*schedule.times, 9, dtype=torch.float64)
    assert type(again) is type(schedule)
    assert torch.equal(again.level(t), schedule.level(t))


# The coefficients and the SDE of the papers, in arbitrary precision: t -> (alpha, sigma, f, g).
def vp_reference(t, beta_min=0.1, beta_max=20.0):
    beta = mpmath.mpf(beta_min) + t * (mpmath.mpf(beta_max) - mpmath.mpf(beta_min))
    b = mpmath.mpf(beta_min) * t + (mpmath.mpf(beta_max) - mpmath.mpf(beta_min)) * t**2 / 2
    return mpmath.exp(-b / 2), mpmath.sqrt(-mpmath.expm1(-b)), -beta / 2, mpmath.sqrt(beta)


def sub_vp_reference(t):
    alpha, _, drift, g = vp_reference(t)
    return alpha, 1 - alpha**2, drift, g * mpmath.sqrt(1 - alpha**4)


def cosine_reference(t, offset=0.008):
    s = mpmath.mpf(offset)
    quarter = mpmath.pi / 2 / (1 + s)
    alpha = mpmath.cos((t + s) * quarter) / mpmath.cos(s * quarter)
    drift = -quarter * mpmath.tan((t + s) * quarter)
    return alpha, mpmath.sqrt(1 - alpha**2), drift, mpmath.sqrt(-2 * drift)


def ve_reference(t, low=0.01, high=50.0):
    rise = mpmath.log(mpmath.mpf(high) / mpmath.mpf(low))
    sigma = mpmath.mpf(low) * mpmath.exp(t * rise)
    return mpmath.mpf(1), sigma, mpmath.mpf(0), sigma * mpmath.sqrt(2 * rise)


def edm_reference(t):
    return mpmath.mpf(1), t, mpmath.mpf(0), mpmath.sqrt(2 * t)


def flow_reference(t):
    return 1 - t, t, -1 / (1 - t), mpmath.sqrt(2 * t / (1 - t))


PAPERS = {
    "vp": (vp, vp_reference),
    "vp_ddpm_range": (lambda: vp(0.0, 8.0), lambda t: vp_reference(t, 0.0, 8.0)),
    "sub_vp": (sub_vp, sub_vp_reference),
    "cosine": (cosine, cosine_reference),
    "ve": (ve, ve_reference),
    "edm": (edm, edm_reference),
    "flow": (flow, flow_reference),
}


@pytest.mark.parametrize("name", PAPERS)
def test_coefficients_and_sde_agree_with_the_papers_in_arbitrary_precision(name):
    schedule, reference = PAPERS[name][0](), PAPERS[name][1]
    for t in inner_times(schedule):
        alpha, sigma, drift, diffusion = reference(mpmath.mpf(t))
        found = [schedule.alpha(t), schedule.sigma(t), schedule.drift(t), schedule.diffusion(t)]
        for what, value, right in zip(
            ["alpha", "sigma", "drift", "diffusion"], found, (alpha, sigma, drift, diffusion), strict=True
        ):
            tolerance = 1e-12 * float(abs(right))
            assert abs(float(mpmath.mpf(float(value)) - right)) <= tolerance, (what, t)
        level = 2 * mpmath.log(alpha / sigma)
        error = abs(float(mpmath.mpf(float(schedule.level(t))) - level))
        assert error <= 1e-12 * max(1.0, abs(float(level))), t


@pytest.mark.parametrize("name", PAPERS)
def test_the_papers_drift_is_the_derivative_of_their_alpha(name):
    """Guards the references themselves: mpmath differentiates alpha and sigma^2 numerically."""
    schedule, reference = PAPERS[name][0](), PAPERS[name][1]
    clean, noisy = schedule.times
    for p in (0.2, 0.7):
        t = mpmath.mpf(clean + (noisy - clean) * p)
        _, sigma, drift, diffusion = reference(t)
        slope = mpmath.diff(lambda u: mpmath.log(reference(u)[0]), t)
        assert abs(slope - drift) < mpmath.mpf(10) ** -20
        g2 = mpmath.diff(lambda u: reference(u)[1] ** 2, t) - 2 * drift * sigma**2
        assert abs(g2 - diffusion**2) < mpmath.mpf(10) ** -18


def test_the_clean_end_of_vp_does_not_cancel():
    # float32 arithmetic on 1 - exp(-B) is wrong by percents at t = 1e-6
    sigma = float(vp().sigma(1e-6))
    right = float(vp_reference(mpmath.mpf(1e-6))[1])
    assert abs(sigma / right - 1) < 1e-14


def test_a_discrete_schedule_has_the_tables_own_levels_at_integer_steps():
    table = torch.linspace(0.9999, 0.01, 50, dtype=torch.float64) ** 2
    schedule = discrete(table)
    steps = torch.arange(50, dtype=torch.float64)
    torch.testing.assert_close(schedule.alpha(steps) ** 2, table, rtol=1e-12, atol=0)
    assert schedule.level_range == (float(schedule.level(49.0)), float(schedule.level(0.0)))
    torch.testing.assert_close(schedule.time(schedule.level(steps)), steps, rtol=1e-12, atol=1e-12)


def test_a_discrete_schedule_of_zero_terminal_snr_reaches_minus_infinity():
    schedule = discrete([0.99, 0.5, 0.1, 0.0])
    assert float(schedule.level(3.0)) == -math.inf
    assert float(schedule.alpha(3.0)) == 0.0
    assert float(schedule.sigma(3.0)) == 1.0
    assert math.isfinite(float(schedule.level(2.999)))


def test_flow_with_shift_moves_levels_by_a_constant():
    t = torch.linspace(0.1, 0.9, 5)
    torch.testing.assert_close(flow(3.0).level(t), flow().level(t) - 2 * math.log(3.0))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: vp(5.0, 1.0),
        lambda: vp(0.0, 0.0),
        lambda: ve(1.0, 0.5),
        lambda: edm(0.0, 1.0),
        lambda: flow(0.0),
        lambda: cosine(-1.0),
        lambda: discrete([0.1, 0.9]),
        lambda: discrete([1.0, 0.5]),
        lambda: discrete([0.5]),
        lambda: ddpm_linear(1),
        lambda: ddpm_linear(10, 0.5, 0.1),
        lambda: ddpm_linear(10, 0.0, 0.1),
        lambda: ddpm_cosine(1),
        lambda: ddpm_cosine(10, -0.1),
        lambda: ddpm_cosine(10, 0.008, 1.0),
    ],
)
def test_impossible_parameters_are_refused_in_one_line(wrong):
    with pytest.raises(PerrinError) as caught:
        wrong()
    assert "\n" not in str(caught.value)


def test_an_unknown_schedule_gives_the_nearest_name():
    with pytest.raises(PerrinError, match="cosine"):
        schedules["cosin"]

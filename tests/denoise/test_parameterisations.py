"""Every parameterisation returns the same posterior mean when its network outputs its own exact target."""

from __future__ import annotations

import math

import pytest
import torch

from perrin.denoise import exact, wrap
from perrin.errors import PerrinError
from perrin.process import levels, vp
from perrin.registry import nets, parameterisations, schedules

SD = 0.5
LEVEL = torch.tensor([-8.0, -3.0, -0.5, 0.0, 1.0, 4.0, 9.0], dtype=torch.float64)
GENERATOR = torch.Generator().manual_seed(0)
CLEAN = SD * torch.randn(7, 5, generator=GENERATOR, dtype=torch.float64)
NOISE = torch.randn(7, 5, generator=GENERATOR, dtype=torch.float64)
A, S = levels.alpha(LEVEL)[:, None], levels.sigma(LEVEL)[:, None]
X = A * CLEAN + S * NOISE
SCHEDULES = [None, *(name for name in schedules if name != "discrete")]


def edm_target(scale):
    n = S**2 + SD**2 * A**2
    return (CLEAN - SD**2 * A / n * X) / (S * SD / torch.sqrt(n))


# what the papers let the network predict, for a pair (clean, noise); `scale` leads to the schedule's own coordinates
TARGETS = {
    "clean": lambda scale: CLEAN,
    "noise": lambda scale: NOISE,
    "v": lambda scale: A * NOISE - S * CLEAN,
    "flow_velocity": lambda scale: NOISE - CLEAN,
    "score": lambda scale: -NOISE / (scale * S),
    "edm": edm_target,
}


def inside(schedule):
    """The levels that the schedule reaches; beyond them its own time and scale are those of its ends."""
    if schedule is None:
        return torch.ones(7, dtype=torch.bool)
    low, high = schedule.level_range
    return (low <= LEVEL) & (high >= LEVEL)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("parameterisation", parameterisations)
def test_the_exact_target_gives_the_exact_clean_state(parameterisation, name):
    schedule = None if name is None else schedules[name]()
    scale = torch.ones(7, 1) if schedule is None else schedule.scale(schedule.time(LEVEL))[:, None]
    if parameterisation not in TARGETS:
        pytest.skip("no target of the literature is written here for it")
    target = TARGETS[parameterisation](scale)
    denoiser = wrap(lambda x, time, condition: target, parameterisation, schedule)
    keep = inside(schedule)
    torch.testing.assert_close(denoiser(X, LEVEL).mean[keep], CLEAN[keep], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("parameterisation", parameterisations)
def test_a_network_that_inverts_the_map_recovers_the_exact_posterior(parameterisation, name):
    """Without knowing the target: D = skip x + out F for every registered parameterisation, on Gaussian data."""
    schedule = None if name is None else schedules[name]()
    made = parameterisations[parameterisation](schedule)
    truth = exact.Gaussian(0.1, SD)(X, LEVEL).mean
    skip, out = (v[:, None] for v in made.coefficients(LEVEL))
    denoiser = wrap(lambda x, time, condition: (truth - skip * X) / out, made)
    torch.testing.assert_close(denoiser(X, LEVEL).mean, truth, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [s for s in SCHEDULES if s])
@pytest.mark.parametrize("parameterisation", [p for p in parameterisations if p != "edm"])
def test_the_network_is_told_its_schedules_own_coordinates_and_time(parameterisation, name):
    schedule, told = schedules[name](), {}

    def net(x, time, condition):
        told.update(x=x, time=time, condition=condition)
        return torch.zeros_like(x)

    condition = {"label": torch.arange(7)}
    keep = inside(schedule)
    wrap(net, parameterisation, schedule)(X, LEVEL, condition)
    torch.testing.assert_close(told["time"][keep], schedule.time(LEVEL)[keep])
    t = told["time"]
    own = schedule.alpha(t)[:, None] * CLEAN + schedule.sigma(t)[:, None] * NOISE
    torch.testing.assert_close(told["x"][keep], own[keep], rtol=1e-8, atol=1e-8)
    assert told["condition"] is condition


def test_without_a_schedule_the_network_is_told_unit_coordinates_and_minus_an_eighth_of_the_level():
    told = {}

    def net(x, time, condition):
        told.update(x=x, time=time)
        return x

    for parameterisation in parameterisations:
        denoiser = wrap(net, parameterisation)
        denoiser(X, LEVEL)
        torch.testing.assert_close(told["time"], -LEVEL / 8)
        if parameterisation != "edm":
            assert torch.equal(told["x"], X)
        if not denoiser.parameterisation.needs_signal:
            denoiser(X, torch.full((7,), -math.inf))
            assert bool(torch.isfinite(told["time"]).all())


@pytest.mark.parametrize("sigma_data", [0.2, 0.5, 1.0])
def test_edm_preconditioning_keeps_input_and_target_at_unit_variance(sigma_data):
    """c_in^2 Var x = 1 and Var(clean - c_skip x) = c_out^2, on data of that standard deviation (in closed form)."""
    made = parameterisations["edm"](None, sigma_data=sigma_data)
    skip, out = made.coefficients(LEVEL)
    alpha, sigma = levels.alpha(LEVEL), levels.sigma(LEVEL)
    variance = alpha**2 * sigma_data**2 + sigma**2
    torch.testing.assert_close(made.scale(LEVEL) ** 2 * variance, torch.ones_like(LEVEL))
    residual = (1 - skip * alpha) ** 2 * sigma_data**2 + (skip * sigma) ** 2
    torch.testing.assert_close(residual, out**2, rtol=1e-9, atol=0)
    # and c_skip makes c_out the smallest
    for moved in (skip - 0.01, skip + 0.01):
        assert bool(((1 - moved * alpha) ** 2 * sigma_data**2 + (moved * sigma) ** 2 > residual).all())


@pytest.mark.parametrize("parameterisation", parameterisations)
def test_zero_snr_is_finite_or_refused_clearly(parameterisation):
    denoiser = wrap(lambda x, time, condition: 0.3 * x, parameterisation)
    level = torch.tensor([-math.inf, 1.0], dtype=torch.float64)
    if parameterisation in ("noise", "score"):
        with pytest.raises(PerrinError, match=f"{parameterisation}.*zero SNR"):
            denoiser.check(level)
    else:
        denoiser.check(level)
        assert bool(torch.isfinite(denoiser(X[:2], level).mean).all())
    clean = torch.full((2,), 30.0, dtype=torch.float64)
    denoiser.check(clean)
    assert bool(torch.isfinite(denoiser(X[:2], clean).mean).all())


@pytest.mark.parametrize("parameterisation", parameterisations)
def test_wrapped_denoisers_are_safe_under_jvp_and_gradients(parameterisation):
    net = torch.nn.Linear(5, 5).double()
    denoiser = wrap(
        lambda x, time, condition: torch.tanh(net(x)) * time[:, None].cos(), parameterisation, vp()
    )
    x, level = X[1:6], LEVEL[1:6]
    _, slope = torch.func.jvp(lambda v: denoiser(v, level).mean, (x,), (torch.ones_like(x),))
    h = 1e-6
    torch.testing.assert_close(
        slope, (denoiser(x + h, level).mean - denoiser(x - h, level).mean) / (2 * h), rtol=1e-4, atol=1e-5
    )
    y = x.clone().requires_grad_(True)
    denoiser(y, level).mean.sum().backward()
    assert bool(torch.isfinite(y.grad).all())
    assert net.weight.grad is not None


def test_a_wrapped_network_is_a_module_that_keeps_its_parameters():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(5, 5)

        def forward(self, x, time, condition=None):
            return self.inner(x)

    denoiser = wrap(Net(), "v")
    assert len(list(denoiser.parameters())) == 2
    assert denoiser(X.float(), LEVEL).mean.dtype == torch.float32


@pytest.mark.parametrize("parameterisation", parameterisations)
def test_the_network_may_answer_in_half_precision(parameterisation):
    """The state's coefficients stay float32: only the network's own rounding is left."""
    x, level = X.float(), LEVEL
    half = wrap(lambda x, time, condition: (0.5 * torch.ones_like(x)).bfloat16(), parameterisation)
    full = wrap(lambda x, time, condition: 0.5 * torch.ones_like(x), parameterisation)
    assert half(x, level).mean.dtype == torch.float32
    assert torch.equal(half(x, level).mean, full(x, level).mean)


def test_unknown_names_and_options_are_refused():
    with pytest.raises(PerrinError, match="flow_velocity"):
        wrap(torch.nn.Identity(), "flow_velocty")
    with pytest.raises(PerrinError, match="sigma_data"):
        wrap(torch.nn.Identity(), "edm", sigma_data=0.0)


@pytest.mark.parametrize("net_dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("state_dtype", [torch.float32, torch.float64])
def test_the_state_keeps_its_precision_whatever_the_networks(net_dtype, state_dtype):
    net = nets["unet"](shape=(1, 8, 8), classes=3, channels=16, vector_size=2, concat_channels=1).to(
        net_dtype
    )
    condition = {"label": torch.tensor([0, -1]), "vector": torch.ones(2, 2), "concat": torch.ones(2, 1, 8, 8)}
    x = torch.randn(2, 1, 8, 8, dtype=state_dtype)
    mean = wrap(net, "edm")(x, torch.zeros(2, dtype=torch.float64), condition).mean
    assert mean.dtype == state_dtype
    # the network's output is zero at first, so the mean is the coefficient alone, in the state's precision
    expected = 0.25 * 0.5**0.5 / (0.5 + 0.25 * 0.5) * x.double()
    torch.testing.assert_close(
        mean.double(), expected, rtol=1e-6 if state_dtype == torch.float32 else 1e-14, atol=0
    )

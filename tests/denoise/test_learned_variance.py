"""A learned variance never leaves its interval, and is beta~ and beta at its ends."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perrin.denoise import exact, learned_range, wrap
from perrin.denoise.prediction import Prediction
from perrin.errors import PerrinError
from perrin.guide import ClassifierFree
from perrin.process import gaussian, levels
from perrin.registry import nets, schedules, variances
from perrin.sample import make_plan, run
from perrin.systems import ddpm

CHAINS = {
    "ddpm_linear": "ddpm_linear",
    "ddpm_cosine": "ddpm_cosine",
    "short": {"name": "ddpm_linear", "steps": 4, "beta_max": 0.6},
    "zero terminal SNR": {"name": "discrete", "alphas_cumprod": [0.99, 0.5, 0.1, 0.0]},
}
MADE = {name: (schedules.build(section), learned_range(section)) for name, section in CHAINS.items()}


@pytest.mark.parametrize("name", CHAINS)
@settings(max_examples=150, deadline=None)
@given(
    output=st.floats(-(2.0**99), 2.0**99, width=32),
    step=st.floats(0, 1),
    stride=st.floats(0, 1),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_the_variance_of_a_step_of_any_stride_is_never_outside_its_interval(
    name, output, step, stride, dtype
):
    """Steps and strides in whole and in broken numbers; the ends of the interval are those of that stride."""
    chain, variance = MADE[name]
    noisy = chain.level(step * chain.times[1])[None]
    cleaner = chain.level(chain.time(noisy) * (1 - stride) - stride)
    clean = variance(torch.tensor([[output]], dtype=dtype), noisy)
    assert clean.dtype == dtype
    assert 0 <= float(clean) <= float((levels.sigma(noisy) ** 2).to(dtype))
    _, c_clean, std = gaussian.posterior(noisy, cleaner)
    found = float(std**2 + c_clean**2 * clean.double())
    beta = float(gaussian.transition(cleaner, noisy)[1] ** 2)
    rounding = 16 * torch.finfo(dtype).eps
    assert float(std**2) <= found <= beta * (1 + rounding)


@pytest.mark.parametrize("name", CHAINS)
def test_its_ends_and_its_middle_are_the_published_interpolation(name):
    """Sigma = exp(v log beta + (1 - v) log beta~); at step 0 with the next step's beta~."""
    chain, variance = MADE[name]
    betas, tilde = ddpm.betas(chain), ddpm.posterior_variances(chain)
    low = torch.cat([tilde[1:2], tilde[1:]])
    _, c_clean, std = gaussian.posterior(chain.levels, chain.previous)
    for output in (-math.inf, -0.7, 0.0, 0.3, math.inf):
        v = torch.sigmoid(torch.tensor(2 * output, dtype=torch.float64))
        raw = torch.full((len(betas), 1), output, dtype=torch.float64)
        found = std**2 + c_clean**2 * variance(raw, chain.levels)[:, 0]
        right = torch.exp(v * torch.log(betas) + (1 - v) * torch.log(low))
        torch.testing.assert_close(found, right, rtol=1e-10, atol=0)


def test_it_has_the_published_value_and_slope_where_a_network_starts():
    output = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    v = torch.sigmoid(2 * output)
    (slope,) = torch.autograd.grad(v.sum(), output)
    assert (float(v.detach()), float(slope)) == (0.5, 0.5)  # of v = (output + 1) / 2


def test_it_is_continuous_between_steps():
    _, variance = MADE["ddpm_linear"]
    chain = MADE["ddpm_linear"][0]
    t = torch.linspace(0, 5, 50_001, dtype=torch.float64)
    share = variance(torch.full((len(t), 1), -0.4, dtype=torch.float64), chain.level(t))[:, 0]
    share = share / levels.sigma(chain.level(t)) ** 2
    assert float(share.diff().abs().max()) < 1e-4


def doubled(kind):
    if kind == "unet":
        return nets["unet"]((1, 8, 8), classes=2, out_channels=2, channels=8), (1, 8, 8)
    return nets["mlp"]((3,), classes=2, out_channels=6, width=16), (3,)


@pytest.mark.parametrize("kind", ["unet", "mlp"])
def test_a_network_of_twice_the_channels_predicts_mean_and_variance(kind):
    net, shape = doubled(kind)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    denoiser = wrap(net, "noise", variance=learned_range("ddpm_linear"))
    x, level = torch.randn(4, *shape), torch.tensor([-9.0, -1.0, 2.0, 8.0], dtype=torch.float64)
    found = denoiser(x, level, {"label": torch.tensor([0, 1, -1, 1])})
    output = denoiser.output(x, level, {"label": torch.tensor([0, 1, -1, 1])})
    torch.testing.assert_close(found.noise_at(x, level), output[:, : shape[0]], rtol=1e-3, atol=1e-3)
    right = learned_range("ddpm_linear")(output[:, shape[0] :], level)
    assert torch.equal(found.variance, right)
    guided = ClassifierFree(denoiser, 2.0)(x, level, {"label": torch.tensor([0, 1, 0, 1])})
    alone = denoiser(x, level, {"label": torch.tensor([0, 1, 0, 1])})
    torch.testing.assert_close(guided.variance, alone.variance)


def test_a_network_without_the_second_half_is_refused():
    denoiser = wrap(lambda x, time, condition: x, "noise", variance=learned_range("ddpm_linear"))
    with pytest.raises(
        PerrinError, match=r"must output \(6, 2\) for a state of \(3, 2\).*it outputs \(3, 2\)"
    ):
        denoiser(torch.zeros(1, 3, 2), torch.zeros(1))


def test_the_rule_draws_with_the_learned_variance():
    """The exact clean variance written as v, step by step, gives the samples of the exact denoiser to the end."""
    chain, variance = MADE["ddpm_linear"]
    std = 0.5

    def clever(x, level, condition=None):
        found = exact.Gaussian(0.0, std, variance=True)(x, level)
        d, first = (float(v[0]) for v in variance.width(level))
        share = float(found.variance[0, 0] / levels.sigma(level[:1]) ** 2)
        v = math.log1p(share * (math.expm1(d) + first) - first) / d
        raw = torch.full_like(x, 0.5 * math.log(v / (1 - v)))
        return Prediction(found.mean, variance=variance(raw, level))

    plan = make_plan("ddpm", chain, steps=50, grid="time")
    mine = run(plan, clever, seeds=range(3), shape=(4,), dtype=torch.float64)
    exactly = run(
        plan, exact.Gaussian(0.0, std, variance=True), seeds=range(3), shape=(4,), dtype=torch.float64
    )
    torch.testing.assert_close(mine, exactly, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", variances)
def test_every_learned_variance_is_a_variance(name):
    made = variances.build(name)
    level = torch.linspace(-9, 9, 7, dtype=torch.float64)
    found = made(torch.randn(7, 5), level)
    assert found.shape == (7, 5)
    assert bool((found >= 0).all())


def test_a_schedule_without_steps_is_refused():
    with pytest.raises(PerrinError, match="needs a chain of steps"):
        learned_range("vp")

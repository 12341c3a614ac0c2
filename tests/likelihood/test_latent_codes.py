"""Latent codes: the closed form on Gaussian data, and there and back again."""

from __future__ import annotations

import math

import pytest
import torch
from tests.sample.measure import gaussian_flow

from perrin.denoise import Prediction, exact, wrap
from perrin.errors import PerrinError
from perrin.likelihood import decode, encode
from perrin.nets.conv_unet import UNet
from perrin.process import cosine, edm, levels, sub_vp, ve, vp
from perrin.sample import make_plan, run

LOW, HIGH = -10.0, 12.4
MEANS = torch.tensor([[-1.0, 0.3], [0.8, -0.5], [0.1, 1.2]], dtype=torch.float64)
X = MEANS + torch.tensor([[0.1, -0.2], [0.3, 0.0], [-0.1, 0.2]], dtype=torch.float64)
LAWS = {
    "gaussian": exact.Gaussian(0.4, torch.tensor([0.3, 1.5])),
    "mixture": exact.Mixture(MEANS, torch.tensor([0.2, 0.5, 0.3])),
}


def test_codes_of_gaussian_data_are_the_closed_form():
    std = torch.tensor([0.3, 1.5], dtype=torch.float64)
    found = encode(exact.Gaussian(0.4, std), X, tolerance=1e-9)
    right = gaussian_flow(levels.alpha(HIGH) * X, HIGH, LOW, 0.4, std)
    torch.testing.assert_close(found.state, right, rtol=0, atol=1e-7)
    assert bool(found.converged.all())


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("shape", [(2,), (2, 1, 1)])
def test_there_and_back_again(law, shape):
    denoiser = LAWS[law] if shape == (2,) else Folded(LAWS[law])
    x = X.reshape(-1, *shape)
    code = encode(denoiser, x, tolerance=1e-9)
    back = decode(denoiser, code.state, tolerance=1e-9)
    assert bool(back.converged.all())
    assert back.state.shape == x.shape
    assert float((back.state - x).abs().max()) < 1e-6
    assert float((code.state - x).abs().max()) > 0.1


class Folded:
    """A denoiser of vectors for states of any shape."""

    def __init__(self, flat):
        self.flat = flat

    def __call__(self, x, level, condition=None):
        return Prediction(self.flat(x.flatten(1), level).mean.reshape(x.shape))


@pytest.mark.parametrize("schedule", [vp(), ve(), sub_vp(), cosine(), edm()], ids=lambda s: type(s).__name__)
def test_decoding_is_what_every_schedule_s_deterministic_sampler_does(schedule):
    """The flow knows levels alone: fine DDIM steps on any schedule's grid end on the decoded state."""
    low, high = schedule.level_range
    z = torch.tensor([[0.3, -1.2], [1.0, 0.4]], dtype=torch.float64)
    plan = make_plan("heun", schedule, steps=600, grid="logsnr")
    sampled = run(plan, LAWS["mixture"], seeds=range(2), start=z)
    found = decode(LAWS["mixture"], z, level_range=(low, high)).state
    # the sampler's last row removes the noise that is left at the clean end
    torch.testing.assert_close(found, sampled, rtol=0, atol=2e-3 if high < 12 else 2e-2)


def test_an_item_alone_is_the_item_in_a_batch():
    denoiser = LAWS["gaussian"]
    x = torch.cat([X, 50 * X])
    together = encode(denoiser, x)
    alone = [encode(denoiser, x[i : i + 1]) for i in range(6)]
    assert torch.equal(torch.cat([a.state for a in alone]), together.state)
    assert len({a.evaluations for a in alone}) > 1


def test_codes_have_the_form_and_precision_of_the_states():
    class Apart:
        def __call__(self, x, level, condition=None):
            return Prediction({n: exact.Gaussian(0.0, 0.5)(v, level).mean for n, v in x.items()})

    x = {"b": X.float(), "a": X.reshape(3, 2, 1)}
    code = encode(Apart(), x)
    assert {n: (v.shape, v.dtype) for n, v in code.state.items()} == {
        n: (v.shape, v.dtype) for n, v in x.items()
    }
    torch.testing.assert_close(code.state["a"].flatten(1).float(), code.state["b"])
    assert encode(Apart(), {"a": X.half()}).state["a"].dtype == torch.float32


def test_a_real_network_in_single_precision_comes_back():
    net = UNet((1, 4, 4), channels=8)
    torch.manual_seed(0)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    denoiser, x = wrap(net, "v"), 0.5 * torch.randn(2, 1, 4, 4)
    back = decode(denoiser, encode(denoiser, x).state)
    assert bool(back.converged.all())
    assert float((back.state - x).square().mean().sqrt()) < 1e-3


def test_what_does_not_arrive_is_nan_and_says_so():
    few = encode(LAWS["mixture"], X, max_evaluations=13)
    assert not few.converged.any()
    assert bool(few.state.isnan().all())
    assert few.evaluations <= 13
    broken = decode(lambda x, level, condition: Prediction(torch.where((level > 3)[:, None], math.nan, x)), X)
    assert not broken.converged.any()
    assert bool(broken.state.isnan().all())
    coarse = encode(LAWS["mixture"], X, steps=5)
    assert bool(coarse.state.isfinite().all())
    assert not coarse.converged.any()
    assert bool((coarse.error > 1e-5).all())


@pytest.mark.parametrize("carry", [encode, decode])
def test_bad_input_is_one_clear_line(carry):
    with pytest.raises(PerrinError, match="NaN"):
        carry(LAWS["gaussian"], torch.full((1, 2), math.nan))
    with pytest.raises(PerrinError, match="level_range"):
        carry(LAWS["gaussian"], X, level_range=(3.0, 3.0))

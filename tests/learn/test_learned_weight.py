"""The learned weight finds the log of the expected loss at every level, and divides each level's gradient by it."""

from __future__ import annotations

import pytest
import torch

from perrin.denoise import Prediction, exact
from perrin.errors import PerrinError
from perrin.learn import Denoising, objective
from perrin.learn.laws import uniform_level
from perrin.learn.learned_weight import Learned, companion
from perrin.learn.sliced import Sliced
from perrin.learn.weighting import edm, simple, uniform
from perrin.process import levels
from perrin.registry import weights

STD, SIZE = 0.6, 32
LAW = uniform_level(-8.0, 8.0)
LEVEL = torch.linspace(-7.5, 7.5, 31, dtype=torch.float64)


def posterior_variance(level):
    """Of N(0, STD^2) data: the exact denoiser's expected squared error per entry."""
    sigma, alpha = levels.sigma(level), levels.alpha(level)
    return STD**2 * sigma**2 / (sigma**2 + STD**2 * alpha**2)


def fitted(weight, kind=Denoising, law=LAW, steps=800, batch=256):
    """`weight` after training beside the exact denoiser, which has nothing to learn."""
    loss, truth = kind(law, weight), exact.Gaussian(0.0, STD)
    optimiser = torch.optim.Adam(weight.parameters(), lr=0.02)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        clean = STD * torch.randn(batch, SIZE, generator=generator, dtype=torch.float64)
        seeds = torch.arange(batch) + batch * step
        for group in optimiser.param_groups:
            group["lr"] = 0.02 * (1 - step / steps)
        optimiser.zero_grad()
        loss(truth, clean, None, seeds).mean().backward()
        optimiser.step()
    return weight


@pytest.mark.parametrize("base", [simple(), uniform()])
def test_u_becomes_the_log_of_the_expected_loss_of_the_base_weight(base):
    weight = fitted(Learned(base))
    with torch.no_grad():
        torch.testing.assert_close(
            weight.u(LEVEL).double(), torch.log(base(LEVEL) * posterior_variance(LEVEL)), rtol=0, atol=0.1
        )
        # so the weight that remains is one over the expected error, whatever the base was
        torch.testing.assert_close(weight(LEVEL), 1 / posterior_variance(LEVEL), rtol=0.1, atol=0)


def test_sliced_score_matching_teaches_it_the_same():
    clean = uniform_level(0.0, 8.0)  # where its variance is small
    weight = fitted(Learned(simple()), Sliced, clean)
    level = LEVEL[LEVEL > 0.5]
    right = torch.log(simple()(level) * posterior_variance(level))
    with torch.no_grad():
        torch.testing.assert_close(weight.u(level).double(), right, rtol=0, atol=0.1)


def test_it_begins_as_its_base():
    loss = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8)
    plain = Denoising(LAW, simple())(exact.Gaussian(0.0, STD), loss[0], None, loss[1])
    learned = Denoising(LAW, Learned(simple()))(exact.Gaussian(0.0, STD), loss[0], None, loss[1])
    torch.testing.assert_close(learned.value, plain.value, rtol=0, atol=0)


def test_a_levels_gradient_is_that_of_the_base_weight_divided_by_exp_u():
    """And u's own is 1 - base error / exp(u), per item."""
    weight = Learned(edm())
    with torch.no_grad():
        weight.slopes.normal_(generator=torch.Generator().manual_seed(1)).mul_(0.1)
        weight.offset.fill_(-1.5)
    clean, seeds = torch.randn(6, 5, generator=torch.Generator().manual_seed(2)).double(), torch.arange(6)
    gradients = {}
    for name, chosen in (("base", weight.base), ("learned", weight)):
        shift = torch.zeros(6, 5, dtype=torch.float64, requires_grad=True)
        losses = Denoising(LAW, chosen)(
            lambda x, level, condition, shift=shift: Prediction(x + shift), clean, None, seeds
        )
        losses.value.sum().backward()
        gradients[name] = shift.grad
    scale = torch.exp(-weight.u(losses.level).double())[:, None].detach()
    torch.testing.assert_close(gradients["learned"], gradients["base"] * scale)
    expected = (1 - weight.base(losses.level) * losses.error * scale[:, 0]).sum()
    assert weight.offset.grad is not None
    torch.testing.assert_close(weight.offset.grad.double(), expected.detach(), rtol=1e-5, atol=1e-5)


def test_half_precision_around_it_leaves_u_exact():
    weight = Learned(simple())
    with torch.no_grad():
        weight.slopes.normal_(generator=torch.Generator().manual_seed(1))
    exactly = weight.u(LEVEL)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(weight.u(LEVEL), exactly, rtol=0, atol=0)


def test_anyones_training_loop_takes_it():
    weight = weights.build({"name": "learned", "features": 8})
    losses = objective(exact.Gaussian(0.0, STD), torch.randn(16, 3), weight=weight)
    losses.mean().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in weight.parameters())
    assert companion(Denoising(LAW, weight)) is weight
    assert companion(Denoising(LAW, simple())) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [({"features": 3}, "features = 3 .* even number"), ({"base": Learned()}, "base .* must be a fixed one")],
)
def test_impossible_options_get_one_clear_line(options, message):
    with pytest.raises(PerrinError, match=message):
        Learned(**options)

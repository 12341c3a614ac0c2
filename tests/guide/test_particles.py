"""Sequential Monte Carlo: what guidance gets wrong of a mixture the weights put right, the more so the more particles."""

from __future__ import annotations

import pytest
import torch

from perrin.denoise import exact
from perrin.errors import PerrinError
from perrin.guide.operators import Mask
from perrin.guide.particles import Particles, particles
from perrin.guide.restoring import PiGDM, Proximal
from perrin.process import edm
from perrin.sample import make_plan

MEANS = torch.tensor([[-1.0, -1.0], [1.0, 0.5], [0.5, -1.2]], dtype=torch.float64)
STDS = torch.tensor([0.2, 0.25, 0.15], dtype=torch.float64)
SHARES = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
MIXTURE = exact.Mixture(MEANS, STDS, SHARES)
FIRST = Mask((2,), torch.tensor([True, False]))
SEEN, NOISE = torch.tensor([[0.6, 0.0]], dtype=torch.float64), 0.3
PLAN = make_plan("ddpm", edm(sigma_min=0.01, sigma_max=20.0), steps=40, grid="karras")


def posterior():
    """Shares and mean of the mixture given its first number, seen with noise."""
    variance = NOISE**2 + STDS**2
    log = torch.log(SHARES) - 0.5 * (SEEN[0, 0] - MEANS[:, 0]) ** 2 / variance - 0.5 * torch.log(variance)
    share = torch.softmax(log, 0)
    first = MEANS[:, 0] + STDS**2 / variance * (SEEN[0, 0] - MEANS[:, 0])
    return share, (share[:, None] * torch.stack([first, MEANS[:, 1]], 1)).sum(0)


def drawn(method, samples, count):
    guide = method(MIXTURE, FIRST, SEEN, NOISE, 1.0)
    return particles(PLAN, guide, seeds=range(samples), shape=(2,), count=count, dtype=torch.float64)


@pytest.mark.parametrize("method", [PiGDM, Proximal])
def test_it_converges_as_particles_grow(method):
    share, right = posterior()
    few, many = drawn(method, 600, 1), drawn(method, 24, 64)
    bias = float((few.mean().mean(0) - right).abs().max())
    left = float((many.mean().mean(0) - right).abs().max())
    assert left < 0.06
    assert left < bias or bias < 0.05
    upper = (many.weight * (many.state[..., 1] > -0.4)).sum(1).mean()  # the second component
    assert float(upper) == pytest.approx(float(share[1]), abs=0.06)


def test_without_weights_the_bias_is_there():
    _, right = posterior()
    assert float((drawn(PiGDM, 600, 1).mean().mean(0) - right).abs().max()) > 0.07


def test_a_sample_is_a_function_of_its_key():
    together, alone = drawn(PiGDM, 3, 8), drawn(PiGDM, 1, 8)
    torch.testing.assert_close(together.state[:1], alone.state, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(together.weight[:1], alone.weight, rtol=1e-9, atol=1e-9)


def test_weights_add_up_and_a_draw_is_a_particle():
    found = drawn(Proximal, 5, 8)
    torch.testing.assert_close(found.weight.sum(1), torch.ones(5, dtype=torch.float64))
    one = found.drawn(range(5))
    assert bool((found.state == one[:, None]).all(2).any(1).all())
    assert found.effective.shape == (5, 40)
    assert float(found.effective.min()) >= 1


def test_particles_of_equal_weight_are_as_many_as_their_weights_say():
    state = torch.arange(8.0, dtype=torch.float64).reshape(2, 4, 1)
    weight = torch.tensor([[0.5, 0.25, 0.25, 0.0], [0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    found = Particles(state, weight, torch.ones(2, 1)).resampled([(0, 0), (0, 1)])
    assert sorted(found[0].flatten().tolist()) == [0.0, 0.0, 1.0, 2.0]
    assert found[1].flatten().tolist() == [6.0] * 4


def test_other_plans_are_refused():
    guide = PiGDM(MIXTURE, FIRST, SEEN, NOISE)
    plan = make_plan("dpmpp_2m", edm(), steps=4, grid="karras")
    with pytest.raises(PerrinError, match="rule 'ddpm'"):
        particles(plan, guide, seeds=[0], shape=(2,))
    with pytest.raises(PerrinError, match="count = 0"):
        particles(PLAN, guide, seeds=[0], shape=(2,), count=0)


def test_the_last_weight_is_the_likelihood_of_the_clean_state():
    """A plan of one row goes from noise to the mean: what is left of the weights is likelihood over twist."""
    plan = make_plan("ddpm", edm(sigma_min=0.8, sigma_max=20.0), steps=1, grid="karras")
    guide = Proximal(MIXTURE, FIRST, SEEN, NOISE, 1.0)
    found = particles(plan, guide, seeds=range(4), shape=(2,), count=8, dtype=torch.float64)
    clean = found.state.flatten(0, 1)
    level = torch.full((32,), plan.evaluated[-1], dtype=torch.float64)
    log = (guide.log_likelihood(clean) - guide.log_twist(clean, level)).view(4, 8)
    torch.testing.assert_close(found.weight, torch.softmax(log, 1))
    assert float((found.weight.amax(1) - found.weight.amin(1)).max()) > 0.01

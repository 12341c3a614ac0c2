"""The loss of tokens: its mean is the bound in nats per token, whatever the law; absent positions cost nothing."""

import math

import pytest
import torch

from perrin.denoise import exact, wrap
from perrin.errors import PerrinError
from perrin.learn.denoising import Denoising, stratified
from perrin.learn.laws import lognormal, uniform_level, uniform_scale, uniform_time
from perrin.learn.weighting import bound
from perrin.process import masked, uniform
from perrin.process.categorical import ABSENT

POINTS = torch.tensor([[0, 1, 2, 0], [2, 2, 1, 1], [1, 0, 0, 2], [2, 1, 0, 0]])
WEIGHTS = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
COUNT = 20_000
LAWS = {
    "time": uniform_time("log_linear"),
    "cosine": uniform_time("cosine"),
    "level": uniform_level(-9.0, 11.0),
    "lognormal": lognormal(0.0, 2.0),
}


def losses(process, denoiser, law, clean):
    objective = Denoising(law, bound(law), process=process)
    u = stratified(0.5, torch.randperm(len(clean), generator=torch.Generator().manual_seed(1)), len(clean))
    return objective(denoiser, clean, None, torch.arange(len(clean)), u)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("make", [masked, uniform])
def test_with_the_exact_denoiser_the_mean_loss_is_the_entropy_per_token(make, law):
    process = make(3)
    source = exact.Sequences(process, POINTS, WEIGHTS)
    clean = POINTS[torch.multinomial(WEIGHTS, COUNT, True, generator=torch.Generator().manual_seed(0))]
    value = losses(process, source, LAWS[law], clean).value
    stderr = float(value.std()) / math.sqrt(COUNT)
    assert (
        abs(float(value.mean()) - source.entropy / 4) < 4 * stderr + 2e-3
    )  # the ends of the laws are cut off


@pytest.mark.parametrize("make", [masked, uniform])
def test_a_worse_prediction_costs_more(make):
    process = make(3)
    right, wrong = (exact.Sequences(process, POINTS, w) for w in (WEIGHTS, WEIGHTS.flip(0)))
    clean = POINTS[torch.multinomial(WEIGHTS, COUNT, True, generator=torch.Generator().manual_seed(0))]
    law = LAWS["time"]
    better, worse = (float(losses(process, d, law, clean).value.mean()) for d in (right, wrong))
    assert worse > better + 0.05


def test_absent_positions_change_nothing_and_the_loss_is_per_token_that_is_there():
    net = torch.nn.Embedding(4, 3)
    denoiser = wrap(lambda x, time, condition: net(x.clamp(min=0)), "logits", process=masked(3))
    clean = POINTS[:2].repeat(8, 1)
    longer = torch.cat([clean, torch.full((16, 3), ABSENT)], 1)
    law = LAWS["time"]
    one, other = (losses(masked(3), denoiser, law, v) for v in (clean, longer))
    # the same uniforms name the positions that are there
    assert torch.allclose(one.value, other.value)
    assert float(other.value.detach().sum()) > 0


@pytest.mark.parametrize("make", [masked, uniform])
def test_gradients_reach_the_network_and_are_finite_at_every_level(make):
    process = make(3)
    net = torch.nn.Embedding(process.states, 3)
    denoiser = wrap(lambda x, time, condition: net(x.clamp(min=0)), "logits", process=process)
    clean = POINTS.repeat(64, 1)
    losses(process, denoiser, uniform_level(-10.0, 12.4), clean).mean().backward()
    assert net.weight.grad is not None
    assert bool(net.weight.grad.isfinite().all())
    assert float(net.weight.grad.abs().sum()) > 0


def test_a_law_without_a_density_has_no_bound():
    with pytest.raises(PerrinError, match="density"):
        bound(uniform_scale())

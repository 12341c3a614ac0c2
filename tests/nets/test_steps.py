"""What networks of a chain are told, and the options that do not go together."""

import math

import pytest
import torch

from perrin.errors import PerrinError
from perrin.nets.ddpm_unet import DDPMUNet
from perrin.nets.patch_transformer import DiT
from perrin.nets.steps import StepEmbedding


@pytest.mark.parametrize(("gap", "slowest"), [(0, 10_000.0 ** (-7 / 8)), (1, 1e-4)])
def test_frequencies_fall_from_one_to_a_ten_thousandth_or_next_to_it(gap, slowest):
    frequencies = StepEmbedding(16, 4, gap=gap).frequencies
    assert float(frequencies[0]) == 1.0
    assert math.isclose(float(frequencies[-1]), slowest, rel_tol=1e-6)
    ratios = frequencies[1:] / frequencies[:-1]
    torch.testing.assert_close(ratios, ratios[:1].expand(7), rtol=1e-5, atol=0)


@torch.no_grad()
def test_neighbouring_steps_are_told_apart_and_a_label_is_added_after_the_mlp():
    torch.manual_seed(0)
    net = StepEmbedding(64, 32, classes=2).double()
    steps = torch.arange(1000)
    apart = (net(steps[1:]) - net(steps[:-1])).abs().amax(1)
    assert float(apart.min()) > 1e-3
    net.out.weight.data.zero_()
    net.out.bias.data.zero_()
    told = net(steps[:3], {"label": torch.tensor([-1, 0, 1])})
    torch.testing.assert_close(told, torch.nn.functional.silu(net.label.weight))


@pytest.mark.parametrize(
    ("make", "options", "said"),
    [
        (DiT, {"clock": "step", "vector_size": 3}, "no vector"),
        (DiT, {"own_embeddings": True}, "are for clock: step"),
        (DiT, {"gap": 1}, "are for clock: step"),
        (DDPMUNet, {"channels": 12}, "groups = 8"),
        (DDPMUNet, {"channels": 16, "head": 12}, "head = 12"),
        (DDPMUNet, {"attention": [True]}, "each of 3 resolutions"),
    ],
)
def test_options_that_do_not_go_together_are_refused(make, options, said):
    with pytest.raises(PerrinError, match=said):
        make((3, 8, 8), **options)

"""The encoder: logits of states of every number of dimensions, item by item."""

import pytest
import torch

from perrin.errors import PerrinError
from perrin.nets.classifying import Encoder

SHAPES = {
    "vector": ([5], {}),
    "series": ([2, 13], {}),
    "image": ([1, 9, 7], {"attention": 1}),
    "patched": ([3, 16, 16], {"patch": 2, "blocks": [1, 1, 2]}),
    "volume": ([1, 4, 5, 6], {"multipliers": [1, 2]}),
}


def build(name, awake=True):
    torch.manual_seed(0)
    shape, options = SHAPES[name]
    net = Encoder(shape, classes=4, channels=8, **options)
    if awake:
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    return net, x, torch.tensor([-1.0, 0.0, 1.2])


@pytest.mark.parametrize("name", SHAPES)
def test_every_class_is_as_likely_at_initialisation(name):
    net, x, time = build(name, awake=False)
    assert torch.equal(net(x, time), torch.zeros(3, 4))


@pytest.mark.parametrize("name", SHAPES)
def test_logits_depend_on_state_and_time_of_their_own_item_alone(name):
    net, x, time = build(name)
    with torch.no_grad():
        later = net(x, time + 0.5)
    logits = net(x, time).detach()
    assert logits.shape == (3, 4)
    torch.testing.assert_close(net(x[1:2], time[1:2]).detach(), logits[1:2], rtol=1e-4, atol=1e-5)
    assert float((later - logits).abs().min(1).values.max()) > 1e-4
    pulled = torch.func.grad(lambda v: net(v, time)[1].logsumexp(0))(x).detach()
    assert float(pulled[1].abs().max()) > 0
    assert float(pulled[[0, 2]].abs().max()) == 0


@pytest.mark.parametrize(
    ("shape", "options", "says"),
    [
        ([1, 8, 8], {"classes": None}, "at least 2"),
        ([1, 8, 8], {"classes": 1}, "at least 2"),
        ([], {"classes": 3}, "1 to 4 axes"),
        ([1, 2, 2, 2, 2], {"classes": 3}, "1 to 4 axes"),
        ([1, 8, 8], {"classes": 3, "blocks": [1, 2]}, "differ in length"),
    ],
)
def test_impossible_options_are_refused_in_one_line(shape, options, says):
    with pytest.raises(PerrinError, match=says):
        Encoder(shape, **options)

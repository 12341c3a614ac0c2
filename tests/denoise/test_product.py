"""One network for several leaves: each output means what its leaf's process says, at the leaf's own level."""

from __future__ import annotations

import pytest
import torch

from perrin.denoise import wrap
from perrin.denoise.parameterisation import make
from perrin.denoise.product import ProductDenoiser
from perrin.errors import PerrinError
from perrin.process import Clock, Product, Torus, masked

PROCESS = Product(
    {"t": masked(3), "r": Torus()}, {"a": Clock(1.0, 0.8), "t": Clock(1.0, -1.0), "r": Clock(2.0, 0.5)}
)
X = {
    "a": torch.randn(4, 2, dtype=torch.float64),
    "r": torch.rand(4, 5, dtype=torch.float64),
    "t": torch.tensor([[0, 3], [3, 3], [2, 1], [3, 0]]),
}
LEVEL = torch.tensor([-2.0, 0.0, 1.0, 3.0], dtype=torch.float64)


def net(x, time, condition):
    logits = torch.linspace(-1, 1, 3, dtype=torch.float64).expand(*x["t"].shape, 3)
    return {"a": torch.tanh(x["a"]), "r": torch.cos(x["r"]), "t": logits}


def edm():
    return make("edm", None, {"sigma_data": 0.7})


def test_each_leaf_is_read_as_it_would_be_alone_at_its_own_level():
    found = ProductDenoiser(net, PROCESS, edm())(X, LEVEL)
    alone = wrap(lambda x, time, condition: torch.tanh(x), edm())(X["a"], LEVEL + 0.8)
    torch.testing.assert_close(found.mean["a"], alone.mean, rtol=1e-12, atol=1e-12)
    tokens = wrap(lambda x, time, condition: net(X, time, condition)["t"], "logits", process=masked(3))
    torch.testing.assert_close(found.mean["t"], tokens(X["t"], LEVEL - 1.0).mean, rtol=1e-12, atol=1e-12)
    rms = Torus().rms(2 * LEVEL + 0.5)[:, None]
    torch.testing.assert_close(found.mean["r"], rms * torch.cos(X["r"]), rtol=1e-12, atol=1e-12)
    assert set(found.logits) == {"t"}


def test_a_network_that_leaves_out_a_leaf_is_refused():
    with pytest.raises(PerrinError, match="lacks leaf 'r'"):
        ProductDenoiser(lambda x, time, condition: {"a": x["a"]}, PROCESS, edm())(X, LEVEL)

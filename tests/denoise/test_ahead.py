"""Predictions prepared for levels that are known before are those of plain calls, and change no run."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from perrin.denoise import Prediction, wrap
from perrin.denoise.ahead import ahead
from perrin.denoise.wrapped import Wrapped
from perrin.guide import ClassifierFree, Threshold
from perrin.guide.contrast import Rescale
from perrin.process import discrete, edm, vp
from perrin.registry import parameterisations
from perrin.sample import make_plan, run

X = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
LEVELS = torch.tensor([[-4.0, -1.0, 0.0], [-1.0, 2.0, 0.5], [3.0, 3.0, 3.0]], dtype=torch.float64)
LABEL = {"label": torch.tensor([1, 2, 0])}
SCHEDULES = {
    "none": None, "vp": vp(), "edm": edm(), "table": discrete(torch.linspace(0.999, 0.01, 20, dtype=torch.float64)),
}  # fmt: skip


class Net(nn.Module):
    """Row by row a function of state, time and label; counts its rows."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.weight, self.rows = nn.Parameter(torch.tensor(0.7, dtype=dtype)), 0

    def forward(self, x, time, condition=None):
        self.rows += len(x)
        label = torch.zeros(len(x)) if condition is None else condition["label"]
        return torch.tanh(self.weight * x + (0.1 * time + label)[:, None, None].to(x))


def plain(denoiser, condition):
    return [denoiser(X, level, condition) for level in LEVELS]


def prepared(denoiser, condition):
    return [predict(X) for predict in ahead(denoiser, LEVELS, X, condition)]


def same(one, other):
    return all(torch.equal(a.mean, b.mean) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", [n for n in parameterisations if n != "logits"])
def test_a_wrapped_network(name, schedule):
    denoiser = wrap(Net(), name, SCHEDULES[schedule])
    for condition in (None, LABEL):
        assert same(prepared(denoiser, condition), plain(denoiser, condition))


def test_a_network_in_half_precision_under_a_state_in_full():
    denoiser = wrap(Net(torch.bfloat16), "v", vp())
    found = prepared(denoiser, LABEL)
    assert found[0].mean.dtype == torch.float32
    assert same(found, plain(denoiser, LABEL))


@pytest.mark.parametrize("weight", [0.0, 1.0, 3.0, torch.tensor([0.0, 1.0, 4.0])])
@pytest.mark.parametrize("interval", [None, (-2.0, 1.0)])
@pytest.mark.parametrize("rescale", [0.0, 0.6])
def test_guidance(weight, interval, rescale):
    net = Net()
    denoiser = ClassifierFree(wrap(net, "v", vp()), weight, interval=interval, rescale=rescale)
    expected = plain(denoiser, LABEL)
    rows, net.rows = net.rows, 0
    assert same(prepared(denoiser, LABEL), expected)
    assert net.rows == rows
    assert same(prepared(denoiser, None), plain(denoiser, None))


def test_weights_of_the_condition_go_before_the_guides_own():
    denoiser = ClassifierFree(wrap(Net(), "v", vp()), 2.0)
    told = LABEL | {"guidance": torch.tensor([1.0, 5.0, 0.0])}
    assert same(prepared(denoiser, told), plain(denoiser, told))
    assert not same(prepared(denoiser, told), plain(denoiser, LABEL))


def test_what_a_subclass_an_instance_or_a_hook_changes_is_kept():
    class Twice(Wrapped):
        def forward(self, x, level, condition=None):
            found = super().forward(x, level, condition)
            return type(found)(2 * found.mean)

    base = wrap(Net(), "v", vp())
    changed = Twice(base.net, base.parameterisation)
    assert same(prepared(changed, LABEL), plain(changed, LABEL))
    assert not same(prepared(changed, LABEL), plain(base, LABEL))
    seen = []
    hooked = wrap(Net(), "v", vp())
    hooked.register_forward_hook(lambda *told: seen.append(1))
    prepared(hooked, LABEL)
    assert len(seen) == len(LEVELS)
    own = wrap(Net(), "v", vp())
    own.forward = lambda x, level, condition=None: seen.append(2)
    prepared_ = ahead(own, LEVELS, X, LABEL)
    prepared_[0](X)
    assert seen[-1] == 2


@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m", "edm_heun", "ddpm", "unipc_2"])
def test_a_run_is_that_of_a_denoiser_that_prepares_nothing(solver):
    plan, net = make_plan(solver, vp(), steps=6), Net()
    guide = ClassifierFree(wrap(net, "v", vp()), 3.0)
    asked = {"seeds": range(3), "shape": (4, 5), "condition": LABEL}
    assert torch.equal(run(plan, guide, **asked), run(plan, lambda *told: guide(*told), **asked))


def test_changes_of_the_mean_apply_to_prepared_predictions():
    guide = ClassifierFree(wrap(Net(), "v", vp()), 3.0, rescale=0.5)
    assert isinstance(guide.changes[0], Rescale)
    bare = ClassifierFree(wrap(Net(), "v", vp()), 3.0)
    assert not same(prepared(guide, LABEL), prepared(bare, LABEL))


def test_raw_noise_beside_changed_means():
    inner = Threshold(wrap(Net(), "v", vp()), -0.5, 0.5, noise="raw")
    guide = ClassifierFree(inner, 3.0, rescale=0.7)
    for one, other in zip(prepared(guide, LABEL), plain(guide, LABEL), strict=True):
        assert one.noise is not None
        assert torch.equal(one.noise, other.noise)


def test_leaves_of_several_sizes_under_one_weight():
    def apart(x, level, condition=None):
        shift = condition["label"].to(torch.float32)
        return Prediction({name: v + shift.reshape(-1, *[1] * (v.dim() - 1)) for name, v in x.items()})

    x = {"a": X, "b": X[:, 0, :2].double()}
    weight = torch.tensor([2.0, 3.0, 4.0])
    found = ClassifierFree(apart, weight)(x, LEVELS[0], LABEL).mean
    for name, value in x.items():
        one = torch.tensor([1.0, 2.0, 0.0])  # the label; -1 without one
        expected = value + (-1 + weight * (one + 1)).reshape(-1, *[1] * (value.dim() - 1)).to(value)
        torch.testing.assert_close(found[name], expected)
        assert found[name].dtype == value.dtype

"""Autoguidance: away from a weaker denoiser of the same condition, which is asked only where it counts."""

from __future__ import annotations

import math

import pytest
import torch
from tests.guide.test_classifier_free import exact_network

from perrin.denoise import Prediction, exact, wrap
from perrin.errors import PerrinError
from perrin.guide import Autoguidance, Projection
from perrin.process import vp
from perrin.registry import parameterisations
from perrin.sample import make_plan, run

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LEVEL = torch.tensor([-3.0, -0.5, 1.0, 4.0], dtype=torch.float64)
CONDITION = {"label": torch.tensor([1, 2, 0, 3])}


class Counted:
    """N(label, std^2), which counts the rows that it is asked for."""

    def __init__(self, std):
        self.std, self.rows = std, 0

    def __call__(self, x, level, condition=None):
        self.rows += len(x)
        mean = torch.zeros(len(x)) if condition is None else condition["label"]
        return exact.Gaussian(mean.double()[:, None], self.std)(x, level)


def test_the_mean_goes_from_the_weak_one_through_the_strong_one():
    strong, weak = Counted(0.4), Counted(0.7)
    one, other = (d(X, LEVEL, CONDITION).mean for d in (strong, weak))
    found = Autoguidance(strong, weak, 2.5)(X, LEVEL, CONDITION).mean
    torch.testing.assert_close(found, other + 2.5 * (one - other), rtol=1e-13, atol=1e-14)


def test_weight_one_is_the_strong_one_to_the_bit_and_does_not_ask_the_weak_one():
    strong, weak = Counted(0.4), Counted(0.7)
    assert torch.equal(
        Autoguidance(strong, weak, 1.0)(X, LEVEL, CONDITION).mean, strong(X, LEVEL, CONDITION).mean
    )
    assert weak.rows == 0
    right = weak(X, LEVEL, CONDITION).mean
    strong.rows = 0
    assert torch.equal(Autoguidance(strong, weak, 0.0)(X, LEVEL, CONDITION).mean, right)
    assert strong.rows == 0


def test_each_row_has_its_own_weight_and_asks_for_what_it_needs():
    strong, weak = Counted(0.4), Counted(0.7)
    weight = torch.tensor([1.0, 0.0, 3.0, 1.0], dtype=torch.float64)
    found = Autoguidance(strong, weak)(X, LEVEL, {**CONDITION, "guidance": weight}).mean
    assert (strong.rows, weak.rows) == (3, 2)
    for i in range(4):
        one = {"label": CONDITION["label"][i : i + 1]}
        alone = Autoguidance(strong, weak, float(weight[i]))(X[i : i + 1], LEVEL[i : i + 1], one).mean
        assert torch.equal(alone[0], found[i])


def test_outside_its_interval_it_costs_and_changes_nothing():
    strong, weak = Counted(0.4), Counted(0.7)
    found = Autoguidance(strong, weak, 3.0, interval=(-1.0, 2.0))(X, LEVEL, CONDITION).mean
    assert weak.rows == 2
    inside = (LEVEL >= -1.0) & (LEVEL <= 2.0)
    assert torch.equal(found[~inside], strong(X, LEVEL, CONDITION).mean[~inside])
    assert torch.equal(found[inside], Autoguidance(strong, weak, 3.0)(X, LEVEL, CONDITION).mean[inside])


def test_it_needs_no_condition():
    found = Autoguidance(Counted(0.4), Counted(0.7), 2.0)(X, LEVEL).mean
    one, other = exact.Gaussian(0.0, 0.4)(X, LEVEL).mean, exact.Gaussian(0.0, 0.7)(X, LEVEL).mean
    torch.testing.assert_close(found, 2 * one - other)


@pytest.mark.parametrize("name", parameterisations)
def test_a_sample_is_the_same_under_every_parameterisation(name):
    """Also of two networks that differ in theirs."""
    plan, condition = make_plan("dpmpp_2m", vp(), steps=9), {"label": torch.tensor([1, 2])}
    options = {"interval": (-4.0, 4.0), "rescale": 0.3, "projection": Projection(0.2, 0.4)}
    weak = Counted(0.9)
    found = [
        run(
            plan,
            Autoguidance(network, weak, 2.0, **options),
            seeds=[1, 2],
            shape=(5,),
            condition=condition,
            dtype=torch.float64,
        )
        for network in (exact_network(name), exact_network("clean"))
    ]
    torch.testing.assert_close(found[0], found[1], rtol=1e-8, atol=1e-9)


def test_it_converges_as_steps_are_doubled():
    guide, found = Autoguidance(exact.Gaussian(0.5, 0.3), exact.Gaussian(0.5, 0.5), 2.0), []
    for steps in (20, 40, 80):
        plan = make_plan("heun", grid=[-6.0 + 14.0 * k / steps for k in range(steps + 1)])
        found.append(run(plan, guide, seeds=[1], start=X[:1]))
    apart = [float((a - found[2]).abs().max()) for a in found[:2]]
    assert apart[1] < 0.35 * apart[0] < 0.02


def test_what_the_weak_one_gets_wrong_the_guided_one_gets_less_wrong():
    """Gaussians too wide: the strong one a little, the weak one more; the spread is nearer to the truth for w > 1."""
    truth, strong, weak = 0.3, exact.Gaussian(0.0, 0.36), exact.Gaussian(0.0, 0.42)
    plan = make_plan("dpmpp_2m", vp(), steps=30)
    spread = {
        w: float(
            run(plan, Autoguidance(strong, weak, w), seeds=range(400), shape=(2,), dtype=torch.float64).std()
        )
        for w in (1.0, 1.8)
    }
    assert abs(spread[1.8] - truth) < 0.5 * abs(spread[1.0] - truth)


def test_noise_variance_and_leaves_are_those_of_both():
    def denoiser(value):
        def call(x, level, condition=None):
            full = {n: torch.full_like(v, value) for n, v in x.items()}
            return Prediction(full, {n: 10 * v for n, v in full.items()}, {n: v + 5 for n, v in full.items()})

        return call

    x = {"a": torch.zeros(4, 2), "b": torch.zeros(4, 3)}
    found = Autoguidance(denoiser(3.0), denoiser(1.0), 2.0)(x, LEVEL)
    assert {float(v) for v in found.mean["a"].flatten()} == {5.0}
    assert {float(v) for v in found.noise["b"].flatten()} == {50.0}
    assert {float(v) for v in found.variance["b"].flatten()} == {8.0}


def test_tokens_are_combined_by_their_log_probabilities():
    strong = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64).expand(2, 5, 3)
    weak = torch.tensor([0.4, 0.3, 0.3], dtype=torch.float64).expand(2, 5, 3)
    tokens = torch.zeros(2, 5, dtype=torch.long)
    guide = Autoguidance(
        lambda x, level, c=None: Prediction(strong), lambda x, level, c=None: Prediction(weak), 2.0
    )
    found = guide(tokens, LEVEL[:2]).mean
    right = strong**2 / weak
    torch.testing.assert_close(found, right / right.sum(-1, keepdim=True))


def test_it_can_be_differentiated_forward():
    guide = Autoguidance(Counted(0.4), Counted(0.7), torch.tensor([1.0, 0.0, 2.0, 3.0], dtype=torch.float64))

    def mean(x):
        return guide(x, LEVEL, CONDITION).mean

    _, slope = torch.func.jvp(mean, (X,), (torch.ones_like(X),))
    torch.testing.assert_close(slope, mean(X + 1.0) - mean(X))  # Gaussians are linear


def test_what_the_weak_one_refuses_is_refused():
    network = wrap(lambda x, time, condition: x, "noise")
    with pytest.raises(PerrinError, match="zero SNR"):
        run(
            make_plan("ddim", grid=[-math.inf, 0.0, math.inf]),
            Autoguidance(exact.Gaussian(0.0, 1.0), network, 2.0),
            seeds=[1],
            shape=(2,),
        )


def test_an_interval_that_is_none_is_refused():
    with pytest.raises(PerrinError, match="interval"):
        Autoguidance(Counted(1.0), Counted(1.0), interval=(2.0, 1.0))

"""Classifier-free guidance: one convention, the same for every parameterisation and any number of steps."""

from __future__ import annotations

import math

import pytest
import torch

from perrin.denoise import Prediction, exact, unconditional, wrap
from perrin.errors import PerrinError
from perrin.guide import ClassifierFree, Threshold
from perrin.process import levels, vp
from perrin.registry import parameterisations
from perrin.sample import make_plan, run


class Exact:
    """N(label, 0.4^2), and N(0, 1) without a label; counts the rows it is asked for, with and without label."""

    def __init__(self):
        self.conditional = self.free = self.calls = 0

    def __call__(self, x, level, condition=None):
        self.calls += 1
        label = torch.full((len(x),), -1) if condition is None else condition["label"]
        self.free += int((label < 0).sum())
        self.conditional += int((label >= 0).sum())
        view = (-1, *[1] * (x.dim() - 1))
        mean = torch.where(label < 0, 0.0, label.double()).reshape(view)
        return exact.Gaussian(mean, torch.where(label < 0, 1.0, 0.4).double().reshape(view))(x, level)


X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LEVEL = torch.tensor([-3.0, -0.5, 1.0, 4.0], dtype=torch.float64)
CONDITION = {"label": torch.tensor([1, 2, 0, 3])}


def guided(weight, denoiser=None, condition=CONDITION, **options):
    return ClassifierFree(denoiser or Exact(), weight, **options)(X, LEVEL, condition).mean


def branches():
    null = {"label": torch.full((4,), -1)}
    return Exact()(X, LEVEL, CONDITION).mean, Exact()(X, LEVEL, null).mean


@pytest.mark.parametrize("weight", [-0.5, 0.0, 0.3, 1.0, 1.5, 7.0])
def test_the_convention_is_unconditional_plus_w_times_the_difference(weight):
    with_it, without = branches()
    torch.testing.assert_close(guided(weight), without + weight * (with_it - without), rtol=1e-13, atol=1e-14)


def test_weight_one_is_none_and_weight_zero_ignores_the_condition_to_the_bit():
    with_it, without = branches()
    assert torch.equal(guided(1.0), with_it)
    assert torch.equal(guided(0.0), without)


@pytest.mark.parametrize(("weight", "conditional", "free"), [(1.0, 4, 0), (0.0, 0, 4), (2.0, 4, 4)])
def test_a_branch_of_zero_weight_is_not_evaluated(weight, conditional, free):
    network = Exact()
    guided(weight, network)
    assert (network.conditional, network.free, network.calls) == (conditional, free, 1)


def test_each_sample_has_its_own_weight_and_its_own_branches():
    network = Exact()
    weight = torch.tensor([1.0, 0.0, 3.0, 1.0], dtype=torch.float64)
    found = guided(1.5, network, {**CONDITION, "guidance": weight})
    assert (network.conditional, network.free) == (3, 2)
    for i in range(4):
        assert torch.equal(found[i], guided(float(weight[i]))[i])


def test_outside_its_interval_of_levels_guidance_costs_and_changes_nothing():
    network = Exact()
    found = guided(3.0, network, interval=(-1.0, 2.0))
    assert (network.conditional, network.free) == (4, 2)
    inside = (LEVEL >= -1.0) & (LEVEL <= 2.0)
    assert torch.equal(found[~inside], guided(1.0)[~inside])
    assert torch.equal(found[inside], guided(3.0)[inside])


def test_the_interval_does_not_move_with_the_number_of_steps():
    """Guided levels lie in the interval whatever the plan, and the result converges as steps are doubled."""
    results = []
    for steps in (100, 200, 400):
        guided_levels = []

        class Spy(Exact):
            def __call__(self, x, level, condition=None, told=guided_levels):
                if len(x) > 2:  # both branches
                    told += level.tolist()
                return super().__call__(x, level, condition)

        denoiser = ClassifierFree(Spy(), 2.5, interval=(-2.0, 2.0))
        grid = [-6.0 + 14.0 * k / steps for k in range(steps + 1)]
        condition = {"label": torch.tensor([1, 2])}
        plan = make_plan("heun", grid=grid)
        start = torch.tensor([[0.5, -1.0], [1.0, 0.3]], dtype=torch.float64)
        results.append(run(plan, denoiser, seeds=[1, 2], start=start, condition=condition))
        assert min(guided_levels) >= -2.0
        assert max(guided_levels) <= 2.0
        assert max(guided_levels) - min(guided_levels) > 3.5
    apart = [float((a - results[2]).abs().max()) for a in results[:2]]
    assert max(apart) < 0.005  # the two edges are met to a step


def exact_network(name):
    """A network of that parameterisation which outputs the exact target of `Exact`, and its denoiser."""
    parameterisation = parameterisations[name](None)
    truth = Exact()

    class Net(torch.nn.Module):
        level = None

        def forward(self, x, time, condition):
            unscaled = x / parameterisation.scale(self.level).reshape(-1, 1)
            skip, out = (v.reshape(-1, 1) for v in parameterisation.coefficients(self.level))
            return (truth(unscaled, self.level, condition).mean - skip * unscaled) / out

    net = Net()
    denoiser = wrap(net, parameterisation)

    def call(x, level, condition=None):
        net.level = level
        return denoiser(x, level, condition)

    return call


@pytest.mark.parametrize("options", [{}, {"interval": (-1.0, 9.0)}, {"rescale": 0.7}], ids=str)
@pytest.mark.parametrize("name", parameterisations)
def test_guidance_is_the_same_under_every_parameterisation(name, options):
    found = guided(2.5, exact_network(name), **options)
    torch.testing.assert_close(found, guided(2.5, **options), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", parameterisations)
def test_a_guided_sample_is_the_same_under_every_parameterisation(name):
    plan = make_plan("dpmpp_2m", vp(), steps=9)
    condition = {"label": torch.tensor([1, 2])}
    runs = [
        run(
            plan,
            Threshold(ClassifierFree(network, 2.0, interval=(-4.0, 4.0), rescale=0.3), -3.0, 3.0),
            seeds=[1, 2],
            shape=(5,),
            condition=condition,
            dtype=torch.float64,
        )
        for network in (exact_network(name), Exact())
    ]
    torch.testing.assert_close(runs[0], runs[1], rtol=1e-8, atol=1e-9)


def test_full_rescale_gives_each_item_the_spread_of_its_own_conditional_mean():
    with_it, _ = branches()
    found = guided(4.0, rescale=1.0)
    torch.testing.assert_close(found.std(1), with_it.std(1), rtol=1e-12, atol=0)
    half = guided(4.0, rescale=0.5)
    torch.testing.assert_close(half, 0.5 * guided(4.0) + 0.5 * found, rtol=1e-12, atol=1e-13)
    one = ClassifierFree(Exact(), 4.0, rescale=1.0)
    for i in range(4):
        alone = one(X[i : i + 1], LEVEL[i : i + 1], {"label": CONDITION["label"][i : i + 1]}).mean
        assert torch.equal(alone[0], found[i])


def test_rescaling_a_state_of_one_number_or_a_constant_is_no_division_by_zero():
    flat = ClassifierFree(lambda x, level, c=None: Prediction(torch.ones_like(x)), 2.0, rescale=1.0)
    for shape in ((4, 1), (4, 6)):
        mean = flat(torch.zeros(shape, dtype=torch.float64), LEVEL, CONDITION).mean
        assert torch.equal(mean, torch.ones(shape, dtype=torch.float64))


def test_without_a_condition_the_denoiser_is_left_alone():
    network = Exact()
    assert torch.equal(guided(5.0, network, None), branches()[1])
    assert network.calls == 1


def test_guided_noise_and_variance_are_those_of_the_branches():
    def denoiser(x, level, condition=None):
        label = condition["label"].double()[:, None].expand_as(x)
        return Prediction(label, noise=10 * label, variance=label + 5)

    found = ClassifierFree(denoiser, 3.0)(X, LEVEL, CONDITION)
    label = CONDITION["label"].double()[:, None].expand_as(X)
    torch.testing.assert_close(found.noise, -10 + 3.0 * (10 * label + 10))
    torch.testing.assert_close(found.variance, label + 5)


def test_guidance_works_on_named_leaves():
    def denoiser(x, level, condition=None):
        return Prediction({n: torch.ones_like(v) * condition["label"].reshape(-1, 1) for n, v in x.items()})

    x = {"a": torch.zeros(4, 2), "b": torch.zeros(4, 3)}
    found = ClassifierFree(denoiser, 2.0)(x, LEVEL, CONDITION).mean
    torch.testing.assert_close(found["b"], (-1 + 2.0 * (CONDITION["label"][:, None] + 1.0)).expand(4, 3))


def test_a_null_condition_of_ones_own_is_used():
    def null(condition):
        return {"label": torch.zeros_like(condition["label"])}

    zero = Exact()(X, LEVEL, {"label": torch.zeros(4, dtype=torch.long)}).mean
    with_it, _ = branches()
    torch.testing.assert_close(guided(2.0, null=null), zero + 2.0 * (with_it - zero))
    assert unconditional(None) is None
    empty = unconditional({"label": torch.tensor([4]), "vector": torch.zeros(1, 2)})
    assert empty["label"].tolist() == [-1]
    assert all(math.isnan(v) for v in empty["vector"].flatten().tolist())


@pytest.mark.parametrize("options", [{"interval": (2.0, 1.0)}, {"rescale": 1.5}, {"rescale": -0.1}])
def test_impossible_options_are_refused(options):
    with pytest.raises(PerrinError):
        ClassifierFree(Exact(), 2.0, **options)


def test_guiding_sharpens_towards_the_class():
    """The guided mean of two Gaussians is known: D_free + w (D_label - D_free), here on the far side of the class."""
    x, level = torch.full((1, 1), 1.0, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    label = {"label": torch.tensor([3])}
    alpha, sigma = float(levels.alpha(0.0)), float(levels.sigma(0.0))
    with_it = (alpha * 0.16 * 1.0 + sigma**2 * 3.0) / (alpha**2 * 0.16 + sigma**2)
    free = alpha * 1.0
    found = float(ClassifierFree(Exact(), 2.0)(x, level, label).mean)
    assert found == pytest.approx(free + 2.0 * (with_it - free), rel=1e-6)

"""Sliced score matching: the denoising loss in expectation, gradient included, without looking at the clean state."""

from __future__ import annotations

import math

import pytest
import torch

from perrin.denoise import Prediction, exact, wrap
from perrin.errors import PerrinError
from perrin.learn import Denoising
from perrin.learn.laws import uniform_level
from perrin.learn.sliced import Sliced
from perrin.learn.weighting import simple
from perrin.registry import nets, objectives
from perrin.training import recipe as recipes

N = 20_000
SEEDS = torch.arange(N, dtype=torch.int64)
GENERATOR = torch.Generator().manual_seed(0)
CLEAN = 0.3 + 0.6 * torch.randn(N, 3, generator=GENERATOR, dtype=torch.float64)
LAW = uniform_level(-2.0, 3.0)


class Curved(torch.nn.Module):
    """A small non-linear denoiser whose Jacobian differs from place to place."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = torch.nn.Linear(3, 8).double(), torch.nn.Linear(8, 3).double()

    def forward(self, x, level, condition=None):
        return Prediction(self.b(torch.tanh(self.a(x) + 0.1 * level[:, None])))


def per_item_gradients(objective, denoiser, parts=40):
    """Gradients of the mean loss over `parts` disjoint portions of the data, [parts, parameters]."""
    found = []
    for rows in torch.arange(N).chunk(parts):
        denoiser.zero_grad()
        objective(denoiser, CLEAN[rows], None, SEEDS[rows]).mean().backward()
        found.append(torch.cat([p.grad.flatten() for p in denoiser.parameters()]))
    return torch.stack(found)


def test_its_value_and_gradient_are_those_of_denoising_in_expectation():
    """Paired over the same noisy states: the mean difference is nought within five of its standard errors."""
    denoiser = Curved()
    sliced, denoising = (kind(LAW, simple()) for kind in (Sliced, Denoising))
    difference = per_item_gradients(sliced, denoiser) - per_item_gradients(denoising, denoiser)
    stderr = difference.std(0) / math.sqrt(len(difference))
    assert bool((difference.mean(0).abs() < 5 * stderr).all())
    size = per_item_gradients(denoising, denoiser).mean(0).norm()
    assert float(stderr.norm()) < 0.1 * float(size)  # so that a wrong factor would be seen
    a, b = (o(denoiser, CLEAN, None, SEEDS) for o in (sliced, denoising))
    gap = (a.value - b.value).detach()
    assert abs(float(gap.mean())) < 5 * float(gap.std()) / math.sqrt(N)
    torch.testing.assert_close(a.error, b.error.detach(), rtol=1e-12, atol=0)
    assert torch.equal(a.level, b.level)
    assert not a.error.requires_grad


def test_trained_by_it_a_linear_network_becomes_the_exact_score():
    """Gaussian data: one level, and only noisy states in the loss; the posterior mean is linear and is found."""
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 3).double()
    denoiser = wrap(lambda x, time, condition: net(x), "clean")
    loss = Sliced(uniform_level(-1e-6, 1e-6), simple())
    clean, seeds = (
        CLEAN.repeat(4, 1),
        torch.arange(4 * N),
    )  # so many that their noise stays well below the bound
    optimiser = torch.optim.LBFGS(net.parameters(), max_iter=30, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        value = loss(denoiser, clean, None, seeds).mean()
        value.backward()
        return value

    optimiser.step(closure)
    truth = exact.Gaussian(0.3, 0.6)
    x, level = (
        torch.randn(64, 3, generator=GENERATOR, dtype=torch.float64),
        torch.zeros(64, dtype=torch.float64),
    )
    found, right = (d(x, level) for d in (denoiser, truth))
    torch.testing.assert_close(found.score(x, level).detach(), right.score(x, level), rtol=0, atol=0.12)


def test_it_does_not_learn_from_the_clean_state():
    """Two clean states with one noisy state between them: the same value, and another error."""

    class Given(Sliced):
        def noised(self, clean, condition, seeds, u=None):
            return torch.ones(4, 3, dtype=torch.float64), torch.full((4,), 0.5, dtype=torch.float64), None

    given, denoiser = Given(LAW, simple()), Curved()
    a, b = (given(denoiser, c, None, SEEDS[:4]) for c in (CLEAN[:4], CLEAN[4:8]))
    assert torch.equal(a.value, b.value)
    assert not torch.equal(a.error, b.error)


def test_more_slices_have_less_variance_and_the_same_mean():
    denoiser = Curved()
    one, many = (Sliced(LAW, simple(), slices=n)(denoiser, CLEAN, None, SEEDS).value.detach() for n in (1, 8))
    best = Denoising(LAW, simple())(denoiser, CLEAN, None, SEEDS).value.detach()
    assert float((many - one).mean().abs()) < 5 * float((many - one).std()) / math.sqrt(N)
    assert float(many.var()) < float(one.var())
    assert float(many.mean()) == pytest.approx(float(best.mean()), abs=0.1)


def test_a_loss_does_not_depend_on_the_batch_its_item_is_in():
    denoiser, loss = Curved(), Sliced(LAW, simple(), slices=2)
    together = loss(denoiser, CLEAN[:16], None, SEEDS[:16]).value
    alone = torch.cat([loss(denoiser, CLEAN[i : i + 1], None, SEEDS[i : i + 1]).value for i in range(16)])
    torch.testing.assert_close(alone, together, rtol=1e-10, atol=1e-12)


def test_named_leaves_and_no_gradients():
    """The exact denoiser of two leaves; under no_grad, as validation runs it, nothing is kept."""
    state = {"a": CLEAN[:64], "b": CLEAN[:64, :2].reshape(64, 2, 1)}

    def leafy(x, level, condition=None):
        return Prediction({n: exact.Gaussian(0.3, 0.6)(v, level).mean for n, v in x.items()})

    with torch.no_grad():
        found = Sliced(LAW, simple())(leafy, state, None, SEEDS[:64])
    assert found.value.shape == found.error.shape == (64,)
    assert bool(torch.isfinite(found.value).all())


@pytest.mark.parametrize("name", ["unet", "mlp"])
def test_real_networks_have_the_second_derivatives_it_needs(name):
    torch.manual_seed(0)
    shape = (1, 8, 8)
    options = (
        {"channels": 8, "multipliers": [1, 2], "blocks": 1, "attention": 1}
        if name == "unet"
        else {"width": 8}
    )
    denoiser = wrap(nets[name](shape, **options), "noise")
    clean = torch.randn(4, *shape)
    Sliced(LAW, simple())(denoiser, clean, None, SEEDS[:4]).mean().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in denoiser.parameters() if p.grad is not None)
    assert any(float(p.grad.abs().sum()) > 0 for p in denoiser.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    "wrong", [{"slices": 0}, {"metric": "pseudo_huber"}, {"auxiliary": lambda *a: a[1]}, {"drop": 2.0}]
)
def test_impossible_options_are_refused_in_one_line(wrong):
    with pytest.raises(PerrinError) as caught:
        Sliced(LAW, simple(), **wrong)
    assert "\n" not in str(caught.value)


def test_a_recipe_names_it_with_its_own_options():
    base = recipes.read("points")
    chosen = recipes.validate({**base, "objective": {**base["objective"], "name": "sliced", "slices": 2}})
    assert (chosen.objective.name, chosen.objective.model_extra) == ("sliced", {"slices": 2})
    assert recipes.validate(recipes.yaml.safe_load(recipes.dump(chosen))) == chosen
    for section, says in (
        ({"name": "slicd"}, "did you mean 'sliced'"),
        ({"name": "sliced", "slice": 2}, "did you mean 'slices'"),
        ({"slices": 2}, "key 'slices' is not known"),
    ):
        with pytest.raises(PerrinError, match=says) as caught:
            recipes.validate({**base, "objective": section})
        assert "\n" not in str(caught.value)
    assert set(objectives) >= {"denoising", "sliced"}

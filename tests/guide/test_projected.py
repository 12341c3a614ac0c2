"""Projected guidance: what is along the mean is left out, too long a difference is shortened, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
from tests.guide.test_classifier_free import CONDITION, LEVEL, Exact, X, branches, exact_network, guided

from perrin.denoise import Prediction
from perrin.errors import PerrinError
from perrin.guide import ClassifierFree, Projection
from perrin.process import levels
from perrin.registry import guides, parameterisations
from perrin.sample import make_plan, run

ACROSS = Projection()


def flat_dot(a, b):
    return (a * b).flatten(1).sum(1)


def test_all_of_the_difference_without_a_longest_length_is_plain_guidance_to_the_bit():
    assert torch.equal(guided(5.0, projection=Projection(eta=1.0)), guided(5.0))


def test_what_is_added_is_across_the_conditional_mean():
    with_it, without = branches()
    added = guided(5.0, projection=ACROSS) - with_it
    torch.testing.assert_close(
        flat_dot(added, with_it), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-12
    )
    assert float(flat_dot(with_it - without, with_it).abs().min()) > 0.1  # of the plain difference it is not


def test_eta_says_how_much_of_what_is_along_the_mean_stays():
    none, half, all_ = (guided(5.0, projection=Projection(eta)) for eta in (0.0, 0.5, 1.0))
    torch.testing.assert_close(half, (none + all_) / 2, rtol=1e-12, atol=1e-13)


def test_the_difference_is_no_longer_than_the_threshold():
    with_it, without = branches()
    size = (with_it - without).square().mean(1).sqrt()
    limit = float(size.sort().values[1]) * 1.01  # two of the four are longer
    added = (guided(3.0, projection=Projection(1.0, limit)) - with_it) / 2.0
    torch.testing.assert_close(added.square().mean(1).sqrt(), size.clamp(max=limit), rtol=1e-12, atol=0)
    direction = torch.cosine_similarity(added, with_it - without)
    torch.testing.assert_close(direction, torch.ones(4, dtype=torch.float64))
    assert torch.equal(guided(3.0, projection=Projection(1.0, 1e3)), guided(3.0))


def test_weights_of_one_and_zero_are_the_branches_to_the_bit():
    with_it, without = branches()
    for options in ({"projection": Projection(0.3, 0.1)}, {"rescale": 0.7, "projection": ACROSS}):
        assert torch.equal(guided(1.0, **options), with_it)
        assert torch.equal(guided(0.0, **options), without)


def test_a_sample_alone_is_the_same_to_the_bit():
    guide = ClassifierFree(Exact(), 4.0, projection=Projection(0.2, 0.3))
    together = guide(X, LEVEL, CONDITION).mean
    for i in range(4):
        one = {"label": CONDITION["label"][i : i + 1]}
        assert torch.equal(guide(X[i : i + 1], LEVEL[i : i + 1], one).mean[0], together[i])


@pytest.mark.parametrize("name", parameterisations)
def test_it_is_the_same_under_every_parameterisation(name):
    projection = Projection(0.2, 0.3)
    found = guided(4.0, exact_network(name), projection=projection)
    torch.testing.assert_close(found, guided(4.0, projection=projection), rtol=1e-10, atol=1e-11)


def test_it_converges_as_steps_are_doubled():
    """Nothing is remembered between evaluations, so that their number does not matter."""
    guide = ClassifierFree(Exact(), 3.0, projection=Projection(0.0, 0.5))
    condition = {"label": torch.tensor([1, 2])}
    start = torch.tensor([[0.5, -1.0, 0.2], [1.0, 0.3, -0.4]], dtype=torch.float64)
    found = [
        run(
            make_plan("heun", grid=[-6.0 + 14.0 * k / steps for k in range(steps + 1)]),
            guide,
            seeds=[1, 2],
            start=start,
            condition=condition,
        )
        for steps in (50, 100, 200)
    ]
    apart = [float((a - found[2]).abs().max()) for a in found[:2]]
    assert apart[1] < 0.5 * apart[0] < 0.01


def test_a_raw_noise_moves_with_the_changed_mean():
    """x = alpha mean + sigma noise holds after the change where it held before."""

    def denoiser(x, level, condition=None):
        found = Exact()(x, level, condition)
        return Prediction(found.mean, noise=found.noise_at(x, level))

    for options in ({"projection": ACROSS}, {"rescale": 0.8}):
        found = ClassifierFree(denoiser, 4.0, **options)(X, LEVEL, CONDITION)
        alpha, sigma = levels.alpha(LEVEL)[:, None], levels.sigma(LEVEL)[:, None]
        torch.testing.assert_close(alpha * found.mean + sigma * found.noise, X, rtol=1e-10, atol=1e-11)


def test_it_can_be_differentiated_in_both_directions():
    guide = ClassifierFree(Exact(), 4.0, rescale=0.3, projection=Projection(0.1, 0.3))

    def mean(x):
        return guide(x, LEVEL, CONDITION).mean

    direction = torch.randn(X.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    _, slope = torch.func.jvp(mean, (X,), (direction,))
    step = 1e-6
    torch.testing.assert_close(slope, (mean(X + step * direction) - mean(X - step * direction)) / (2 * step))
    back = torch.func.vjp(mean, X)[1](slope)[0]
    torch.testing.assert_close((back * direction).sum(), slope.square().sum())


def test_a_mean_of_nothing_is_no_division_by_zero():
    nothing = ClassifierFree(
        lambda x, level, c=None: Prediction(torch.zeros_like(x)), 2.0, projection=Projection(0, 0.1)
    )
    assert torch.equal(nothing(X, LEVEL, CONDITION).mean, torch.zeros_like(X))


def test_the_registered_one_is_classifier_free_guidance_that_is_projected():
    made = guides["projected"](Exact(), 5.0, eta=0.2, interval=(-1.0, 2.0))
    right = guided(5.0, projection=Projection(0.2), interval=(-1.0, 2.0))
    assert torch.equal(made(X, LEVEL, CONDITION).mean, right)


def test_saturation_is_what_it_takes_away():
    """Of a class whose mean is larger than the others', plain guidance makes the mean too large, projection does not."""
    with_it, _ = branches()
    size = [float(v.norm(dim=1).max()) for v in (with_it, guided(8.0), guided(8.0, projection=ACROSS))]
    assert size[1] > 1.5 * size[0]
    assert size[2] < size[1]


@pytest.mark.parametrize(
    "wrong", [{"eta": -0.1}, {"eta": 1.1}, {"threshold": 0.0}, {"threshold": float("inf")}]
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(PerrinError, match="projected"):
        Projection(**wrong)


def test_tokens_are_refused():
    guide = ClassifierFree(lambda x, level, c=None: Prediction(torch.zeros(4, 3, 5)), 2.0, projection=ACROSS)
    with pytest.raises(PerrinError, match="continuous"):
        guide(torch.zeros(4, 3, dtype=torch.long), LEVEL, CONDITION)

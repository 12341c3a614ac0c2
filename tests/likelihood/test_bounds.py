"""The continuous-time bound: close to log p for exact denoisers, its error known, an item alone as in a batch."""

import math

import pytest
import torch

from perrin.denoise import exact
from perrin.denoise.prediction import Prediction
from perrin.errors import PerrinError
from perrin.likelihood import strata
from perrin.likelihood.bounds import bound, terms
from perrin.process import levels
from perrin.process.state import leaves, map_leaves

SHAPES = [(4,), (4, 3, 2, 2), (2, 5, 7)]


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def clean(count):
    return torch.full((count,), math.inf, dtype=torch.float64)


def gaussian(shape, count=60):
    data = exact.Gaussian(0.3, 0.7)
    return data, 0.3 + 0.7 * draw(count, *shape)


def mixture(shape, count=60):
    means = 1.5 * draw(3, *shape, seed=1)
    data = exact.Mixture(means, torch.tensor([0.4, 0.6, 0.9]), torch.tensor([1.0, 2.0, 3.0]))
    return data, means[torch.arange(count) % 3] + 0.6 * draw(count, *shape)


def within(found, truth, dimensions):
    """.02 nats per dimension and some standard errors: 3.5 for the worst of many items, 2 for their mean."""
    error = found.value - truth
    assert (error.abs() <= 0.02 * dimensions + 3.5 * found.stderr).all()
    assert (
        error.mean().abs() <= 0.02 * dimensions + 2 * found.stderr.square().mean().sqrt() / len(error) ** 0.5
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("data", [gaussian, mixture])
def test_the_bound_of_an_exact_denoiser_is_log_p(data, shape):
    denoiser, x = data(shape)
    found = bound(denoiser, x, samples=128, seeds=range(len(x)))
    within(found, denoiser.log_prob(x, clean(len(x))), math.prod(shape))
    assert found.stderr.max() < 0.5 * math.prod(shape)
    torch.testing.assert_close(torch.stack(list(found.parts.values())).sum(0), found.value)
    assert found.converged.all()
    assert found.value.dtype == torch.float64


def test_a_longer_average_comes_closer_to_log_p():
    denoiser, x = gaussian((3,), 400)
    found = bound(denoiser, x, samples=1024, seeds=range(400), batch=8192)
    error = found.value - denoiser.log_prob(x, clean(400))
    assert error.mean().abs() < 0.005 * 3
    assert found.stderr.mean() / 400**0.5 < 0.005 * 3


@pytest.mark.parametrize("data", [gaussian, mixture])
def test_the_squared_error_is_the_squared_standard_error_on_average(data):
    denoiser, x = data((6,), 1)
    count = 4000
    found = bound(denoiser, x.expand(count, 6), samples=24, seeds=range(count), batch=8192)
    ratio = found.value.var() / found.stderr.square().mean()
    # the spread over repetitions of one item, against what each repetition says of itself
    assert 0.85 < ratio < 1.15


def test_steadying_changes_the_spread_and_not_the_mean():
    """It takes two thirds of the standard error at least, of terms like those of Gaussian data."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(40, 2, 3000, 50, dtype=torch.float64, generator=generator)
    share = torch.linspace(0, 1, 40, dtype=torch.float64)[:, None, None]
    values = 0.5 * (share**2 * noise.square().sum(-1) + share * (1 - share) * 50)
    steadied = strata.steady(
        values, torch.full_like(values, 0.5), noise.square().sum(-1) - 50, torch.tensor(50)
    )
    before, after = values.mean(1).sum(0), steadied.mean(1).sum(0)
    truth = 0.5 * 50 * share.sum()
    assert (after.mean() - truth).abs() < 4 * after.std() / 3000**0.5
    assert after.std() < before.std() / 3
    own = (steadied.var(1) / 2).sum(0).mean()
    assert 0.9 < after.var() / own < 1.1


def test_named_leaves_add_up():
    one, two = exact.Gaussian(0.3, 0.7), exact.Gaussian(-1.0, 1.2)
    x = {"b": 0.3 + 0.7 * draw(50, 3), "a": -1 + 1.2 * draw(50, 2, 2, seed=5)}

    def denoiser(state, level, condition=None):
        return Prediction({"a": two(state["a"], level).mean, "b": one(state["b"], level).mean})

    truth = one.log_prob(x["b"], clean(50)) + two.log_prob(x["a"], clean(50))
    within(bound(denoiser, x, seeds=range(50)), truth, 7)


def test_an_item_alone_is_the_item_in_a_batch():
    denoiser, x = mixture((2, 3))
    together = bound(denoiser, x, samples=16, seeds=range(60), batch=37)
    alone = bound(denoiser, x[41:42], samples=16, seeds=[41])
    torch.testing.assert_close(alone.value[0], together.value[41], rtol=1e-13, atol=1e-12)
    torch.testing.assert_close(alone.stderr[0], together.stderr[41], rtol=1e-12, atol=0)
    unnamed = bound(denoiser, x, samples=16)
    backwards = bound(denoiser, x.flip(0), samples=16)
    torch.testing.assert_close(backwards.value.flip(0), unnamed.value, rtol=1e-12, atol=1e-12)


def test_conditions_follow_their_items():
    means = torch.tensor([-2.0, 3.0], dtype=torch.float64)

    def denoiser(x, level, condition):
        return exact.Gaussian(means[condition["label"]][:, None], 0.5)(x, level)

    label = torch.arange(40) % 2
    x = means[label][:, None] + 0.5 * draw(40, 4)
    found = bound(denoiser, x, condition={"label": label}, seeds=range(40), batch=64)
    within(found, exact.Gaussian(means[label][:, None], 0.5).log_prob(x, clean(40)), 4)


def test_the_terms_are_the_bound_and_the_calls_are_counted():
    denoiser, x = gaussian((4,), 10)
    calls = []

    def counting(state, level, condition=None):
        calls.append(len(leaves(state)[""]))
        return denoiser(state, level, condition)

    found = terms(counting, x, samples=32, batch=50)
    assert found.evaluations == len(calls) == 7  # 320 rows
    assert sum(calls) == 320
    assert found.diffusion.shape == (16, 10)
    assert found.edges.tolist() == pytest.approx(torch.linspace(-10, 12.4, 17).tolist(), abs=1e-5)
    total = bound(denoiser, x, samples=32)
    torch.testing.assert_close(found.prior + found.diffusion.sum(0) + found.reconstruction, total.value)
    # the noise of N(m, s^2) that its denoiser cannot tell: rate = 1/2 d alpha^2 s^2 / (alpha^2 s^2 + sigma^2) on average
    middle = (found.edges[1:] + found.edges[:-1]) / 2
    alpha2, sigma2 = levels.alpha(middle) ** 2, levels.sigma(middle) ** 2
    expected = -0.5 * 4 * alpha2 * 0.49 / (alpha2 * 0.49 + sigma2) * found.edges.diff()
    spread = found.diffusion_error.square().mean(1).div(10).sqrt()
    assert ((found.diffusion.mean(1) - expected).abs() < 0.3 * expected.abs() + 5 * spread + 1e-3).all()


def test_a_float32_state_gives_the_bound_of_float64():
    denoiser, x = gaussian((8,), 20)
    coarse = bound(denoiser, x.float(), samples=64, seeds=range(20))
    fine = bound(denoiser, x, samples=64, seeds=range(20))
    torch.testing.assert_close(coarse.value, fine.value, rtol=0, atol=2e-3)


def test_a_wrong_denoiser_is_bounded_from_below_by_less():
    denoiser, x = gaussian((4,))
    right = bound(denoiser, x, seeds=range(60)).value.mean()
    for wrong in (exact.Gaussian(0.0, 0.7), exact.Gaussian(0.3, 0.5), exact.Gaussian(0.3, 1.0)):
        assert bound(wrong, x, seeds=range(60)).value.mean() < right - 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 1}, "samples = 1"),
        ({"level_range": (3.0, -3.0)}, "noisy one first"),
        ({"level_range": (-math.inf, 3.0)}, "finite levels"),
        ({"seeds": [1]}, "1 seeds for 5 items"),
        ({"condition": {"label": torch.zeros(4)}}, r"condition 'label' has \(4,\) rows for 5 items"),
        ({"levels": [1.0, 0.0]}, "rising"),
        ({"levels": [0.0, math.inf]}, "must be finite"),
        ({"variance": "learned"}, "known: posterior, marginal"),
        ({"reconstruction": "lattice"}, "continuous"),
        ({"reconstruction": "discretised"}, "continuous"),
        ({"reconstruction": "gauss"}, "known: gaussian, lattice, discretised"),
    ],
)
def test_bad_input_is_refused_in_one_line(options, message):
    with pytest.raises(PerrinError, match=message) as error:
        bound(exact.Gaussian(), draw(5, 2), **options)
    assert "\n" not in str(error.value)


def test_states_that_are_no_numbers_are_refused():
    for x in (torch.full((2, 2), math.nan), torch.zeros(2, 2, dtype=torch.long)):
        with pytest.raises(PerrinError, match="must be f"):
            bound(exact.Gaussian(), x)


def test_levels_at_which_the_network_is_undefined_are_refused():
    from perrin.denoise import wrap

    denoiser = wrap(lambda x, time, condition: x, "noise")
    with pytest.raises(PerrinError):
        bound(denoiser, draw(2, 2), levels=[-math.inf, 0.0, 5.0])


def test_the_bound_does_not_depend_on_map_order():
    x = {"b": draw(4, 2), "a": draw(4, 3)}

    def denoiser(state, level, condition=None):
        return Prediction(map_leaves(lambda v: exact.Gaussian()(v, level).mean, state))

    turned = {"a": x["a"], "b": x["b"]}
    assert torch.equal(bound(denoiser, x, samples=8).value, bound(denoiser, turned, samples=8).value)

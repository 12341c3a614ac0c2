"""Log-likelihoods by the probability flow are the true densities, item by item, whatever the shape or the batch."""

from __future__ import annotations

import math

import pytest
import torch

from perrin.denoise import Prediction, exact, wrap
from perrin.errors import PerrinError
from perrin.likelihood import bound, encode, log_prob
from perrin.likelihood.result import join
from perrin.nets.conv_unet import UNet
from perrin.nets.residual_mlp import MLP

SHAPES = [(4,), (4, 3, 2, 2), (2, 5, 7)]
WIDE = (-14.0, 12.4)
"""At level -10 the signal that N(0, I) leaves out, alpha = .0067, is worth 1e-3 nats per dimension for one item."""


def entries(shape):
    return math.prod(shape)


def normal(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian(shape):
    """(denoiser, data drawn from its law): every entry with its own mean and deviation."""
    std = 0.4 + 0.8 * torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mean = 0.5 * normal(shape, 2)
    return exact.Gaussian(mean, std), mean + std * normal((3, *shape), 3)


def mixture(shape):
    """(denoiser, data drawn from its law): three components, one item of each."""
    means, stds = 0.7 * normal((3, *shape), 4), torch.tensor([0.3, 0.5, 0.9], dtype=torch.float64)
    x = means + stds.reshape(-1, *[1] * len(shape)) * normal((3, *shape), 5)
    return exact.Mixture(means, stds, torch.tensor([1.0, 2.0, 1.0])), x


LAWS = {"gaussian": gaussian, "mixture": mixture}


def truth(denoiser, x):
    """The density of the data themselves: no noise left at level 60."""
    return denoiser.log_prob(x, torch.full((len(x),), 60.0, dtype=torch.float64))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("law", LAWS)
def test_the_value_is_the_true_log_density(law, shape):
    denoiser, x = LAWS[law](shape)
    found = log_prob(denoiser, x, level_range=WIDE)
    assert bool(found.converged.all())
    assert found.value.dtype == torch.float64
    assert float((found.value - truth(denoiser, x)).abs().max()) < 1e-3 * entries(shape)
    assert torch.equal(found.stderr, torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(sum(found.parts.values()), found.value)


@pytest.mark.parametrize("law", LAWS)
def test_over_the_usual_levels_the_mean_is_the_true_one(law):
    denoiser, _ = LAWS[law]((4,))
    x = torch.cat([LAWS[law]((4,))[1]] * 8)
    x = denoiser.means[torch.arange(24) % 3] if law == "mixture" else denoiser.mean + 0 * x
    x = x + 0.3 * normal(x.shape, 6)
    found = log_prob(denoiser, x)
    assert abs(float((found.value - truth(denoiser, x)).mean())) < 1e-3 * 4


def test_what_the_prior_leaves_out_is_reported():
    """With the closed-form density at the noise end in place of N(0, I) the value is exact at any range."""
    denoiser, x = gaussian((4,))
    low = -6.0
    found = log_prob(denoiser, x, level_range=(low, 12.4), tolerance=1e-8)
    noisy = encode(denoiser, x, level_range=(low, 12.4), tolerance=1e-8).state
    prior = denoiser.log_prob(noisy, torch.full((3,), low, dtype=torch.float64))
    clean_end = denoiser.log_prob(
        x * torch.sigmoid(torch.tensor(12.4, dtype=torch.float64)).sqrt(),
        torch.full((3,), 12.4, dtype=torch.float64),
    )
    torch.testing.assert_close(found.parts["divergence"] + prior, clean_end, rtol=0, atol=1e-6)
    alpha2 = torch.sigmoid(torch.tensor(low, dtype=torch.float64))
    right = 0.5 * (alpha2 * x**2 - alpha2 - torch.log(1 - alpha2)).sum(
        1
    )  # KL(N(alpha y, sigma^2) || N(0, 1))
    torch.testing.assert_close(found.mismatch, right)


@pytest.mark.parametrize("kind", ["rademacher", "gaussian"])
@pytest.mark.parametrize("law", LAWS)
def test_the_stochastic_divergence_is_right_within_three_standard_errors(law, kind):
    denoiser, x = LAWS[law]((2, 3, 2))
    options = {"level_range": WIDE, "steps": 28, "tolerance": 1e-2}
    right = log_prob(denoiser, x, **options)
    found = log_prob(denoiser, x, divergence=kind, probes=12, seeds=[5, 6, 7], **options)
    assert bool(found.converged.all())
    assert bool(((found.value - right.value).abs() <= 3 * found.stderr + 1e-6).all())
    assert bool((found.stderr < 0.2 * 12).all())
    if law == "mixture" or kind == "gaussian":
        assert bool((found.stderr > 1e-3).all())


def test_signs_are_exact_where_the_jacobian_is_diagonal():
    denoiser, x = gaussian((4,))
    right, found = log_prob(denoiser, x), log_prob(denoiser, x, divergence="rademacher", probes=2)
    torch.testing.assert_close(found.value, right.value, rtol=0, atol=1e-9)


def test_the_standard_error_is_the_spread_over_the_probes():
    """Sixty-four independent estimates scatter as much as each says."""
    denoiser, x = mixture((4,))
    many = x[:1].expand(64, 4)
    found = log_prob(denoiser, many, divergence="rademacher", probes=4, seeds=range(64), steps=24)
    assert float(found.value.std()) == pytest.approx(float(found.stderr.square().mean().sqrt()), rel=0.3)
    one = log_prob(denoiser, x, divergence="rademacher", probes=1)
    assert bool(one.stderr.isnan().all())
    assert bool(one.value.isfinite().all())


@pytest.mark.parametrize("options", [{}, {"steps": 12}, {"divergence": "rademacher", "probes": 3}])
@pytest.mark.parametrize("named", [True, False])
def test_an_item_alone_is_the_item_in_a_batch(options, named):
    denoiser, x = gaussian((2, 2))
    x = torch.cat([x, 9 * x[:2]])
    seeds = [11, (3, 0), (3, 1), 12, 5] if named else None
    together = log_prob(denoiser, x, seeds=seeds, **options)
    for index in range(len(x)):
        seed = [seeds[index]] if named else None
        alone = log_prob(denoiser, x[index : index + 1], seeds=seed, **options)
        assert torch.equal(alone.value[0], together.value[index])
        assert torch.equal(alone.stderr[0], together.stderr[index])
    backwards = log_prob(denoiser, x.flip(0), seeds=seeds and seeds[::-1], **options)
    assert torch.equal(backwards.value.flip(0), together.value)


class Leaves:
    """A denoiser of the flat state, asked about named leaves: position (2,), type (3, 1), in the order of names."""

    def __init__(self, flat):
        self.flat = flat

    def __call__(self, x, level, condition=None):
        mean = self.flat(torch.cat([x["position"], x["type"].flatten(1)], 1), level).mean
        return Prediction({"type": mean[:, 2:].reshape(-1, 3, 1), "position": mean[:, :2]})


@pytest.mark.parametrize("kind", ["exact", "rademacher"])
def test_named_leaves_give_the_numbers_of_the_flat_state(kind):
    denoiser, x = mixture((5,))
    named = {"type": x[:, 2:].reshape(-1, 3, 1), "position": x[:, :2]}
    flat = log_prob(denoiser, x, divergence=kind)
    found = log_prob(Leaves(denoiser), named, divergence=kind)
    assert torch.equal(found.value, flat.value)
    assert torch.equal(found.stderr, flat.stderr)


@pytest.mark.parametrize("clean_end", [12.4, 1.0])
def test_a_density_over_one_dimension_integrates_to_one(clean_end):
    """At a clean end of level 1, alpha = .85: the volume counts."""
    denoiser = exact.Mixture(
        torch.tensor([[-1.0], [0.8]]), torch.tensor([0.2, 0.5]), torch.tensor([1.0, 3.0])
    )
    grid = torch.linspace(-5, 5, 401, dtype=torch.float64)
    found = log_prob(denoiser, grid[:, None], level_range=(-10.0, clean_end))
    assert float(torch.trapezoid(found.value.exp(), grid)) == pytest.approx(1, abs=1e-4)
    user = found.plus("codec", -math.log(3.0))  # the same density over 3 x
    assert float(torch.trapezoid(user.value.exp(), 3 * grid)) == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(sum(user.parts.values()), user.value)


def test_a_condition_goes_with_its_item_as_others_leave():
    def labelled(x, level, condition):
        return exact.Gaussian(condition["label"].double()[:, None], condition["std"][:, None])(x, level)

    condition = {
        "label": torch.tensor([0, 1, -1]),
        "std": torch.tensor([0.05, 1.0, 3.0], dtype=torch.float64),
    }
    x = torch.tensor([[0.1, 0.0], [1.0, 2.0], [-4.0, 1.0]], dtype=torch.float64)
    found = log_prob(labelled, x, condition=condition, level_range=(-20.0, 20.0))
    right = torch.distributions.Normal(condition["label"][:, None], condition["std"][:, None])
    torch.testing.assert_close(found.value, right.log_prob(x).sum(1), rtol=0, atol=1e-3)


def scrambled(net):
    """A network that starts at zero, made to answer something smooth."""
    torch.manual_seed(0)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return net


@pytest.mark.parametrize("parameterisation", ["v", "noise", "edm"])
@pytest.mark.parametrize("shape", [(3,), (1, 2, 2)])
def test_real_networks_in_single_precision(shape, parameterisation):
    net = MLP(shape, width=16, blocks=1, classes=2) if len(shape) == 1 else UNet(shape, channels=8, classes=2)
    denoiser, x = wrap(scrambled(net), parameterisation), 0.5 * normal((2, *shape)).float()
    condition = {"label": torch.tensor([0, 1])}
    options = {"condition": condition, "steps": None if len(shape) == 1 else 8}
    single = log_prob(denoiser, x, **options)
    net.double()
    double = log_prob(denoiser, x.double(), **options)
    assert len(shape) > 1 or bool(single.converged.all())
    assert not any(p.grad is not None for p in net.parameters())
    torch.testing.assert_close(single.value, double.value, rtol=0, atol=1e-3 * entries(shape))
    assert not torch.equal(single.value, double.value)


def undefined_below(level_of_failure):
    def denoiser(x, level, condition=None):
        mean = exact.Gaussian(0.0, 0.5)(x, level).mean
        return Prediction(torch.where((level < level_of_failure)[:, None], torch.nan, mean))

    return denoiser


@pytest.mark.parametrize("steps", [None, 20])
@pytest.mark.parametrize("failure", [-2.0, 20.0])
def test_a_denoiser_that_breaks_down_gives_no_number(failure, steps):
    found = log_prob(undefined_below(failure), torch.ones(2, 3), steps=steps)
    assert not found.converged.any()
    assert bool(found.value.isnan().all())
    assert all(bool(part.isnan().all()) for part in found.parts.values())
    assert math.isnan(found.mean()[0])


def test_one_item_that_fails_leaves_the_others_alone():
    def denoiser(x, level, condition=None):
        mean = exact.Gaussian(0.0, 0.5)(x, level).mean
        return Prediction(torch.where((x[:, :1] > 5) & (level[:, None] < 9), torch.nan, mean))

    x = torch.tensor([[0.3, 0.2], [9.0, 0.0], [-0.1, 0.4]], dtype=torch.float64)
    found, right = log_prob(denoiser, x), log_prob(exact.Gaussian(0.0, 0.5), x)
    assert found.converged.tolist() == [True, False, True]
    assert torch.equal(found.value[[0, 2]], right.value[[0, 2]])
    assert bool(found.value[1].isnan())
    assert found.mean()[0] == pytest.approx(float(right.value[[0, 2]].mean()))


def test_too_few_evaluations_give_no_number():
    found = log_prob(exact.Gaussian(0.0, 0.5), torch.ones(2, 3), max_evaluations=20)
    assert not found.converged.any()
    assert bool(found.value.isnan().all())
    assert found.evaluations <= 20


def test_coarse_fixed_steps_keep_their_value_and_say_so():
    denoiser, x = gaussian((4,))
    coarse, fine = log_prob(denoiser, x, steps=4), log_prob(denoiser, x, steps=40)
    assert bool(coarse.value.isfinite().all())
    assert not coarse.converged.any()
    assert bool(fine.converged.all())
    torch.testing.assert_close(fine.value, log_prob(denoiser, x).value, rtol=0, atol=1e-3)


def test_evaluations_are_the_calls_of_the_denoiser():
    denoiser, x = gaussian((4,))
    calls = []

    def counted(y, level, condition=None):
        calls.append(len(y))
        return denoiser(y, level)

    assert log_prob(counted, x).evaluations == len(calls)
    assert log_prob(counted, x, steps=5).evaluations == 1 + 6 * 5


def test_the_bound_is_a_method():
    denoiser, x = gaussian((4,))
    found = log_prob(denoiser, x, method="bound", samples=64, seeds=[1, 2, 3])
    assert torch.equal(found.value, bound(denoiser, x, samples=64, seeds=[1, 2, 3]).value)


def test_batches_join_and_bits_are_nats_per_dimension():
    denoiser, x = gaussian((4,))
    whole = log_prob(denoiser, x)
    parts = join([log_prob(denoiser, x[:1]), log_prob(denoiser, x[1:])])
    assert torch.equal(parts.value, whole.value)
    assert torch.equal(parts.mismatch, whole.mismatch)
    torch.testing.assert_close(2.0 ** (-4 * whole.bits_per_dimension(4)), whole.value.exp())
    mean, stderr = whole.mean()
    assert mean == pytest.approx(float(whole.value.mean()))
    assert stderr == pytest.approx(float(whole.value.std()) / math.sqrt(3))


X = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("x", "options", "said"),
    [
        (torch.tensor([[0.0, math.nan]]), {}, r"items \[0\]"),
        (torch.zeros(2, 3, dtype=torch.int64), {}, "floating"),
        ({"a": torch.zeros(2, 3), "b": torch.zeros(3, 3)}, {}, "'b'"),
        ({}, {}, "leaf"),
        (X, {"divergence": "rademacher", "probes": 0}, "probes"),
        (X, {"divergence": "hutchinson"}, "rademacher"),
        (X, {"divergence": "gaussian", "seeds": [1]}, "1 seeds for 2"),
        (X, {"level_range": (12.4, -10.0)}, "level_range"),
        (X, {"level_range": (-math.inf, 10.0)}, "level_range"),
        (X, {"steps": 0}, "steps"),
        (X, {"tolerance": 0.0}, "tolerance"),
        (X, {"condition": {"label": torch.zeros(3)}}, "label"),
        (X, {"method": "elbo"}, "elbo"),
        (X, {"samples": 12}, "samples"),
    ],
)
def test_bad_input_is_one_clear_line(x, options, said):
    with pytest.raises(PerrinError, match=said) as caught:
        log_prob(exact.Gaussian(), x, **options)
    assert "\n" not in str(caught.value)


def test_a_denoiser_of_another_shape_is_refused():
    with pytest.raises(PerrinError, match=r"\(2,\)"):
        log_prob(lambda x, level, condition: Prediction(x[:, :2]), X)
    with pytest.raises(PerrinError, match="1 means for 2 states"):
        log_prob(lambda x, level, condition: Prediction(x[:1]), X)


@pytest.mark.parametrize("kind", ["exact", "rademacher"])
def test_a_denoiser_without_a_gradient_is_refused_whatever_its_weights(kind):
    net = torch.nn.Linear(3, 3)
    for denoiser in (
        lambda x, level, condition: Prediction(net(x.detach().float())),
        lambda x, level, condition: Prediction(torch.zeros_like(x)),
    ):
        with pytest.raises(PerrinError, match="gradient"):
            log_prob(denoiser, X, divergence=kind)

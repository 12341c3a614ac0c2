"""Classifier guidance: with exact parts it is Bayes' rule, in every process and for every item by itself."""

from __future__ import annotations

import pytest
import torch

from perrin.denoise import Prediction, exact, wrap
from perrin.errors import PerrinError
from perrin.guide import Classifier, ClassifierGuidance, Threshold
from perrin.process import levels, sub_vp, ve, vp
from perrin.registry import parameterisations
from perrin.sample import make_plan, run

MEANS = torch.tensor([[-1.0, 0.5], [1.0, 0.0], [0.2, -1.2]], dtype=torch.float64)
STDS = torch.tensor([0.3, 0.6, 0.4], dtype=torch.float64)
SHARES = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
X = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LEVEL = torch.tensor([-9.0, -4.0, -1.0, 0.5, 3.0, 8.0], dtype=torch.float64)
LABEL = torch.tensor([0, 1, 2, 0, 1, 2])


def mixture():
    return exact.Mixture(MEANS, STDS, SHARES)


def row_wise(x, level, condition=None):
    """The mixture's denoiser without a matrix product, whose rounding may depend on the batch."""
    alpha, sigma = levels.alpha(level)[:, None, None], levels.sigma(level)[:, None, None]
    variance = (alpha**2 * STDS[:, None] ** 2 + sigma**2).expand(len(x), 3, 1)
    share = torch.softmax(posterior(x, level), 1)[..., None]
    gain = alpha * STDS[:, None] ** 2 / variance
    return Prediction((share * (gain * x[:, None] + (1 - alpha * gain) * MEANS)).sum(1))


def posterior(x, level):
    """The exact classifier: log p(component, x) at the level."""
    alpha, sigma = levels.alpha(level)[:, None], levels.sigma(level)[:, None]
    variance = alpha**2 * STDS**2 + sigma**2
    square = ((x[:, None] - alpha[..., None] * MEANS) ** 2).sum(2)
    return torch.log(SHARES) - square / (2 * variance) - torch.log(variance)


def conditional(x, level, label):
    return torch.cat(
        [
            exact.Gaussian(MEANS[k], STDS[k])(x[i : i + 1], level[i : i + 1]).mean
            for i, k in enumerate(label.tolist())
        ]
    )


def test_at_weight_one_the_unconditional_denoiser_becomes_the_conditional_one():
    found = ClassifierGuidance(mixture(), posterior)(X, LEVEL, {"label": LABEL}).mean
    torch.testing.assert_close(found, conditional(X, LEVEL, LABEL), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("weight", [-1.0, 0.4, 5.0])
def test_the_weight_multiplies_the_score_of_the_class(weight):
    found = ClassifierGuidance(mixture(), posterior, weight)(X, LEVEL, {"label": LABEL})
    x = X.clone().requires_grad_()
    chosen = torch.log_softmax(posterior(x, LEVEL), 1)[torch.arange(6), LABEL]
    (pull,) = torch.autograd.grad(chosen.sum(), x)
    torch.testing.assert_close(
        found.score(X, LEVEL), mixture()(X, LEVEL).score(X, LEVEL) + weight * pull, rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize("name", [n for n in parameterisations if n != "edm"])
def test_the_result_is_the_same_for_every_parameterisation(name):
    skip, out = parameterisations[name](None).coefficients(LEVEL)

    def network(x, time, condition):  # the exact output of this parameterisation
        assert condition is None
        return (mixture()(X, LEVEL).mean - skip[:, None] * X) / out[:, None]

    found = ClassifierGuidance(wrap(network, name), posterior, 3.0)(X, LEVEL, {"label": LABEL}).mean
    right = ClassifierGuidance(mixture(), posterior, 3.0)(X, LEVEL, {"label": LABEL}).mean
    torch.testing.assert_close(found, right, rtol=1e-9, atol=1e-9)


def test_the_denoiser_never_sees_the_label_and_keeps_the_rest_of_the_condition():
    seen = []

    def spy(x, level, condition=None):
        seen.append(condition)
        return mixture()(x, level)

    ClassifierGuidance(spy, posterior)(X, LEVEL, {"label": LABEL})
    ClassifierGuidance(spy, posterior)(X, LEVEL, {"label": LABEL, "vector": X, "guidance": LEVEL})
    assert seen[0] is None
    assert list(seen[1]) == ["vector"]


def test_items_that_are_not_guided_keep_their_prediction_to_the_bit_and_cost_nothing():
    rows = []

    def spy(x, level):
        rows.append(len(x))
        return posterior(x, level)

    own = mixture()(X, LEVEL).mean
    label = torch.tensor([0, -1, 2, 0, 1, 2])
    weight = torch.tensor([1.0, 1.0, 0.0, 2.0, 1.0, 1.0])
    guide = ClassifierGuidance(mixture(), spy, interval=(-4.0, 4.0))
    found = guide(X, LEVEL, {"label": label, "guidance": weight}).mean
    changed = (found != own).any(1)
    assert changed.tolist() == [False, False, False, True, True, False]
    assert rows == [2]
    assert torch.equal(guide(X, LEVEL).mean, own)
    assert torch.equal(guide(X, LEVEL, {"label": torch.full((6,), -1)}).mean, own)
    assert rows == [2]


def test_an_item_alone_is_the_item_in_a_batch_to_the_bit():
    guide = ClassifierGuidance(row_wise, posterior, 2.5)
    together = guide(X, LEVEL, {"label": LABEL}).mean
    for i in range(6):
        alone = guide(X[i : i + 1], LEVEL[i : i + 1], {"label": LABEL[i : i + 1]}).mean
        assert torch.equal(alone[0], together[i])
    plan = make_plan("dpmpp_2m", vp(), steps=6)
    options = {"shape": (2,), "dtype": torch.float64}
    batch = run(plan, guide, seeds=range(6), condition={"label": LABEL}, **options)
    one = run(plan, guide, seeds=[4], condition={"label": LABEL[4:5]}, **options)
    assert torch.equal(batch[4:5], one)


def test_under_run_samples_of_a_class_are_those_of_its_exact_denoiser():
    plan = make_plan("heun", vp(), steps=20)
    options = {"seeds": range(6), "shape": (2,), "dtype": torch.float64}
    guided = run(plan, ClassifierGuidance(mixture(), posterior), condition={"label": LABEL}, **options)

    def right(x, level, condition=None):
        return Prediction(conditional(x, level, condition["label"]))

    torch.testing.assert_close(
        guided, run(plan, right, condition={"label": LABEL}, **options), rtol=1e-7, atol=1e-7
    )


@pytest.mark.parametrize("schedule", [vp, sub_vp, ve])
def test_networks_of_every_sde_give_the_same_guided_samples(schedule):
    """Each network outputs the score in its own process's coordinates and is told its own time."""
    made = schedule()

    def network(y, t, condition):
        level, scale = made.level(t), made.scale(t)[:, None]
        return mixture()(y / scale, level).score(y / scale, level) / scale

    plan = make_plan("heun", grid=[-7.0 + 0.75 * k for k in range(21)])
    denoiser = ClassifierGuidance(wrap(network, "score", made), posterior, 2.0)
    reference = ClassifierGuidance(mixture(), posterior, 2.0)
    options = {"seeds": range(6), "shape": (2,), "dtype": torch.float64, "condition": {"label": LABEL}}
    torch.testing.assert_close(
        run(plan, denoiser, **options), run(plan, reference, **options), rtol=1e-8, atol=1e-8
    )


def test_a_state_of_named_leaves_is_guided_leaf_by_leaf():
    def split(x, level, condition=None):
        mean = mixture()(torch.cat([x["a"], x["b"]], 1), level).mean
        return Prediction({"a": mean[:, :1], "b": mean[:, 1:]})

    guide = ClassifierGuidance(split, lambda x, level: posterior(torch.cat([x["a"], x["b"]], 1), level))
    found = guide({"a": X[:, :1], "b": X[:, 1:]}, LEVEL, {"label": LABEL}).mean
    torch.testing.assert_close(
        torch.cat([found["a"], found["b"]], 1), conditional(X, LEVEL, LABEL), rtol=1e-8, atol=1e-8
    )


def test_a_raw_noise_prediction_is_guided_by_the_same_score():
    clipped = Threshold(mixture(), -0.5, 0.5, noise="raw")
    found = ClassifierGuidance(clipped, posterior, 2.0)(X, LEVEL, {"label": LABEL})
    plain = ClassifierGuidance(mixture(), posterior, 2.0)(X, LEVEL, {"label": LABEL})
    torch.testing.assert_close(found.noise, plain.noise_at(X, LEVEL), rtol=1e-8, atol=1e-8)


def test_the_guided_denoiser_has_forward_and_backward_derivatives():
    guide = ClassifierGuidance(mixture(), posterior)
    with torch.no_grad():
        _, slope = torch.func.jvp(
            lambda x: guide(x, LEVEL, {"label": LABEL}).mean, (X,), (torch.ones_like(X),)
        )
    s2, a2 = STDS[LABEL] ** 2, levels.alpha(LEVEL) ** 2
    right = levels.alpha(LEVEL) * s2 / (a2 * s2 + levels.sigma(LEVEL) ** 2)  # of the class's own Gaussian
    torch.testing.assert_close(slope, right[:, None].expand(6, 2), rtol=1e-7, atol=1e-8)
    x = X.clone().requires_grad_()
    (pulled,) = torch.autograd.grad(guide(x, LEVEL, {"label": LABEL}).mean.sum(), x)
    torch.testing.assert_close(pulled, slope, rtol=1e-7, atol=1e-8)


def test_zero_snr_is_refused_unless_the_interval_leaves_it_out():
    plan = make_plan("ddim", grid=[-torch.inf, -4.0, 0.0, 4.0])
    assert plan.levels[0] == -torch.inf
    options = {"seeds": [0], "shape": (2,), "condition": {"label": LABEL[:1]}}
    with pytest.raises(PerrinError, match="zero SNR"):
        run(plan, ClassifierGuidance(mixture(), posterior), **options)
    found = run(plan, ClassifierGuidance(mixture(), posterior, interval=(-8.0, 20.0)), **options)
    assert bool(torch.isfinite(found).all())
    with pytest.raises(PerrinError, match=r"interval = \(3, 1\)"):
        ClassifierGuidance(mixture(), posterior, interval=(3, 1))


def test_a_network_is_told_scaled_states_and_times_as_a_denoiser_is():
    p = parameterisations["edm"](None, sigma_data=0.5)

    class Net(torch.nn.Module):
        def forward(self, x, time, condition):
            assert condition is None
            return torch.stack([x.sum(1), time.to(x.dtype)], 1)

    logits = Classifier(Net(), p)(X, LEVEL)
    torch.testing.assert_close(logits[:, 0], p.scale(LEVEL) * X.sum(1))
    torch.testing.assert_close(logits[:, 1], -LEVEL / 8)

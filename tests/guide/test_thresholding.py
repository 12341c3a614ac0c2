"""Thresholding: in the denoiser, per item, with the noise that was chosen."""

from __future__ import annotations

import math

import pytest
import torch

from perrin.denoise import exact
from perrin.errors import PerrinError
from perrin.guide import DynamicThreshold, Threshold
from perrin.process import levels, vp
from perrin.registry import guides, rules
from perrin.sample import Trace, make_plan, run

WIDE = exact.Gaussian(0.0, 3.0)
X = torch.randn(5, 200, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3
LEVEL = torch.linspace(-2, 6, 5, dtype=torch.float64)


@pytest.mark.parametrize("make", [Threshold, DynamicThreshold])
def test_the_derived_noise_belongs_to_the_clipped_mean_and_the_raw_one_to_the_network(make):
    raw, derived = make(WIDE, noise="raw")(X, LEVEL), make(WIDE)(X, LEVEL)
    own = WIDE(X, LEVEL)
    assert torch.equal(raw.mean, derived.mean)
    assert float((raw.mean - own.mean).abs().max()) > 0.5
    torch.testing.assert_close(raw.noise_at(X, LEVEL), own.noise_at(X, LEVEL))
    alpha, sigma = levels.alpha(LEVEL)[:, None], levels.sigma(LEVEL)[:, None]
    torch.testing.assert_close(alpha * derived.mean + sigma * derived.noise_at(X, LEVEL), X)
    assert float((raw.noise_at(X, LEVEL) - derived.noise_at(X, LEVEL)).abs().max()) > 0.5


@pytest.mark.parametrize("noise", ["derived", "raw"])
@pytest.mark.parametrize("rule", rules)
def test_a_thresholded_sample_ends_inside_the_range_under_every_rule(rule, noise):
    """The last step shows the last mean, so the output is in the range with either choice of noise."""
    plan = make_plan(rule, vp(), steps=12)
    x = run(plan, Threshold(WIDE, -1.0, 1.0, noise=noise), seeds=range(4), shape=(16,))
    if rules[rule].order == 1 or plan.rows[-1].matrix.count_nonzero() <= 2:
        assert float(x.abs().max()) <= 1.0 + 1e-4
    assert bool(torch.isfinite(x).all())


def states(rule, noise):
    trace = Trace()
    run(make_plan(rule, vp(), steps=12), Threshold(WIDE, noise=noise), seeds=[1], shape=(64,), trace=trace)
    return torch.stack(trace.states)


@pytest.mark.parametrize("rule", rules)
def test_the_choice_of_noise_matters_to_rules_that_step_with_it_and_to_no_other(rule):
    raw, derived = states(rule, "raw"), states(rule, "derived")
    assert torch.equal(raw, derived) is not rules[rule].raw_noise
    if rules[rule].raw_noise:
        assert float((raw - derived).abs().max()) > 0.05


def test_the_raw_step_is_clipped_mean_plus_raw_noise():
    """alpha_t D + sigma_t E with the clipped D and the network's E, which is DDIM's usual practice."""
    plan = make_plan("ab_2", grid=[0.0, 1.0])
    x = X[:1] * 2
    level = torch.zeros(1, dtype=torch.float64)
    own = WIDE(x, level)
    found = run(plan, Threshold(WIDE, noise="raw"), seeds=[1], start=x)
    right = levels.alpha(1.0) * own.mean.clamp(-1, 1) + levels.sigma(1.0) * own.noise_at(x, level)
    torch.testing.assert_close(found, right)


def test_a_mean_inside_the_range_is_not_touched():
    narrow = exact.Gaussian(0.0, 0.1)
    x = 0.1 * X
    for make in (Threshold, DynamicThreshold):
        assert torch.equal(make(narrow)(x, LEVEL).mean, narrow(x, LEVEL).mean)


def test_the_dynamic_threshold_is_the_quantile_of_each_item():
    found = DynamicThreshold(WIDE, 0.9, 1.0)(X, LEVEL).mean
    own = WIDE(X, LEVEL).mean
    for i in range(5):
        s = max(1.0, float(own[i].abs().sort().values[179]))  # the 180th of 200
        torch.testing.assert_close(found[i], own[i].clamp(-s, s) / s)
        alone = DynamicThreshold(WIDE, 0.9, 1.0)(X[i : i + 1], LEVEL[i : i + 1]).mean
        assert torch.equal(alone[0], found[i])
    assert float(found.abs().max()) <= 1.0


def test_the_variance_is_kept():
    learned = exact.Gaussian(0.0, 3.0, variance=True)
    assert torch.equal(Threshold(learned)(X, LEVEL).variance, learned(X, LEVEL).variance)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Threshold(WIDE, 1.0, -1.0),
        lambda: Threshold(WIDE, noise="both"),
        lambda: DynamicThreshold(WIDE, 0.0),
        lambda: DynamicThreshold(WIDE, 0.9, -1.0),
    ],
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(PerrinError):
        wrong()


@pytest.mark.parametrize("name", guides)
def test_every_guidance_wraps_a_denoiser_and_passes_its_refusals_on(name):
    """A noise network at zero SNR is refused through any number of wrappers."""
    from perrin.denoise import wrap

    network = wrap(lambda x, time, condition: x, "noise")
    asked = {
        "classifier": (lambda x, level: x,),
        "autoguidance": (network,),
        "energy": (lambda clean: clean.sum(1),),
        "tilted": (lambda condition: lambda clean: clean, lambda c, n: None),
    }
    more = asked.get(name, ())
    said = {"timeless": True} if name == "remembered" else {}
    twice = guides[name](guides["threshold"](network), *more, **said)
    with pytest.raises(PerrinError, match="zero SNR"):
        run(make_plan("ddim", grid=[-math.inf, 0.0, math.inf]), twice, seeds=[1], shape=(2,))
    assert isinstance(twice, torch.nn.Module)
    assert not list(twice.parameters())

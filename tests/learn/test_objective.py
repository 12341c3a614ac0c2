"""The denoising objective: its minimiser is the exact denoiser, and a loss is a function of its item's seed alone."""

from __future__ import annotations

import math

import pytest
import torch

from perrin.denoise import Prediction, exact, wrap
from perrin.errors import PerrinError
from perrin.learn import Denoising, objective
from perrin.learn.denoising import stratified
from perrin.learn.laws import lognormal, uniform_level
from perrin.learn.weighting import uniform
from perrin.process import levels
from perrin.registry import weights
from perrin.sample.noise import seed_tensor

N = 20_000
SEEDS = torch.arange(N, dtype=torch.int64)
CLEAN = 0.3 + 0.6 * torch.randn(N, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TRUTH = exact.Gaussian(0.3, 0.6)


@pytest.mark.parametrize("metric", ["squared", "pseudo_huber"])
@pytest.mark.parametrize("weight", weights)
def test_the_exact_denoiser_minimises_every_weight_and_metric(weight, metric):
    """Against moved and stretched ones, on the same noise (the Gaussian's mean is its median too)."""
    loss = Denoising(uniform_level(-6.0, 6.0), weights[weight](), metric)
    best = loss(TRUTH, CLEAN, None, SEEDS).mean()
    for change in (lambda m: m + 0.05, lambda m: 1.05 * m, lambda m: 0.95 * m, lambda m: m - 0.05):

        def other(x, level, condition=None, change=change):
            return Prediction(change(TRUTH(x, level).mean))

        assert float(loss(other, CLEAN, None, SEEDS).mean()) > float(best)


def test_the_least_error_is_the_posterior_variance():
    """E |D - clean|^2 per entry is s^2 sigma^2 / (alpha^2 s^2 + sigma^2), level by level."""
    found = Denoising(uniform_level(-6.0, 6.0), uniform())(TRUTH, CLEAN, None, SEEDS)
    s2 = 0.36
    alpha, sigma = levels.alpha(found.level), levels.sigma(found.level)
    right = s2 * sigma**2 / (alpha**2 * s2 + sigma**2)
    for low in (-6, -2, 2):
        here = (found.level >= low) & (found.level < low + 4)
        ratio = float((found.error[here] / right[here]).mean())
        assert ratio == pytest.approx(1, abs=5 * math.sqrt(2 / (4 * int(here.sum()))))


def test_losses_are_per_item_weighted_and_differentiable():
    net = torch.nn.Linear(4, 4).double()
    denoiser = wrap(lambda x, time, condition: net(x), "v")
    for weight in weights:
        made = weights[weight]()
        found = Denoising(lognormal(), made)(denoiser, CLEAN[:32], None, SEEDS[:32])
        assert found.value.shape == found.level.shape == found.error.shape == (32,)
        torch.testing.assert_close(found.value, made(found.level) * found.error)
        assert found.level.dtype == torch.float64
        torch.testing.assert_close(found.mean(), found.value.mean())
        net.zero_grad()
        found.mean().backward()
        assert float(net.weight.grad.abs().sum()) > 0


def test_a_loss_does_not_depend_on_the_batch_its_item_is_in():
    loss = Denoising(lognormal(), weights["edm"](), drop=0.4)
    condition = {"label": torch.arange(64) % 10, "vector": torch.ones(64, 2)}
    together = loss(TRUTH, CLEAN[:64], condition, SEEDS[:64])
    for i in (0, 13, 63):
        one = {n: v[i : i + 1] for n, v in condition.items()}
        alone = loss(TRUTH, CLEAN[i : i + 1], one, SEEDS[i : i + 1])
        assert torch.equal(alone.level[0], together.level[i])
        torch.testing.assert_close(alone.value[0], together.value[i], rtol=1e-12, atol=0)
    flipped = loss(
        TRUTH, CLEAN[:64].flip(0), {n: v.flip(0) for n, v in condition.items()}, SEEDS[:64].flip(0)
    )
    torch.testing.assert_close(flipped.value.flip(0), together.value, rtol=1e-12, atol=0)


def caught(loss, clean, condition, seeds):
    """What the denoiser was given."""
    told = {}

    def spy(x, level, given=None):
        told.update(x=x, level=level, condition=given)
        return Prediction(x)

    loss(spy, clean, condition, seeds)
    return told


def test_noise_levels_and_drops_of_neighbouring_seeds_are_independent():
    """Seeds 0, 1, 2, ... are what people write; leaves of one item and of the next share nothing either."""
    loss = Denoising(uniform_level(-1e-6, 1e-6), uniform())
    state = {n: torch.zeros(N, 2, dtype=torch.float64) for n in ("a", "b", "c")}
    told = caught(loss, state, None, SEEDS)
    noise = torch.cat([told["x"][n] for n in "abc"], 1) / math.sqrt(0.5)
    u = torch.argsort(torch.argsort(told["level"])).double() / N
    columns = torch.cat([noise, u[:, None]], 1)
    shifted = torch.cat([columns[:-2], columns[1:-1], columns[2:]], 1)
    correlation = torch.corrcoef(shifted.T) - torch.eye(shifted.shape[1])
    assert float(correlation.abs().max()) < 5.5 / math.sqrt(N)
    assert float(noise.std()) == pytest.approx(1, abs=0.02)


def test_conditions_are_dropped_at_their_share_and_replaced_by_nothing_given():
    condition = {"label": torch.full((N,), 3), "vector": torch.ones(N, 2)}
    told = caught(Denoising(lognormal(), uniform(), drop=0.15), CLEAN, condition, SEEDS)["condition"]
    dropped = told["label"] == -1
    assert float(dropped.double().mean()) == pytest.approx(0.15, abs=5 * math.sqrt(0.15 * 0.85 / N))
    assert torch.equal(torch.isnan(told["vector"]).all(1), dropped)
    assert bool((told["label"][~dropped] == 3).all())
    for drop, expected in ((0.0, 0), (1.0, 8)):
        one = {"label": torch.full((8,), 3)}
        found = caught(Denoising(lognormal(), uniform(), drop=drop), CLEAN[:8], one, SEEDS[:8])["condition"]
        assert int((found["label"] == -1).sum()) == expected
    assert (
        caught(Denoising(lognormal(), uniform(), drop=0.5), CLEAN[:8], None, SEEDS[:8])["condition"] is None
    )


def test_the_noisy_state_is_the_marginal_at_the_level_that_is_told():
    told = caught(Denoising(uniform_level(-8.0, 8.0), uniform()), CLEAN, None, SEEDS)
    alpha, sigma = levels.alpha(told["level"])[:, None], levels.sigma(told["level"])[:, None]
    noise = (told["x"] - alpha * CLEAN) / sigma
    assert abs(float(noise.mean())) < 5 / math.sqrt(noise.numel())
    assert float(noise.var()) == pytest.approx(1, abs=5 * math.sqrt(2 / noise.numel()))
    assert abs(float((noise * CLEAN).mean())) < 0.02


def test_a_generator_makes_the_objective_repeatable_and_torchs_own_is_left_alone():
    def once(seed):
        return objective(TRUTH, CLEAN[:16], torch.Generator().manual_seed(seed))

    torch.manual_seed(5)
    before = torch.get_rng_state()
    a, b, c = once(0), once(0), once(1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a.value, b.value)
    assert torch.equal(a.level, b.level)
    assert not torch.equal(a.value, c.value)


def test_the_objective_takes_states_conditions_and_leaves():
    condition = {"label": torch.zeros(16, dtype=torch.long)}
    assert objective(TRUTH, (CLEAN[:16], condition), drop=0.5).value.shape == (16,)

    def leafy(x, level, given=None):
        return Prediction({n: exact.Gaussian(0.3, 0.6)(v, level).mean for n, v in x.items()})

    state = {"a": CLEAN[:16], "b": CLEAN[:16].reshape(16, 2, 2)}
    assert objective(leafy, state).value.shape == (16,)


def test_levels_are_stratified_one_in_each_stratum():
    shift = torch.tensor(0.37, dtype=torch.float64)
    u = stratified(shift, torch.arange(50), 50)
    assert (u * 50).floor().tolist() == list(range(50))
    halves = torch.cat([stratified(shift, torch.arange(25), 50), stratified(shift, torch.arange(25, 50), 50)])
    assert torch.equal(u, halves)  # two processes of half a batch have the strata of the whole
    for edge in (0.0, 1 - 1e-16):
        assert bool(torch.isfinite(lognormal()(stratified(edge, torch.arange(50), 50))).all())
    found = objective(TRUTH, CLEAN[:100], torch.Generator().manual_seed(0), law=uniform_level(0.0, 1.0))
    assert sorted((100 * found.level).floor().tolist()) == list(range(100))


def test_half_precision_means_are_judged_in_float32():
    def half(x, level, condition=None):
        return Prediction(x.bfloat16())

    assert objective(half, CLEAN[:8].float()).value.dtype == torch.float32


@pytest.mark.parametrize("options", [{"drop": 1.2}, {"drop": -0.1}, {"metric": "absolute"}])
def test_impossible_options_are_refused(options):
    with pytest.raises(PerrinError):
        Denoising(lognormal(), uniform(), **options)


def test_training_by_the_objective_learns_the_exact_denoiser():
    """Anyone's loop: a linear network has room for the posterior mean at one level, and finds it."""
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 4).double()
    denoiser = wrap(lambda x, time, condition: net(x), "clean")
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    generator = torch.Generator().manual_seed(0)
    law = uniform_level(-1e-6, 1e-6)
    for _ in range(400):
        clean = 0.3 + 0.6 * torch.randn(512, 4, generator=generator, dtype=torch.float64)
        optimiser.zero_grad()
        objective(denoiser, clean, generator, law=law, weight=uniform()).mean().backward()
        optimiser.step()
    gain = math.sqrt(0.5) * 0.36 / (0.5 * 0.36 + 0.5)
    torch.testing.assert_close(
        net.weight.detach(), gain * torch.eye(4, dtype=torch.float64), rtol=0, atol=0.05
    )
    bias = 0.5 * 0.3 / (0.5 * 0.36 + 0.5)
    torch.testing.assert_close(
        net.bias.detach(), torch.full((4,), bias, dtype=torch.float64), rtol=0, atol=0.05
    )


def test_any_int64_is_a_seed():
    ends = seed_tensor([-(2**63), 2**63 - 1, 0])
    assert bool(torch.isfinite(Denoising(lognormal(), uniform())(TRUTH, CLEAN[:3], None, ends).value).all())

"""The variational term teaches the variance alone, in published units, and its minimiser is the posterior variance."""

from __future__ import annotations

import math

import pytest
import torch
from tests.training.tiny import assert_identical, points_recipe, write_points

import perrin
from perrin.contracts import Lattice
from perrin.denoise import Prediction, exact, learned_range, wrap
from perrin.errors import PerrinError
from perrin.learn.hybrid import variational
from perrin.learn.laws import uniform_step
from perrin.process import gaussian, levels
from perrin.registry import auxiliaries, nets, schedules

SECTION = {"name": "ddpm_linear", "steps": 6, "beta_max": 0.5}
CHAIN = schedules.build(SECTION)
STEPS = torch.arange(6).repeat_interleave(500)
LEVEL = CHAIN.levels[STEPS]
GENERATOR = torch.Generator().manual_seed(0)
CLEAN = 0.7 * torch.randn(3000, 2, generator=GENERATOR, dtype=torch.float64)
NOISE = torch.randn(3000, 2, generator=GENERATOR, dtype=torch.float64)
X = gaussian.marginal(CLEAN, LEVEL, NOISE)
TRUTH = exact.Gaussian(0.0, 0.7, variance=True)


def test_the_terms_are_the_kl_of_the_two_reverse_steps():
    """Against torch's own, with means and variances written out; T times, per entry, in bits."""
    found = TRUTH(X, LEVEL)
    terms = variational(SECTION, 1.0)(found, LEVEL, CLEAN)
    rest = STEPS > 0
    c_x, c_clean, std = (v[:, None] for v in gaussian.posterior(LEVEL, CHAIN.previous[STEPS]))
    q = torch.distributions.Normal((c_x * X + c_clean * CLEAN)[rest], std[rest].expand(-1, 2))
    spread = torch.sqrt(std**2 + c_clean**2 * found.variance)
    p = torch.distributions.Normal((c_x * X + c_clean * found.mean)[rest], spread[rest])
    right = torch.distributions.kl_divergence(q, p).mean(1) * 6 / math.log(2)
    torch.testing.assert_close(terms[rest], right, rtol=1e-9, atol=1e-12)
    density = torch.distributions.Normal(found.mean[~rest], found.variance[~rest].sqrt())
    nats = -density.log_prob(CLEAN[~rest]).mean(1)
    torch.testing.assert_close(terms[~rest], nats * 6 / math.log(2), rtol=1e-9, atol=1e-12)


def test_whole_numbers_are_reconstructed_in_bins():
    """One value of four in bins that share all of the line: the probabilities of all values sum to one."""
    lattice = Lattice(torch.tensor(-1.0), torch.tensor(2 / 3), 4)
    auxiliary = variational(SECTION, 1.0, lattice)
    level, total = CHAIN.levels[:1], 0.0
    found = Prediction(torch.tensor([[0.2]]), variance=torch.tensor([[0.1]]))
    for value in (-1.0, -1 / 3, 1 / 3, 1.0):
        bits = float(auxiliary(found, level, torch.tensor([[value]]))) / 6
        total += 2**-bits
    assert total == pytest.approx(1, abs=1e-12)


def test_its_gradient_reaches_the_variance_only():
    net = nets["mlp"]((2,), out_channels=4, width=8, blocks=1).double()
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=GENERATOR, dtype=weight.dtype))
    denoiser = wrap(net, "noise", variance=learned_range(SECTION))
    found = denoiser(X, LEVEL)
    found.mean.retain_grad()
    variational(SECTION, 1.0)(found, LEVEL, CLEAN).mean().backward()
    assert found.mean.grad is None
    rows = net.exit.weight.grad.abs().sum(1)
    assert rows[:2].tolist() == [0.0, 0.0]
    assert bool((rows[2:] > 0).all())


def test_the_minimiser_is_the_posterior_variance():
    """One v for each step, fitted to the exact mean's own errors: V = s^2 sigma^2 / (alpha^2 s^2 + sigma^2)."""
    raw = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    variance, auxiliary = learned_range(SECTION), variational(SECTION, 1.0)
    generator = torch.Generator().manual_seed(1)
    steps = torch.arange(6).repeat_interleave(20_000)
    level = CHAIN.levels[steps]
    clean = 0.7 * torch.randn(len(steps), 1, generator=generator, dtype=torch.float64)
    noise = torch.randn(len(steps), 1, generator=generator, dtype=torch.float64)
    mean = TRUTH(gaussian.marginal(clean, level, noise), level).mean
    optimiser = torch.optim.LBFGS([raw], max_iter=60, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        value = auxiliary(
            Prediction(mean, variance=variance(raw[steps][:, None], level)), level, clean
        ).mean()
        value.backward()
        return value

    optimiser.step(loss)
    found = variance(raw.detach()[:, None], CHAIN.levels)[:, 0]
    alpha2, sigma2 = levels.alpha(CHAIN.levels) ** 2, levels.sigma(CHAIN.levels) ** 2
    right = 0.49 * sigma2 / (alpha2 * 0.49 + sigma2)
    assert bool(((found / right - 1).abs() < 5 * math.sqrt(2 / 20_000)).all()), found / right
    # the interval holds it at every step, and no step sits at an end
    assert float(raw.detach().abs().max()) < 6


def test_over_uniform_steps_the_mean_is_the_bound_without_its_prior():
    """The chain's own sum of terms, step by step, equals T times their mean under the law of steps."""
    auxiliary = variational(SECTION, 1.0)
    terms = auxiliary(TRUTH(X, LEVEL), LEVEL, CLEAN)
    by_step = torch.stack([terms[step == STEPS].mean() for step in range(6)])
    assert float(terms.mean()) == pytest.approx(float(by_step.sum() / 6))
    # data of n(0, .49): log p is known, and the bound is below it by what the steps lose
    u = (torch.arange(6000, dtype=torch.float64) + 0.5) / 6000
    assert torch.equal(uniform_step(SECTION)(u), CHAIN.levels.repeat_interleave(1000))
    entropy = 0.5 * math.log2(2 * math.pi * math.e * 0.49)
    prior = (
        -0.5
        * math.log2(math.e)
        * float(torch.log(levels.alpha(LEVEL[-1]) ** 2 * 0.49 + levels.sigma(LEVEL[-1]) ** 2))
    )
    last = levels.alpha(CHAIN.levels[-1]) ** 2 * 0.49 + levels.sigma(CHAIN.levels[-1]) ** 2
    # KL(q(x_T | clean) || N(0, 1)) on average: 1/2 (E|x_T|^2 - 1 - log sigma_T^2)
    prior = 0.5 * float(last - 1 - torch.log(levels.sigma(CHAIN.levels[-1]) ** 2)) / math.log(2)
    gap = float(terms.mean()) + prior - entropy
    noise = 5 * float(terms.std()) / math.sqrt(len(terms))
    # the reverse of a Gaussian chain is Gaussian: with the exact mean and variance only the prior's misfit is left
    misfit = 0.5 * float(last - 1 - torch.log(last)) / math.log(2)
    assert gap == pytest.approx(misfit, abs=noise)


@pytest.mark.parametrize("name", auxiliaries)
def test_every_auxiliary_gives_a_loss_for_each_item_whatever_the_batch(name):
    made = auxiliaries.build({"name": name, "schedule": SECTION})
    found = TRUTH(X, LEVEL)
    together = made(found, LEVEL, CLEAN)
    assert together.shape == (3000,)
    for i in (0, 700, 2999):
        one = slice(i, i + 1)
        alone = made(Prediction(found.mean[one], variance=found.variance[one]), LEVEL[one], CLEAN[one])
        torch.testing.assert_close(alone[0], together[i], rtol=1e-12, atol=0)


def test_what_cannot_be_is_refused_in_one_line():
    found = TRUTH(X, LEVEL)
    with pytest.raises(PerrinError, match="uniform_step"):
        variational(SECTION)(found, LEVEL + 0.1, CLEAN)
    with pytest.raises(PerrinError, match="needs a chain"):
        variational("vp")
    with pytest.raises(PerrinError, match="needs a chain"):
        uniform_step("vp")
    with pytest.raises(PerrinError, match="must be >= 0"):
        variational(SECTION, -1.0)


def recipe_with_variance(folder, **training):
    recipe = points_recipe(write_points(folder), **training)
    recipe["parameterisation"] = {"name": "noise", "variance": {"name": "learned_range", "schedule": SECTION}}
    recipe["objective"] = {
        "law": {"name": "uniform_step", "schedule": SECTION},
        "weight": {"name": "simple"},
        "auxiliary": {"name": "variational", "schedule": SECTION},
    }
    recipe["sampling"] = {"solver": "ddpm", "steps": 3, "grid": "time", "schedule": SECTION, "guidance": 2.0}
    return recipe


class Killed(BaseException):
    """Nothing in the program catches it."""


def test_a_recipe_with_learned_variance_trains_resumes_and_loads(tmp_path):
    def kill(done, total, note):
        if done == 8:
            raise Killed

    recipe = recipe_with_variance(tmp_path)
    whole = perrin.train(recipe, out=tmp_path / "whole")
    with pytest.raises(Killed):
        perrin.train(recipe, out=tmp_path / "killed", progress=kill)
    perrin.train(tmp_path / "killed", resume=True)
    assert_identical(tmp_path / "whole", tmp_path / "killed")
    model = perrin.load(tmp_path / "whole")
    assert model.design.net["out_channels"] == 4
    x = torch.randn(5, 2, generator=GENERATOR)
    found = model.denoiser(x, CHAIN.levels[:5], {"label": torch.zeros(5, dtype=torch.long)})
    assert found.variance.shape == (5, 2)
    assert torch.equal(model.sample(3).state, perrin.load(tmp_path / "whole").sample(3).state)
    assert whole is not None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"objective": {"auxiliary": {"name": "variatonal"}}},
            "auxiliary objective 'variatonal' is not known",
        ),
        ({"objective": {"auxiliary": {"name": "variational", "wieght": 1}}}, "did you mean 'weight'"),
        ({"parameterisation": {"name": "noise", "variance": "range"}}, "did you mean 'learned_range'"),
        (
            {"parameterisation": {"name": "noise", "variance": {"name": "learned_range", "schedule": "vp"}}},
            "chain",
        ),
        ({"parameterisation": {"name": "noise"}}, "learned its variance"),
    ],
)
def test_slips_in_a_recipe_are_one_line(change, says, tmp_path):
    recipe = recipe_with_variance(tmp_path)
    for section, content in change.items():
        recipe[section] = {**recipe[section], **content} if section == "objective" else content
    with pytest.raises(PerrinError, match=says) as caught:
        perrin.train(recipe, out=tmp_path / "run")
    assert "\n" not in str(caught.value)

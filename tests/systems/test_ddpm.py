"""DDPM's chain is the published one, and its strided sampler is ancestral sampling with re-spaced betas."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from tests.sample.measure import output_variance

from perrin.contracts import Lattice
from perrin.denoise import exact
from perrin.errors import PerrinError
from perrin.learn.hybrid import variational
from perrin.process import ddpm_cosine, ddpm_linear, discrete, gaussian, levels
from perrin.sample import make_plan, run
from perrin.sample.noise import normals, seed_of, seed_tensor
from perrin.systems import ddpm

mpmath.mp.dps = 50


def linear_betas(steps=1000):
    low, high = mpmath.mpf(1e-4), mpmath.mpf(0.02)
    return [low + (high - low) * t / (steps - 1) for t in range(steps)]


def cosine_betas(steps=1000):
    def f(t):
        s = mpmath.mpf(0.008)
        return mpmath.cos((mpmath.mpf(t) / steps + s) / (1 + s) * mpmath.pi / 2) ** 2

    return [min(1 - f(t + 1) / f(t), mpmath.mpf(0.999)) for t in range(steps)]


CHAINS = {"linear": (ddpm_linear, linear_betas), "cosine": (ddpm_cosine, cosine_betas)}


@pytest.mark.parametrize("name", CHAINS)
def test_betas_and_levels_are_the_published_ones_to_twelve_digits(name):
    chain, published = CHAINS[name][0](), CHAINS[name][1]()
    product, found, variances = mpmath.mpf(1), ddpm.betas(chain), ddpm.posterior_variances(chain)
    for t, beta in enumerate(published):
        before, product = product, product * (1 - beta)
        level = mpmath.log(product / (1 - product))
        assert abs(float(chain.levels[t]) - level) <= 1e-12 * max(1, abs(level)), t
        assert abs(float(found[t]) / beta - 1) < 1e-11, t
        sigma2 = mpmath.mpf(float(chain.sigma(float(t)))) ** 2
        assert abs(sigma2 / (1 - product) - 1) < 1e-12, t
        if t:  # beta~ = beta (1 - abar_{t-1}) / (1 - abar_t)
            tilde = beta * (1 - before) / (1 - product)
            assert abs(float(variances[t]) / tilde - 1) < 1e-11, t
    assert float(variances[0]) == 0.0


def test_a_table_in_double_precision_would_have_lost_the_first_level():
    """Why levels come from log-sums: with tiny betas 1 - alphas_cumprod keeps few digits."""
    chain = ddpm_linear(1000, 1e-12, 1e-11)
    right = mpmath.log(1 / mpmath.mpf(1e-12) - 1)
    assert abs(float(chain.levels[0]) - right) < 1e-12
    assert abs(float(discrete(chain.alphas_cumprod).levels[0]) - right) > 1e-6


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("steps", [250, 50, 20])
def test_a_strided_plan_is_the_rules_own_on_the_time_grid(name, steps):
    chain = CHAINS[name][0]()
    mine, own = ddpm.strided(chain, steps), make_plan("ddpm", chain, steps=steps, grid="time")
    assert mine.levels == pytest.approx(own.levels, abs=1e-10)
    for a, b in zip(mine.rows, own.rows, strict=True):
        torch.testing.assert_close(a.matrix, b.matrix, rtol=1e-10, atol=1e-10)
        assert a.draws == b.draws or len(a.draws) == len(b.draws)


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("steps", [50, 7])
def test_strided_sampling_is_ancestral_sampling_with_re_spaced_betas(name, steps):
    """Written out with betas alone, as the papers have it, on the same noise."""
    chain, std = CHAINS[name][0](), 0.6
    plan, denoiser = ddpm.strided(chain, steps), exact.Gaussian(0.3, std)
    start = torch.tensor([[1.7, -0.4, 0.2]], dtype=torch.float64)
    found = run(plan, denoiser, seeds=[5], start=start)

    kept = ddpm.spaced(chain, steps).flip(0)
    betas = ddpm.betas(chain, steps)
    torch.testing.assert_close(
        torch.cumprod(1 - betas, 0), chain.alphas_cumprod[kept], rtol=1e-10, atol=1e-15
    )  # Nichol and Dhariwal's equation 19: the re-spaced chain has the same marginals
    bars = torch.cumprod(1 - betas, 0)
    x = start
    for t, row in zip(range(steps - 1, -1, -1), plan.rows, strict=True):
        bar, before = bars[t], bars[t - 1] if t else torch.ones((), dtype=torch.float64)
        mean = denoiser(x, torch.log(bar / (1 - bar))[None]).mean
        x = (
            torch.sqrt(before) * betas[t] / (1 - bar) * mean
            + torch.sqrt(1 - betas[t]) * (1 - before) / (1 - bar) * x
        )
        if t:
            (draw,) = row.draws
            seed = seed_tensor([seed_of(5, "", draw.stream, draw.start, draw.stop, draw.visit)])
            x = x + torch.sqrt(betas[t] * (1 - before) / (1 - bar)) * normals(seed, (3,), torch.float64)
    torch.testing.assert_close(found, x, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("steps", [1, 3, 7, 300, 501, 998, 999, 1000])
def test_any_number_of_steps_is_spaced_evenly_from_the_noisy_end(steps):
    kept = ddpm.spaced(ddpm_linear(), steps)
    assert len(kept) == steps
    assert int(kept[0]) == 999
    assert int(kept[-1]) >= 0
    assert bool((kept.diff() < 0).all())
    ideal = 999 - torch.arange(steps) * 1000 / steps
    assert float((kept - ideal).abs().max()) <= 0.5 + 1e-4


@pytest.mark.parametrize("steps", [1, 7, 70])
def test_a_strided_plan_visits_steps_that_the_network_knows(steps):
    chain = ddpm_linear()
    kept = ddpm.spaced(chain, steps)
    plan = ddpm.strided(chain, steps)
    assert list(plan.levels[:-1]) == chain.levels[kept].tolist()
    assert plan.nfe == steps
    assert plan.levels[-1] == math.inf


@pytest.mark.parametrize("steps", [0, 1001])
def test_more_steps_than_the_chain_has_are_refused(steps):
    with pytest.raises(PerrinError, match=r"between 1 and the chain's own 1000"):
        ddpm.strided(ddpm_linear(), steps)


def chain_variance(plan, std, kind):
    """Variance of the chain's output on N(0, std^2) data, the exact mean and a variance for its steps.

    `kind`: "posterior" (beta~), "marginal" (beta), "optimal" (what exact.Gaussian predicts); the plan's own rows.
    """
    start = levels.alpha(plan.levels[0]) ** 2 * std**2 + levels.sigma(plan.levels[0]) ** 2
    total = float(start)
    for row in plan.rows:
        alpha, sigma = float(levels.alpha(row.level)), float(levels.sigma(row.level))
        n = alpha**2 * std**2 + sigma**2
        c_x, c_clean = float(row.matrix[0, 0] + row.matrix[0, 1]), float(row.matrix[0, plan.slots])
        total *= (c_x + c_clean * alpha * std**2 / n) ** 2
        if row.variance is not None:
            a, b = row.variance
            clean = {"posterior": 0.0, "marginal": sigma**2, "optimal": std**2 * sigma**2 / n}[kind]
            total += a + b * clean
        last = std**2 * sigma**2 / n  # what the mean shown at the last step lacks
    return total + last


@pytest.mark.parametrize("steps", [5, 50])
@pytest.mark.parametrize("std", [0.3, 1.5])
def test_the_optimal_variance_makes_the_chain_exact_where_fixed_ones_are_not(steps, std):
    plan = ddpm.strided(ddpm_linear(), steps)
    wanted = std**2
    error = {k: abs(chain_variance(plan, std, k) - wanted) for k in ("posterior", "marginal", "optimal")}
    assert error["optimal"] < 1e-12
    assert min(error["posterior"], error["marginal"]) > 1e-4
    # the instrument agrees with the project's own on the fixed one
    level = plan.rows[-1].level
    n = float(levels.alpha(level)) ** 2 * wanted + float(levels.sigma(level)) ** 2
    last = wanted * float(levels.sigma(level)) ** 2 / n
    assert chain_variance(plan, std, "posterior") - last == pytest.approx(output_variance(plan, std))


def test_the_sampler_itself_uses_the_variance_of_the_prediction():
    std, n = 0.4, 200_000
    plan = ddpm.strided(ddpm_linear(), 5)
    start = math.sqrt(
        float(levels.alpha(plan.levels[0]) ** 2 * std**2 + levels.sigma(plan.levels[0]) ** 2)
    ) * torch.randn(n // 100, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seeds = range(len(start))
    level = plan.rows[-1].level
    rest = (
        std**2
        * float(levels.sigma(level) ** 2)
        / float(levels.alpha(level) ** 2 * std**2 + levels.sigma(level) ** 2)
    )
    learned = run(plan, exact.Gaussian(0.0, std, variance=True), seeds=seeds, start=start)
    fixed = run(plan, exact.Gaussian(0.0, std), seeds=seeds, start=start)
    noise = 5 * math.sqrt(2 / n) * std**2
    assert abs(float(learned.var()) + rest - std**2) < noise
    assert abs(float(fixed.var()) + rest - std**2) > 2 * noise


def test_the_losses_are_the_published_ones():
    """L_simple is |E - noise|^2 at the chain's steps; L_hybrid adds to it and needs a learned variance."""
    chain = ddpm_linear(10)
    seeds = torch.arange(200)
    clean = torch.randn(200, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    denoiser, seen = exact.Gaussian(0.0, 1.0, variance=True), {}

    def spy(x, level, condition=None):
        seen.update(x=x, level=level, found=denoiser(x, level))
        return seen["found"]

    losses = ddpm.simple(chain)(spy, clean, None, seeds)
    alpha, sigma = levels.alpha(seen["level"])[:, None], levels.sigma(seen["level"])[:, None]
    noise = (seen["x"] - alpha * clean) / sigma
    raw = seen["found"].noise_at(seen["x"], seen["level"])
    torch.testing.assert_close(losses.value, (raw - noise).pow(2).mean(1))
    assert set(losses.level.tolist()) == set(chain.levels.tolist())
    both = ddpm.hybrid(chain, 0.5)(denoiser, clean, None, seeds)
    assert not torch.allclose(both.value, losses.value)
    none = ddpm.hybrid(chain, 0.0)(denoiser, clean, None, seeds)
    torch.testing.assert_close(none.value, losses.value)
    with pytest.raises(PerrinError, match="learned its variance"):
        ddpm.hybrid(chain)(exact.Gaussian(), clean, None, seeds)


def test_the_bound_step_by_step_is_what_the_hybrid_loss_learns_from():
    """Two writings of one sum: the likelihood's terms and the auxiliary's, on their own draws of the noise."""
    chain, draws = ddpm_linear(5, 1e-2, 0.6), 20_000
    lattice = Lattice(torch.tensor(-1.0), torch.tensor(0.5), 5)
    clean = torch.tensor([[0.5, -1.0]], dtype=torch.float64)
    denoiser = exact.Gaussian(0.0, 0.7, variance=True)
    found = ddpm.bound_terms(chain, denoiser, clean, lattice=lattice, samples=4 * draws)
    auxiliary = variational(chain.config(), 1.0, lattice)
    for step in range(5):
        level = chain.levels[step].expand(draws)
        noise = torch.randn(draws, 2, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        many = clean.expand(draws, 2)
        bits = auxiliary(denoiser(gaussian.marginal(many, level, noise), level), level, many)
        nats = bits * math.log(2) * 2 / 5
        mine = float(nats.mean())
        theirs = float(found.reconstruction[0] if step == 0 else found.diffusion[4 - step, 0])
        error = found.reconstruction_error[0] if step == 0 else found.diffusion_error[4 - step, 0]
        assert mine == pytest.approx(
            -theirs, abs=5 * math.hypot(float(nats.std()) / draws**0.5, float(error))
        )
    # the prior's divergence, by hand
    alpha2, sigma2 = levels.alpha(chain.levels[-1]) ** 2, levels.sigma(chain.levels[-1]) ** 2
    prior = 0.5 * float(alpha2 * (0.25 + 1.0) + 2 * (sigma2 - 1 - torch.log(sigma2)))
    assert float(found.prior[0]) == pytest.approx(-prior, rel=1e-12)


@pytest.mark.parametrize(("steps", "strata"), [(None, 39), (8, 7)])
def test_the_bound_has_a_term_for_every_step_of_the_chain_or_of_the_strided_one(steps, strata):
    found = ddpm.bound_terms(ddpm_linear(40), exact.Gaussian(), torch.zeros(2, 3), steps)
    assert found.diffusion.shape == (strata, 2)
    assert bool(torch.isfinite(found.total().value).all())

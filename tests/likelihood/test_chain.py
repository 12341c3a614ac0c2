"""The bound of a chain, term by term, against its definition by quadrature on a grid."""

import math

import mpmath
import pytest
import torch

from perrin.contracts import Lattice
from perrin.denoise import exact
from perrin.denoise.prediction import Prediction
from perrin.likelihood import bounds, draws
from perrin.likelihood.bounds import bound, terms
from perrin.likelihood.transitions import rate, transition
from perrin.process import discrete, vp

TABLE = (0.97, 0.85, 0.6, 0.3, 0.05)  # alphas_cumprod of a chain of five steps, clean to noisy
CHAIN = discrete(TABLE).levels.flip(0)
NODES = torch.linspace(
    -8.5, 8.5, 401, dtype=torch.float64
)  # of standard noise: the trapezoid rule is spectral here
WEIGHTS = torch.exp(-0.5 * NODES**2) / math.sqrt(2 * math.pi) * (NODES[1] - NODES[0])

X = 0.4
LATTICE = Lattice(torch.tensor(-1.0).double(), torch.tensor(0.2).double(), 11)


def denoiser(variance=False):
    """Exact for three peaks in one dimension, so nothing here is Gaussian or linear."""
    means = torch.tensor([[-0.9], [0.1], [0.8]], dtype=torch.float64)
    return exact.Mixture(
        means, torch.tensor([0.3, 0.2, 0.4]), torch.tensor([1.0, 2.0, 1.0]), variance=variance
    )


def log_normal(x, mean, variance):
    return -0.5 * ((x - mean) ** 2 / variance + torch.log(2 * math.pi * torch.as_tensor(variance)))


def asked(z, table_value, variance):
    """(mean, variance or None) that the denoiser predicts at the states z of a step."""
    level = torch.full((len(z),), math.log(table_value / (1 - table_value)), dtype=torch.float64)
    found = denoiser(variance)(z[:, None], level)
    return found.mean[:, 0], None if found.variance is None else found.variance[:, 0]


def reverse(z_noisy, clean, a_noisy, a_clean):
    """q(z_clean | z_noisy, x = clean) by Bayes from the two forward Gaussians alone: (mean, variance).

    `a` are alphas_cumprod; the forward step is N(sqrt(a_noisy / a_clean) z, 1 - a_noisy / a_clean).
    """
    step = a_noisy / a_clean
    prior_mean, prior_variance = math.sqrt(a_clean) * clean, 1 - a_clean
    precision = 1 / prior_variance + step / (1 - step)
    return (prior_mean / prior_variance + math.sqrt(step) * z_noisy / (1 - step)) / precision, 1 / precision


def brute_force_step(a_noisy, a_clean, kind):
    """E KL of a step: a double integral of q log(q / p) over a grid, straight from the definition."""
    z = math.sqrt(a_noisy) * X + math.sqrt(1 - a_noisy) * NODES
    mean, spread = asked(z, a_noisy, kind == "learned")
    target, own = reverse(z, torch.tensor(X), a_noisy, a_clean)
    model_mean, _ = reverse(z, mean, a_noisy, a_clean)
    if kind == "marginal":
        model = 1 - a_noisy / a_clean
    elif (
        kind == "learned"
    ):  # law of total variance: the step's own, and that of its mean over the posterior of x
        per_clean = (
            reverse(z, torch.tensor(1.0), a_noisy, a_clean)[0]
            - reverse(z, torch.tensor(0.0), a_noisy, a_clean)[0]
        )
        model = own + per_clean**2 * spread
    else:
        model = own
    inner = target[:, None] + math.sqrt(own) * NODES
    model = model[:, None] if isinstance(model, torch.Tensor) else model
    log_ratio = log_normal(inner, target[:, None], own) - log_normal(inner, model_mean[:, None], model)
    return float(WEIGHTS @ (log_ratio @ WEIGHTS))


def brute_force_prior():
    a = TABLE[-1]
    z = math.sqrt(a) * X + math.sqrt(1 - a) * NODES
    ratio = log_normal(z, math.sqrt(a) * X, 1 - a) - log_normal(z, 0.0, 1.0)
    return -float(WEIGHTS @ ratio)


def brute_force_reconstruction(kind, form):
    a = TABLE[0]
    z = math.sqrt(a) * X + math.sqrt(1 - a) * NODES
    if form == "gaussian":
        return float(WEIGHTS @ log_normal(torch.tensor(X), z / math.sqrt(a), (1 - a) / a))
    if form == "lattice":
        values = torch.arange(11, dtype=torch.float64) * 0.2 - 1
        scores = log_normal(z[:, None], math.sqrt(a) * values, 1 - a)
        return float(WEIGHTS @ torch.log_softmax(scores, 1)[:, 7])
    mean, spread = asked(z, a, kind == "learned")
    std = torch.sqrt(spread) if kind == "learned" else torch.full_like(mean, math.sqrt(1 - a))
    bins = [log_bin(*pair) for pair in zip(mean.tolist(), std.tolist(), strict=True)]
    return float(WEIGHTS @ torch.tensor(bins, dtype=torch.float64))


def log_bin(mean, std):
    """log of a normal's mass in the bin of X, with fifty digits: the outermost nodes lie far in its tail."""
    with mpmath.workdps(50):
        high, low = ((mpmath.mpf(X) + side - mean) / std for side in (mpmath.mpf("0.1"), -mpmath.mpf("0.1")))
        if low > 0:
            high, low = -low, -high
        return float(mpmath.log(mpmath.ncdf(high) - mpmath.ncdf(low)))


@pytest.fixture
def on_nodes(monkeypatch):
    """`terms` with the quadrature's nodes in place of random draws: item i stands on node i in every draw."""

    def nodes(seeds, shape, dtype):
        assert len(seeds) == len(NODES)  # one draw of all items a call
        return NODES.reshape(-1, *[1] * len(shape)).to(dtype)

    def run(form, **options):
        # the control variate is for independent draws; its mean is tested where draws are
        monkeypatch.setattr(bounds, "steady", lambda values, *_: values)
        monkeypatch.setattr(draws, "normals", nodes)
        x = torch.full((len(NODES), 1), X, dtype=torch.float64)
        lattice = None if form == "gaussian" else LATTICE
        return terms(
            x=x,
            levels=CHAIN,
            seeds=range(len(x)),
            batch=len(x),
            lattice=lattice,
            reconstruction=form,
            **options,
        )

    return run


@pytest.mark.parametrize("form", ["gaussian", "lattice", "discretised"])
@pytest.mark.parametrize("kind", ["posterior", "marginal", "learned"])
def test_every_term_is_its_definition_by_quadrature(on_nodes, kind, form):
    options = {} if kind == "learned" else {"variance": kind}
    found = on_nodes(form, denoiser=denoiser(kind == "learned"), samples=8, **options)
    noisy, clean = TABLE[:0:-1], TABLE[-2::-1]
    assert found.edges.tolist() == CHAIN.tolist()
    steps = [brute_force_step(a, b, kind) for a, b in zip(noisy, clean, strict=True)]
    assert (-found.diffusion @ WEIGHTS).tolist() == pytest.approx(steps, abs=1e-6)
    assert float(found.prior @ WEIGHTS) == pytest.approx(brute_force_prior(), abs=1e-6)
    last = brute_force_reconstruction(kind, form)
    assert float(found.reconstruction @ WEIGHTS) == pytest.approx(last, abs=1e-6)
    whole = brute_force_prior() - sum(steps) + last
    assert float(found.total().value @ WEIGHTS) == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize("kind", ["posterior", "marginal", "learned"])
def test_random_draws_agree_with_the_quadrature(kind):
    count = 1500
    x = torch.full((count, 1), X, dtype=torch.float64)
    options = {} if kind == "learned" else {"variance": kind}
    found = terms(
        denoiser(kind == "learned"), x, levels=CHAIN, samples=8, seeds=range(count), batch=8192, **options
    )
    steps = [brute_force_step(a, b, kind) for a, b in zip(TABLE[:0:-1], TABLE[-2::-1], strict=True)]
    error = -found.diffusion.mean(1) - torch.tensor(steps)
    assert (error.abs() < 4 * found.diffusion.std(1) / count**0.5).all()
    ratio = found.diffusion.var(1) / found.diffusion_error.square().mean(1)
    assert ((ratio > 0.7) & (ratio < 1.4)).all()


def test_a_subset_of_a_long_chain_is_the_whole_on_average():
    """With a denoiser whose error is a constant, a step's divergence is known: 1/2 (SNR_s - SNR_t) error^2."""
    chain = discrete(vp().alpha(torch.linspace(0.001, 1, 1000)) ** 2).levels.flip(0)
    x = torch.zeros(300, 2, dtype=torch.float64)

    def off(state, level, condition=None):
        return Prediction(torch.full_like(state, 1e-3) * torch.exp(-level / 4)[:, None])

    size = 1e-6 * torch.exp(-chain[:-1] / 2) * 2
    steps = 0.5 * (chain[1:].exp() - chain[:-1].exp()) * size
    whole = terms(off, x[:1], levels=chain, samples=2 * 999)
    torch.testing.assert_close(-whole.diffusion[:, 0], steps, rtol=1e-3, atol=1e-12)
    part = terms(off, x, levels=chain, samples=64, seeds=range(300))
    assert part.diffusion.shape == (32, 300)
    assert set(part.edges.tolist()) <= set(chain.tolist())
    groups = torch.stack(
        [steps[(chain[:-1] >= a) & (chain[:-1] < b)].sum() for a, b in part.edges.unfold(0, 2, 1)]
    )
    error = -part.diffusion.mean(1) - groups
    assert (error.abs() <= 4.5 * part.diffusion.std(1) / 300**0.5 + 1e-12).all()


def on_average(function):
    """The expectation over the noise, by quadrature, of a term of one-dimensional items at X."""
    x = torch.full((len(NODES), 1), X, dtype=torch.float64)
    return float(function(x, NODES[:, None]) @ WEIGHTS)


def level(value):
    return torch.full((len(NODES),), float(value), dtype=torch.float64)


@pytest.mark.parametrize(("kind", "order"), [("posterior", 1), ("marginal", 1), ("learned", 2)])
def test_the_chain_tends_to_continuous_time_as_its_steps_shrink(kind, order):
    """In first order; in second where the model's variance is the exact one."""
    known = denoiser(kind == "learned")
    variance = "posterior" if kind == "learned" else kind
    fine = torch.linspace(-4, 6, 401, dtype=torch.float64)
    rates = torch.tensor([on_average(lambda x, e, v=v: rate(known, x, level(v), e)) for v in fine])
    integral = float(torch.trapezoid(rates, fine))

    def whole(count):
        chain = torch.linspace(-4, 6, count + 1, dtype=torch.float64)
        return sum(
            on_average(lambda x, e, a=a, b=b: transition(known, x, level(a), level(b), e, variance=variance))
            for a, b in chain.unfold(0, 2, 1)
        )

    gaps = [whole(count) - integral for count in (40, 80, 160)]
    assert abs(gaps[-1]) < 0.06
    assert [gaps[0] / gaps[1], gaps[1] / gaps[2]] == pytest.approx([2**order] * 2, rel=0.1)


def test_the_exact_variance_tightens_a_coarse_chain():
    x = 0.7 * torch.randn(200, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    truth = exact.Gaussian(0, 0.7).log_prob(x, torch.full((200,), math.inf, dtype=torch.float64)).mean()
    chain = torch.linspace(-8, 9, 6, dtype=torch.float64)
    options = {"levels": chain, "seeds": range(200)}
    learned = bound(exact.Gaussian(0, 0.7, variance=True), x, **options)
    small = bound(exact.Gaussian(0, 0.7), x, variance="posterior", **options)
    large = bound(exact.Gaussian(0, 0.7), x, variance="marginal", **options)
    assert learned.value.mean() > large.value.mean() + 0.2
    assert learned.value.mean() > small.value.mean() + 10
    # with the exact posterior of every step the chain is the data's own, however coarse
    assert (learned.value.mean() - truth).abs() < 0.02 * 6 + 2 * learned.stderr.mean() / 200**0.5


def test_a_chain_may_start_at_pure_noise():
    x = 0.7 * torch.randn(300, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    chain = torch.cat([torch.tensor([-math.inf]), torch.linspace(-6, 9, 40)]).double()
    truth = exact.Gaussian(0, 0.7).log_prob(x, torch.full((300,), math.inf, dtype=torch.float64))
    found = bound(exact.Gaussian(0, 0.7, variance=True), x, levels=chain, seeds=range(300))
    assert (found.parts["prior"] == 0).all()
    assert torch.isfinite(found.stderr).all()
    assert (found.value - truth).mean().abs() < 0.02 * 3 + 2 * found.stderr.mean() / 300**0.5

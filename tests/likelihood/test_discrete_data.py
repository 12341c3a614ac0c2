"""Integer data: probabilities on a lattice, the entropy of known distributions, eight bits of uniform noise."""

import math

import mpmath
import pytest
import torch

from perrin.contracts import Lattice
from perrin.denoise import exact
from perrin.denoise.prediction import Prediction
from perrin.errors import PerrinError
from perrin.likelihood.bounds import bound
from perrin.likelihood.gaussians import discretised_log_prob, kl
from perrin.likelihood.lattices import indices
from perrin.likelihood.reconstruction import lattice_log_prob
from perrin.process import levels


def f64(*values):
    return torch.tensor(values, dtype=torch.float64)


def lattice(count, low=-1.0, step=0.25):
    return Lattice(f64(low)[0], f64(step)[0], count)


def entrywise(denoiser):
    """The denoiser of independent entries, from that of one entry [N, 1]."""

    def whole(x, level, condition=None):
        each = denoiser(x.reshape(-1, 1), level.repeat_interleave(x[0].numel()))
        variance = None if each.variance is None else each.variance.reshape(x.shape)
        return Prediction(each.mean.reshape(x.shape), variance=variance)

    return whole


TABLE = f64(0.4, 0.02, 0.08, 0.1, 0.25, 0.15)


@pytest.mark.parametrize(
    ("form", "chain"),
    [("lattice", False), ("lattice", True), ("discretised", False), ("discretised", True)],
)
def test_the_bound_of_a_known_distribution_is_its_log_probability(form, chain):
    """Two entries that are not independent; the mean of -bound over the distribution is its entropy."""
    k = torch.cartesian_prod(torch.arange(6), torch.arange(6))
    joint = TABLE[k[:, 0]] * torch.softmax(-(k[:, 0] - k[:, 1]).double().abs(), 0)
    joint = joint / joint.sum()
    x = -1 + 0.25 * k.double()
    levels_of_chain = torch.linspace(-9, 11, 200, dtype=torch.float64) if chain else None
    times = 30
    found = bound(
        exact.Mixture(x, 0.0, joint, variance=True),
        x.repeat(times, 1),
        lattice=lattice(6),
        reconstruction=form,
        levels=levels_of_chain,
        level_range=(-9, 9),
        seeds=range(times * 36),
        batch=8192,
    )
    each, spread = found.value.reshape(times, 36), found.stderr.reshape(times, 36).square().mean(0).sqrt()
    error = each.mean(0) - joint.log()
    assert (error.abs() <= 0.02 * 2 + 4 * spread / times**0.5).all()
    entropy = -(joint * joint.log()).sum()
    of_entropy = ((joint * spread) ** 2).sum().sqrt() / times**0.5
    assert of_entropy < 0.04
    assert (joint @ error).abs() < 0.02 * 2 + 2 * of_entropy
    assert entropy == pytest.approx(2.9, abs=0.5)


def test_uniform_noise_of_eight_bits_has_eight_bits_per_dimension():
    pixels = Lattice(f64(-1.0)[0], f64(1 / 127.5)[0], 256)
    values = -1 + torch.arange(256, dtype=torch.float64) / 127.5
    generator = torch.Generator().manual_seed(0)
    x = values[torch.randint(256, (40, 1, 4, 4), generator=generator)]
    denoiser = entrywise(exact.Empirical(values[:, None]))
    found = bound(denoiser, x, lattice=pixels, seeds=range(40))
    bits = found.bits_per_dimension(16)
    spread = float(found.stderr.square().sum().sqrt()) / 40 / 16 / math.log(2)
    assert spread < 0.03
    assert float(bits.mean()) == pytest.approx(8, abs=2.5 * spread + 0.01)


def test_entries_with_lattices_of_their_own():
    """Per-feature scaling: each entry has its own low, step and count."""
    own = Lattice(f64(-1.0, 0.5), f64(0.5, 0.1), torch.tensor([3, 5]))
    k = torch.cartesian_prod(torch.arange(3), torch.arange(5))
    x = f64(-1.0, 0.5) + f64(0.5, 0.1) * k
    found = bound(exact.Empirical(x), x.repeat(8, 1), lattice=own, seeds=range(120), samples=256, batch=4096)
    assert (found.value + math.log(15)).mean().abs() < 0.02 * 2 + 2 * found.stderr.mean() / 120**0.5
    assert torch.equal(indices(x.float(), own), k.double())


def test_leaves_with_and_without_a_lattice():
    values = f64(-1.0, -0.5, 0.0, 0.5)
    points, normal = exact.Empirical(values[:, None]), exact.Gaussian(0.3, 0.7)
    generator = torch.Generator().manual_seed(0)
    x = {
        "count": values[torch.arange(80) % 4][:, None],
        "place": 0.3 + 0.7 * torch.randn(80, 3, dtype=torch.float64, generator=generator),
    }

    def denoiser(state, level, condition=None):
        return Prediction(
            {"count": points(state["count"], level).mean, "place": normal(state["place"], level).mean}
        )

    found = bound(denoiser, x, lattice={"count": lattice(4, step=0.5)}, seeds=range(80))
    infinite = torch.full((80,), math.inf, dtype=torch.float64)
    error = found.value - (normal.log_prob(x["place"], infinite) - math.log(4))
    assert error.mean().abs() < 0.02 * 4 + 2 * found.stderr.mean() / 80**0.5
    with pytest.raises(PerrinError, match=r"lattices are named \['number'\]"):
        bound(denoiser, x, lattice={"number": lattice(4)})


@pytest.mark.parametrize("level", [-2.0, 1.0, 4.0, 12.4])
def test_the_lattice_factor_is_bayes_rule_over_all_values(level):
    """Summing nearby values alone loses nothing; the shares of all values add up to one."""
    pixels = lattice(101, step=0.02)
    values = -1 + 0.02 * torch.arange(101, dtype=torch.float64)
    z = torch.linspace(-1.5, 1.5, 67, dtype=torch.float64)[:, None] * levels.alpha(level)
    scores = -0.5 * ((z - levels.alpha(level) * values) / levels.sigma(level)) ** 2
    expected = torch.log_softmax(scores, 1)
    found = lattice_log_prob(values.expand(67, 101), z.expand(67, 101), level, pixels)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert found.exp().sum(1).tolist() == pytest.approx([1.0] * 67, abs=1e-12)


@pytest.mark.parametrize("std", [1e-3, 0.02, 0.3, 5.0])
@pytest.mark.parametrize("mean", [-3.0, -0.98, 0.013, 1.7])
def test_the_discretised_gaussian_is_right_into_its_tails(mean, std):
    bins = lattice(9)
    x = -1 + 0.25 * torch.arange(9, dtype=torch.float64)
    found = discretised_log_prob(x, f64(mean), f64(std), bins)
    for k, nats in enumerate(found.tolist()):
        with mpmath.workdps(60):
            low = (mpmath.mpf(float(x[k])) - 0.125 - mpmath.mpf(mean)) / mpmath.mpf(std)
            high = (mpmath.mpf(float(x[k])) + 0.125 - mpmath.mpf(mean)) / mpmath.mpf(std)
            low, high = (-mpmath.inf if k == 0 else low), (mpmath.inf if k == 8 else high)
            if low > 0:
                low, high = -high, -low
            mass = mpmath.erfc(-high / mpmath.sqrt(2)) / 2 - mpmath.erfc(-low / mpmath.sqrt(2)) / 2
            assert nats == pytest.approx(float(mpmath.log(mass)), rel=1e-9, abs=1e-12)
    assert float(found.exp().sum()) == pytest.approx(1, abs=1e-12)


def test_the_discretised_gaussian_has_finite_gradients_everywhere():
    bins = lattice(9)
    x = (-1 + 0.25 * torch.arange(9)).expand(40, 9)
    mean = torch.linspace(-40, 40, 40)[:, None].requires_grad_()
    log_std = torch.linspace(-6, 4, 9).requires_grad_()
    found = discretised_log_prob(x, mean, log_std.exp(), bins)
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(mean.grad).all()
    assert torch.isfinite(log_std.grad).all()
    near = torch.tensor([[0.1]], dtype=torch.float64, requires_grad=True)
    spread = torch.tensor([[0.3]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda m, s: discretised_log_prob(x[:1].double(), m, s, bins), (near, spread)
    )


def test_the_divergence_of_gaussians_is_that_of_torch():
    m, v, n, w = torch.rand(4, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.01
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(m, v.sqrt()), normal(n, w.sqrt()))
    torch.testing.assert_close(kl(m, v, n, w), expected, rtol=1e-11, atol=1e-13)
    # nearly equal variances: e^2 / 4, which a difference of logarithms would lose
    assert float(kl(f64(0), f64(1 + 1e-7), f64(0), f64(1))) == pytest.approx(1e-14 / 4, rel=1e-2)


def test_states_off_their_lattice_are_refused():
    x = f64(-1.0, -0.75, 0.25)[:, None]
    assert indices(x, lattice(6)).flatten().tolist() == [0, 1, 5]
    for wrong in (0.3, 0.5, -1.25):
        with pytest.raises(PerrinError, match="1 of 3 entries are not on the data's lattice") as error:
            bound(exact.Gaussian(), torch.cat([x[:2], f64(wrong)[:, None]]), lattice=lattice(6))
        assert "\n" not in str(error.value)

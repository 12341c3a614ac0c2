"""Dequantisation: exact where the density is flat over bins, Jensen's gap where it is not, smaller when learned."""

import functools
import math

import pytest
import torch

from perrin.contracts import Lattice
from perrin.denoise import exact
from perrin.denoise.prediction import Prediction
from perrin.errors import PerrinError
from perrin.likelihood.bounds import bound
from perrin.likelihood.dequantisation import dequantised, uniform
from perrin.likelihood.gaussians import discretised_log_prob
from perrin.likelihood.result import LogProb
from perrin.likelihood.variational_dequantisation import Dequantiser, fit_dequantiser
from perrin.nets.residual_mlp import MLP
from perrin.process import levels

STEP = 0.25
TABLE = torch.tensor([0.5, 0.1, 0.15, 0.25], dtype=torch.float64)
LATTICE = Lattice(*torch.tensor([-0.5, STEP], dtype=torch.float64), 4)


def states(k):
    return -0.5 + STEP * k.double()


def exactly(log_density, stderr=0.0):
    """A density that is known in closed form, with the noise of an estimate where asked for."""

    def density(x, *, seeds):
        value = log_density(x)
        noise = [torch.Generator().manual_seed(seed[0] % 2**31 + seed[1]) for seed in seeds]
        jitter = torch.stack([torch.randn((), generator=g, dtype=torch.float64) for g in noise])
        error = torch.full_like(value, stderr)
        value = value + stderr * jitter
        return LogProb(value, error, torch.isfinite(value), {"density": value}, 1)

    return density


def steps_density(x):
    """Flat over each bin, P(k) / step high: entries independent."""
    k = ((x + 0.5) / STEP).round().long()
    return torch.log(TABLE[k] / STEP).flatten(1).sum(1)


def test_a_density_that_is_flat_over_bins_gives_the_probability_exactly():
    k = torch.randint(4, (20, 3, 2), generator=torch.Generator().manual_seed(0))
    found = dequantised(exactly(steps_density), states(k), LATTICE)
    torch.testing.assert_close(found.value, TABLE[k].log().flatten(1).sum(1), rtol=0, atol=1e-12)
    assert found.stderr.max() < 1e-12
    torch.testing.assert_close(sum(found.parts.values()), found.value)
    assert found.parts["volume of a bin"].tolist() == pytest.approx([6 * math.log(STEP)] * 20)


def test_the_mean_over_the_lattice_is_the_entropy_of_known_data():
    k = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    weights = TABLE[k].prod(1)
    found = dequantised(exactly(steps_density), states(k), LATTICE)
    entropy = -2 * float((TABLE * TABLE.log()).sum())
    assert -float((weights * found.value).sum()) == pytest.approx(entropy, abs=1e-12)


def test_a_smooth_density_gives_its_mean_logarithm_over_the_bin_and_the_error_says_so():
    """log N over a bin: its mean is known, lies below the bin's log mass, and is met within the stated errors."""
    data = exact.Gaussian(0.0, 0.3)
    wide = Lattice(*torch.tensor([-1.0, STEP], dtype=torch.float64), 9)
    x = (-1 + STEP * (torch.arange(3000) % 9))[:, None].double()
    infinite = torch.full((3000,), math.inf, dtype=torch.float64)
    found = dequantised(exactly(lambda v: data.log_prob(v, infinite)), x, wide, draws=8, seeds=range(3000))
    truth = data.log_prob(x, infinite) - STEP**2 / 24 / 0.09 + math.log(STEP)
    error = found.value - truth
    assert error.mean().abs() < 4 * found.stderr.square().mean().sqrt() / 3000**0.5
    assert error.square().mean() / found.stderr.square().mean() == pytest.approx(1, abs=0.1)
    inner = discretised_log_prob(x, torch.zeros(1), torch.full((1,), 0.3, dtype=torch.float64), wide)[:, 0]
    assert (truth < inner).all()


def test_the_density_s_own_error_is_part_of_the_error():
    k = torch.zeros(2000, 1).long()
    for draws in (2, 16):
        density = exactly(steps_density, stderr=0.3)
        found = dequantised(density, states(k), LATTICE, draws=draws, seeds=range(2000))
        error = found.value - TABLE[0].log()
        assert error.std() == pytest.approx(0.3 / draws**0.5, rel=0.07)
        # never below what the density says, so a little above on average
        assert (found.stderr >= 0.3 / draws**0.5 - 1e-12).all()
        assert found.stderr.square().mean().sqrt() < 1.25 * 0.3 / draws**0.5


def flat_denoiser(low, high):
    """Exact for independent entries uniform on an interval: the mean of a truncated normal."""

    def denoiser(x, level, condition=None):
        shape = (-1, *[1] * (x.dim() - 1))
        centre = x / levels.alpha(level).reshape(shape)
        std = levels.ratio(level).reshape(shape)
        a, b = (low - centre) / std, (high - centre) / std
        flip = a + b < 0  # to the side where both tails are small numbers
        a, b = torch.where(flip, -b, a), torch.where(flip, -a, b)
        low_mass, high_mass = torch.special.log_ndtr(-a), torch.special.log_ndtr(-b)
        log_mass = low_mass + torch.log(-torch.expm1(high_mass - low_mass))
        slope = torch.exp(-0.5 * a**2 - log_mass) - torch.exp(-0.5 * b**2 - log_mass)
        mean = centre + std * torch.where(flip, -slope, slope) / math.sqrt(2 * math.pi)
        return Prediction(mean.clamp(low, high))

    return denoiser


def test_uniform_noise_of_eight_bits_has_eight_bits_by_the_bound_of_a_continuous_model():
    pixels = Lattice(*torch.tensor([-1.0, 1 / 127.5], dtype=torch.float64), 256)
    generator = torch.Generator().manual_seed(0)
    x = -1 + torch.randint(256, (60, 1, 4, 4), generator=generator).double() / 127.5
    density = functools.partial(bound, flat_denoiser(-1 - 1 / 255, 1 + 1 / 255))
    found = dequantised(density, x, pixels, draws=2)
    bits = found.bits_per_dimension(16)
    spread = float(found.stderr.square().sum().sqrt()) / 60 / 16 / math.log(2)
    assert spread < 0.02
    assert float(bits.mean()) == pytest.approx(8, abs=2.5 * spread + 0.02)
    assert set(found.parts) == {"prior", "diffusion", "reconstruction", "dequantisation", "volume of a bin"}


def test_leaves_without_a_lattice_stay_as_they_are():
    x = {"count": states(torch.arange(4))[:, None], "place": torch.randn(4, 2, dtype=torch.float64)}
    seen = []

    def density(state, *, seeds):
        seen.append(state["place"])
        return exactly(steps_density)(state["count"], seeds=seeds)

    found = dequantised(density, x, {"count": LATTICE})
    torch.testing.assert_close(found.value, TABLE.log())
    assert all(torch.equal(place, x["place"]) for place in seen)


def test_an_item_alone_is_the_item_in_a_batch():
    x = states(torch.randint(4, (6, 3), generator=torch.Generator().manual_seed(0)))
    density = functools.partial(bound, exact.Gaussian(0.0, 0.4), samples=8)
    for seeds, own in ((range(6), [4]), (None, None)):
        together = dequantised(density, x, LATTICE, seeds=seeds)
        alone = dequantised(density, x[4:5], LATTICE, seeds=own)
        torch.testing.assert_close(alone.value[0], together.value[4], rtol=1e-12, atol=1e-12)


def test_an_item_that_did_not_converge_stays_without_a_number():
    def density(x, *, seeds):
        value = torch.tensor([0.0, math.nan], dtype=torch.float64)
        return LogProb(value, torch.zeros_like(value), torch.isfinite(value), {"density": value}, 1)

    found = dequantised(density, states(torch.zeros(2, 1)), LATTICE)
    assert found.converged.tolist() == [True, False]
    assert torch.isnan(found.value[1])


@pytest.mark.parametrize(
    ("lattice", "x", "draws", "message"),
    [
        (None, torch.zeros(2, 3), 4, "these data are continuous"),
        (LATTICE, torch.full((2, 3), 0.1), 4, "not on the data's lattice"),
        (LATTICE, torch.zeros(2, 3), 1, "draws = 1"),
    ],
)
def test_bad_input_is_refused_in_one_line(lattice, x, draws, message):
    with pytest.raises(PerrinError, match=message) as error:
        dequantised(exactly(steps_density), x, lattice, draws=draws)
    assert "\n" not in str(error.value)


class Fixed(torch.nn.Module):
    """A network whose output is its parameters: m and log s of every entry."""

    def __init__(self, m, log_s):
        super().__init__()
        self.values = torch.nn.Parameter(torch.tensor([[m, log_s]], dtype=torch.float64))

    def forward(self, x, time, condition):
        return self.values.expand(len(x), 2)


@pytest.mark.parametrize(("m", "log_s"), [(0.0, 0.0), (0.7, -0.9), (-1.5, 0.2)])
def test_the_learned_law_is_a_density(m, log_s):
    """The distribution function of u, from w, has the stated density as its slope."""
    law = Dequantiser(Fixed(m, log_s))
    w = torch.linspace(1e-4, 1 - 1e-4, 9999, dtype=torch.float64)[:, None]
    u, log_q = law(torch.zeros_like(w), {"": w})
    place = u[""][:, 0].detach()
    assert (place.diff() > 0).all()
    density = log_q.exp().detach()
    inside = torch.trapezoid(density, place)
    assert float(inside) == pytest.approx(float(w[-1] - w[0]), abs=2e-4)
    if (m, log_s) == (0.0, 0.0):
        torch.testing.assert_close(u[""], uniform(torch.zeros_like(w), {"": w})[0][""], rtol=0, atol=1e-12)
        assert log_q.abs().max() < 1e-12


def test_the_learned_law_is_better_than_the_uniform_one_where_bins_are_not_flat():
    """A model whose mass lies off the middle of its bins and within a third of them: uniform u pays for the rest."""
    values = states(torch.arange(4))[:, None]
    shift, std = 0.2 * STEP, 0.15 * STEP
    denoiser = exact.Mixture(values + shift, std, TABLE)
    data = states(torch.multinomial(TABLE, 64 * 200, True, generator=torch.Generator().manual_seed(0)))
    batches = data.reshape(200, 64, 1)
    torch.manual_seed(0)
    law = Dequantiser(MLP((1,), out_shape=(2,), width=16, blocks=1))
    losses = fit_dequantiser(
        law, denoiser, lambda step: (batches[step], None), LATTICE, steps=200, learning_rate=3e-2
    )
    assert len(losses) == 200
    infinite = torch.full((64,), math.inf, dtype=torch.float64)
    density = exactly(lambda v: denoiser.log_prob(v, infinite[: len(v)]))
    x = batches[0]
    flat = dequantised(density, x, LATTICE, draws=64)
    learned = dequantised(density, x, LATTICE, draws=64, law=law)
    truth = torch.log(TABLE[((x[:, 0] + 0.5) / STEP).round().long()])
    gap_flat, gap_learned = (truth - flat.value).mean(), (truth - learned.value).mean()
    assert gap_flat > 1.0
    assert -0.05 < gap_learned < 0.2
    torch.testing.assert_close(sum(learned.parts.values()), learned.value)


def test_fitting_leaves_the_denoiser_untouched_and_repeats():
    net = torch.nn.Linear(1, 1)

    def denoiser(x, level, condition=None):
        return Prediction(net(x))

    x = states(torch.arange(4))[:, None].float()

    def run():
        torch.manual_seed(0)
        law = Dequantiser(MLP((1,), out_shape=(2,), width=8, blocks=1))
        return fit_dequantiser(law, denoiser, lambda step: (x, None), LATTICE, steps=5)

    assert run() == run()
    assert net.weight.grad is None


def test_a_learned_law_refuses_named_leaves():
    x = {"a": states(torch.zeros(2, 1))}
    with pytest.raises(PerrinError, match="tensor states"):
        dequantised(exactly(steps_density), x, {"a": LATTICE}, law=Dequantiser(Fixed(0.0, 0.0)))

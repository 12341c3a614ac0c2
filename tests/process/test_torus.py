"""Wrapped normal noise on a torus against sums of many digits, finite differences, integrals and lattices of chances."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch

from perrin.process.heat import CIRCLE, MEETING
from perrin.process.levels import level_of_ratio
from perrin.process.torus import Torus, wrap

INF = math.inf
TORUS = Torus()
SPREADS = [1e-3, 0.05, 0.3, 0.8, 0.999, MEETING, 1.001, 1.6, 2.5, 4.0, 8.0]
ANGLES = [1e-9, 1e-4, 1.2e-4, 0.01, 0.5, 1.7, 3.0, 3.1415, -0.3, -3.1]


def levels(*spreads):
    return level_of_ratio(torch.tensor(spreads, dtype=torch.float64))


def lattice(count):
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


def around(count):
    """Angles at even steps, for sums that are integrals over a period."""
    return 2 * math.pi * lattice(count) - math.pi


def by_images(angle, s):
    """(log q, s^2 d log q / d angle) with 50 digits."""
    with mpmath.workdps(50):
        images = [mpmath.mpf(angle) + 2 * mpmath.pi * k for k in range(-40, 41)]
        terms = [mpmath.npdf(w, 0, s) for w in images]
        total = mpmath.fsum(terms)
        way = mpmath.fsum(-w * q for w, q in zip(images, terms, strict=True)) / total
        return float(mpmath.log(total)), float(way)


@pytest.mark.parametrize("s", SPREADS)
def test_density_and_displacement_are_those_of_the_sum_over_all_images(s):
    x = torch.tensor([ANGLES], dtype=torch.float64)
    clean = torch.zeros_like(x)
    right = [by_images(angle, s) for angle in ANGLES]
    wanted, way = torch.tensor(right, dtype=torch.float64).T[:, None]
    torch.testing.assert_close(TORUS.log_density(x, clean, levels(s)), wanted, rtol=1e-13, atol=1e-14)
    found = TORUS.displacement(x, clean, levels(s))
    torch.testing.assert_close(found, way, rtol=2e-12, atol=1e-14 * min(1.0, float(way.abs().max())))


@pytest.mark.parametrize("s", SPREADS)
def test_the_displacement_is_the_slope_of_the_log_density(s):
    x, clean, h = around(60)[None], torch.full((1, 60), 0.4, dtype=torch.float64), 1e-4 * min(s, 1.0)
    rise = TORUS.log_density(x + h, clean, levels(s)) - TORUS.log_density(x - h, clean, levels(s))
    found, right = TORUS.displacement(x, clean, levels(s)), s**2 * rise / (2 * h)
    torch.testing.assert_close(found, right, rtol=1e-6, atol=1e-7 * s * min(s, 1))


@pytest.mark.parametrize("s", SPREADS)
def test_the_density_integrates_to_one(s):
    count = 40_000
    q = TORUS.log_density(around(count)[None], torch.full((1, 1), 1.0), levels(s)).exp()
    assert float(q.sum()) * 2 * math.pi / count == pytest.approx(1, abs=1e-12)


def test_images_and_waves_agree_where_they_meet():
    x, clean = around(500)[None], torch.zeros(1, 500, dtype=torch.float64)
    for quantity in (TORUS.log_density, TORUS.displacement):
        sides = [quantity(x, clean, levels(MEETING * (1 + side))) for side in (-1e-15, 1e-15)]
        torch.testing.assert_close(*sides, rtol=1e-13, atol=2e-14)


@pytest.mark.parametrize("s", [1e-3, 0.2, 1.0, 2.0, 30.0])
def test_noise_has_the_density(s):
    """Of a lattice of chances every arc of the circle gets its share."""
    count, arcs = 40_000, 400
    x = TORUS.noised(torch.full((1, count), 2.9, dtype=torch.float64), levels(s), lattice(count)[None])
    assert float(x.abs().max()) <= math.pi
    found = torch.histc(x, arcs, -math.pi, math.pi) / count
    fine = around(arcs * 200)[None]
    q = TORUS.log_density(fine, torch.full((1, 1), 2.9), levels(s)).exp()
    right = q.reshape(arcs, 200).sum(1) * 2 * math.pi / fine.numel()
    assert float((found - right).abs().max()) < 12 / count + (0.02 if s < 0.01 else 0)


def test_noise_twice_is_noise_once_of_both_variances():
    first, second, c = 0.7, 1.1, 0.6
    u, v = (g.flatten()[None] for g in torch.meshgrid(lattice(300), lattice(300), indexing="ij"))
    x = TORUS.noised(TORUS.noised(torch.full_like(u, c), levels(first), u), levels(second), v)
    for m in range(1, 5):
        for wave in (torch.cos, torch.sin):
            right = math.exp(-0.5 * m**2 * (first**2 + second**2)) * float(wave(torch.tensor(m * c).double()))
            assert float(wave(m * x).mean()) == pytest.approx(right, abs=5e-4)


def test_densities_of_heat_fold_into_one():
    """Chapman and Kolmogorov on the circle, over the seam and from images to waves."""
    mid = around(2000)[None]
    first = TORUS.log_density(mid, torch.full((1, 1), 2.5), levels(0.6))
    second = TORUS.log_density(torch.full((1, 1), -2.0), mid, levels(0.9))
    found = (first + second).exp().sum() * 2 * math.pi / 2000
    at_once = TORUS.log_density(
        torch.full((1, 1), -2.0), torch.full((1, 1), 2.5), levels(math.hypot(0.6, 0.9))
    )
    assert float(found) == pytest.approx(float(at_once.exp()), rel=1e-12)


def test_the_noise_end_is_uniform_and_the_clean_end_is_clean():
    clean, u = torch.tensor([[0.3, -3.1, 1e-7]]), torch.tensor([[0.2, 0.9, 0.5]], dtype=torch.float64)
    ends = torch.tensor([-INF], dtype=torch.float64), torch.tensor([INF], dtype=torch.float64)
    assert torch.equal(TORUS.noised(clean, ends[1], u), clean)
    x = TORUS.noised(clean, torch.zeros(1, dtype=torch.float64), u)
    torch.testing.assert_close(TORUS.displacement(x, clean, ends[1]), TORUS.log(x, clean))
    for level in (*levels(9.0, 50.0, 1e30), *ends[:1]):
        q = TORUS.log_density(x.double(), clean, level[None])
        torch.testing.assert_close(q, torch.full_like(q, -math.log(2 * math.pi)), rtol=0, atol=1e-15)
    assert float(TORUS.displacement(x, clean, ends[0]).abs().max()) < 1e-14
    assert float(TORUS.rms(ends[1])[0]) == 0
    spun = TORUS.noised(torch.full((1, 2000), 1.0), ends[0], lattice(2000)[None])
    assert float((torch.histc(spun, 50, -math.pi, math.pi) - 40).abs().max()) <= 8
    torch.testing.assert_close(TORUS.prior(lattice(10)), around(10))


def test_rms_is_that_of_the_displacement_under_its_noise():
    s = torch.logspace(-3, math.log10(9), 40, dtype=torch.float64)
    level = level_of_ratio(s)
    for one, found in zip(level, TORUS.rms(level), strict=True):
        x = around(60_000)[None]
        clean = torch.zeros(1, 1, dtype=torch.float64)
        q = TORUS.log_density(x, clean, one[None]).exp()
        right = ((q * TORUS.displacement(x, clean, one[None]).square()).sum() * 2 * math.pi / 60_000).sqrt()
        assert float(found) == pytest.approx(float(right), rel=1e-4)


def test_displacement_over_rms_is_of_order_one_in_float32_at_all_levels():
    count = 4000
    for level in (-60.0, -10.0, -5.0, 0.0, 6.0, 25.0):
        at = torch.tensor([level], dtype=torch.float64)
        clean = torch.zeros(1, count)  # near 0 float32 angles hold any noise
        x = TORUS.noised(clean, at, lattice(count)[None])
        ratio = TORUS.displacement(x, clean, at) / TORUS.rms(at).float()
        assert ratio.dtype == torch.float32
        assert float(ratio.square().mean()) == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_step_leads_where_the_logarithm_says(dtype):
    x = around(40).to(dtype)[None].expand(40, -1)
    y = x.T
    v = TORUS.log(x, y)
    assert v.dtype == dtype
    assert float(v.abs().max()) <= math.pi + 1e-6
    close = torch.finfo(dtype).eps * 8
    assert float(TORUS.log(TORUS.exp(x, v), y).abs().max()) < close
    assert torch.equal(TORUS.exp(x, torch.zeros_like(x)), x)
    assert torch.equal(wrap(wrap(7 * x)), wrap(7 * x))


def test_an_item_is_a_function_of_its_own_level():
    generator = torch.Generator().manual_seed(1)
    level = torch.linspace(-8, 12, 41, dtype=torch.float64)
    u = torch.rand(41, 7, generator=generator, dtype=torch.float64)
    clean = TORUS.prior(torch.rand(41, 7, generator=generator, dtype=torch.float64)).float()
    x = TORUS.noised(clean, level, u)
    together = TORUS.displacement(x, clean, level), TORUS.rms(level), TORUS.log_density(x, clean, level)
    for i in range(41):
        one = slice(i, i + 1)
        assert torch.equal(TORUS.noised(clean[one], level[one], u[one]), x[one])
        alone = (
            TORUS.displacement(x[one], clean[one], level[one]),
            TORUS.rms(level[one]),
            TORUS.log_density(x[one], clean[one], level[one]),
        )
        for a, b in zip(alone, together, strict=True):
            assert torch.equal(a, b[one])


def test_it_says_what_it_is():
    assert TORUS.config() == {"name": "torus"}
    assert TORUS.places((3, 4)) == (3, 4)
    assert Torus() == TORUS
    assert (CIRCLE.dimensions, CIRCLE.widest) == (1, 9.0)

"""IGSO(3) noise against sums of many digits, finite differences, integrals and characters; geometry near 0 and pi."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch

from perrin.errors import PerrinError
from perrin.process.heat import MEETING, ROTATIONS
from perrin.process.levels import level_of_ratio
from perrin.process.rotations import Rotations, turned, vector

INF = math.inf
SPACE = Rotations()
SPREADS = [1e-3, 0.05, 0.3, 0.8, 0.999, MEETING, 1.001, 1.6, 2.5, 4.0]
ANGLES = [1e-9, 1e-4, 1.2e-4, 0.01, 0.0999, 0.1001, 0.5, 1.7, 3.0, 3.1415]
EYE = torch.eye(3, dtype=torch.float64)


def levels(*spreads):
    return level_of_ratio(torch.tensor(spreads, dtype=torch.float64))


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotations(*shape, seed=0):
    return SPACE.prior(random(*shape, 3, seed=seed))


def lattice(count):
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


def angle_of(x):
    return vector(x).norm(dim=-1)


def by_waves(angle, s):
    """(log q, s^2 d log q / d angle) by the sum over l, with digits enough for its cancellations."""
    with mpmath.workdps(60):
        w, count = mpmath.mpf(angle), int(12 / s) + 12
        sine, cosine = mpmath.sin(w / 2), mpmath.cos(w / 2)
        total = slope = mpmath.mpf(0)
        for l in range(count):
            weight = (2 * l + 1) * mpmath.exp(-l * (l + 1) * mpmath.mpf(s) ** 2 / 2)
            n = l + mpmath.mpf(1) / 2
            total += weight * mpmath.sin(n * w) / sine
            slope += weight * (n * mpmath.cos(n * w) * sine - mpmath.sin(n * w) * cosine / 2) / sine**2
        return float(mpmath.log(total)), float(mpmath.mpf(s) ** 2 * slope / total)


@pytest.mark.parametrize("s", [0.3, 0.8, 0.999, MEETING, 1.001, 1.6, 2.5, 4.0])
def test_density_and_displacement_are_those_of_the_sum_over_all_l(s):
    angle = torch.tensor(ANGLES, dtype=torch.float64)
    axis = torch.tensor([1.0, -2.0, 2.0], dtype=torch.float64) / 3
    x, clean = turned(angle[:, None] * axis)[None], EYE
    log_q, way = torch.tensor([by_waves(w, s) for w in ANGLES], dtype=torch.float64).T
    torch.testing.assert_close(SPACE.log_density(x, clean, levels(s))[0], log_q, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(
        SPACE.displacement(x, clean, levels(s))[0], way[:, None] * axis, rtol=1e-9, atol=1e-14
    )
    # without the rounding of matrices
    pull = ROTATIONS.pull(angle, torch.tensor(s, dtype=torch.float64))
    torch.testing.assert_close(-pull * angle, way, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("s", SPREADS)
def test_the_displacement_is_the_slope_of_the_log_density(s):
    """Along the three axes of the body frame, at uniform places and at noisy ones."""
    clean, h = rotations(40), 1e-4 * min(s, 1.0)
    near = SPACE.noised(clean[None], levels(s), random(1, 40, 3, seed=3))
    for x in (near, rotations(1, 40, seed=4)):
        found = SPACE.displacement(x, clean, levels(s))
        for axis in range(3):
            ends = (SPACE.exp(x, (h * side * EYE[axis]).expand(1, 40, 3)) for side in (1, -1))
            up, down = (SPACE.log_density(end, clean, levels(s)) for end in ends)
            slope = s**2 * (up - down) / (2 * h)
            close = 2e-6 * s * min(s, 1) + 1e-8 * float(
                found.abs().max()
            )  # logarithms of 1e6 have few digits left
            torch.testing.assert_close(found[..., axis], slope, rtol=1e-5, atol=close)


@pytest.mark.parametrize("s", SPREADS)
def test_the_density_integrates_to_one(s):
    angle = torch.linspace(0, min(math.pi, 12 * s), 4001, dtype=torch.float64)
    q = ROTATIONS.log_density(angle, torch.tensor(s, dtype=torch.float64)).exp() * ROTATIONS.measure(angle)
    assert float(torch.trapezoid(q, angle)) == pytest.approx(1, abs=1e-12)


def test_images_and_waves_agree_where_they_meet():
    angle = torch.linspace(0, math.pi, 500, dtype=torch.float64)
    sides = [torch.tensor(MEETING * (1 + side), dtype=torch.float64) for side in (-1e-15, 1e-15)]
    for quantity in (ROTATIONS.log_density, ROTATIONS.pull):
        torch.testing.assert_close(*(quantity(angle, s) for s in sides), rtol=1e-13, atol=2e-14)


@pytest.mark.parametrize("s", [1e-4, 0.2, 0.7, 1.5, 30.0])
def test_noise_has_the_density(s):
    """Of a lattice of chances every interval of angles gets its share, and every axis."""
    count, parts = 40_000, 200
    u = torch.stack([lattice(count), (lattice(count) * 12345) % 1, (lattice(count) * 77773) % 1], -1)[None]
    v = vector(SPACE.exp(EYE, torch.zeros(3)).mT @ SPACE.noised(EYE.expand(1, count, 3, 3), levels(s), u))[0]
    angle, top = v.norm(dim=-1), min(math.pi, 6 * s)
    found = torch.histc(angle, parts, 0, top) / count
    fine = torch.linspace(0, top, parts * 100 + 1, dtype=torch.float64)
    q = ROTATIONS.log_density(fine, torch.tensor(s, dtype=torch.float64)).exp() * ROTATIONS.measure(fine)
    arcs = torch.cumulative_trapezoid(q, fine)[99::100]
    right = torch.diff(torch.nn.functional.pad(arcs, (1, 0)))
    assert float((found - right).abs().max()) < 1.2e-4
    axis = v / angle[:, None]
    torch.testing.assert_close(axis.mT @ axis / count, EYE / 3, rtol=0, atol=3e-3)
    torch.testing.assert_close(axis.mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=3e-3)


@pytest.mark.parametrize("s", [1e-4, 0.3, 1.0, 2.0, 30.0])
def test_angles_are_quantiles(s):
    """The distribution function at every angle is the chance that it was drawn by, to 5e-5."""
    count, top = 4000, min(math.pi, 9 * s)
    u = torch.stack([lattice(count), *torch.full((2, count), 0.4, dtype=torch.float64)], -1)[None]
    angle = angle_of(SPACE.noised(EYE.expand(1, count, 3, 3), levels(s), u))[0]
    fine = torch.linspace(0, top, 100_001, dtype=torch.float64)
    q = ROTATIONS.log_density(fine, torch.tensor(s, dtype=torch.float64)).exp() * ROTATIONS.measure(fine)
    total = torch.nn.functional.pad(torch.cumulative_trapezoid(q, fine), (1, 0))
    place = angle * (len(fine) - 1) / top
    i = place.long().clamp(max=len(fine) - 2)
    found = torch.lerp(total[i], total[i + 1], place - i)
    torch.testing.assert_close(found, lattice(count), rtol=0, atol=5e-5)


def test_for_small_s_the_rotation_vector_is_normal_with_that_deviation():
    s, count = 1e-3, 100_000
    clean = rotations(1).expand(1, count, 3, 3)
    v = SPACE.log(clean, SPACE.noised(clean, levels(s), random(1, count, 3)))[0] / s
    torch.testing.assert_close(v.mT @ v / count, EYE, rtol=0, atol=0.02)
    for axis in range(3):  # Kolmogorov and Smirnov
        found = torch.special.ndtr(v[:, axis].sort().values)
        assert float((found - lattice(count)).abs().max()) < 1.6 / math.sqrt(count)


def test_noise_twice_is_noise_once_of_both_variances():
    """By the representations l = 1 and l = 2, of which heat keeps e^{-l(l+1) s^2 / 2}."""
    first, second, count = 0.5, 0.8, 100_000
    clean = rotations(1)
    x = SPACE.noised(clean.expand(1, count, 3, 3), levels(first), random(1, count, 3, seed=1))
    x = SPACE.noised(x, levels(second), random(1, count, 3, seed=2))[0]
    total = first**2 + second**2
    torch.testing.assert_close(x.mean(0), math.exp(-total) * clean[0], rtol=0, atol=4 / math.sqrt(count))
    angle = angle_of(clean[0].mT @ x)
    for l in (1, 2, 3):
        character = torch.sin((l + 0.5) * angle) / torch.sin(0.5 * angle)
        error = float(character.std()) / math.sqrt(count)
        right = (2 * l + 1) * math.exp(-l * (l + 1) * total / 2)
        assert float(character.mean()) == pytest.approx(right, abs=3.5 * error)


def test_the_noise_end_is_uniform_and_the_clean_end_is_clean():
    clean, count = rotations(1, 5).float(), 60_000
    ends = torch.tensor([-INF], dtype=torch.float64), torch.tensor([INF], dtype=torch.float64)
    still = SPACE.noised(clean, ends[1], random(1, 5, 3))
    torch.testing.assert_close(still, clean, rtol=0, atol=2e-7)
    x = SPACE.noised(clean, levels(1.0), random(1, 5, 3))
    torch.testing.assert_close(SPACE.displacement(x, clean, ends[1]), SPACE.log(x, clean))
    for level in (*levels(6.5, 50.0, 1e30), *ends[:1]):
        assert float(SPACE.log_density(x, clean, level[None]).abs().max()) < 1e-15
    assert float(SPACE.displacement(x, clean, ends[0]).abs().max()) < 1e-14
    assert float(SPACE.rms(ends[1])[0]) == 0
    everywhere = SPACE.noised(EYE.expand(1, count, 3, 3), ends[0], random(1, count, 3, seed=5))[0]
    for x in (SPACE.prior(random(count, 3, seed=6)), everywhere):
        torch.testing.assert_close(x.mean(0), torch.zeros_like(EYE), rtol=0, atol=4 / math.sqrt(count))
        second = torch.einsum("nij,nkl->ijkl", x, x) / count
        right = torch.einsum("ik,jl->ijkl", EYE, EYE) / 3
        torch.testing.assert_close(second, right, rtol=0, atol=4 / math.sqrt(count))
        angle = angle_of(x).sort().values  # of the distribution function (w - sin w) / pi
        found = (angle - torch.sin(angle)) / math.pi
        assert float((found - lattice(count)).abs().max()) < 1.6 / math.sqrt(count)


def test_rms_is_that_of_the_displacement_under_its_noise():
    for s in torch.logspace(-3, math.log10(6.5), 30, dtype=torch.float64):
        angle = torch.linspace(0, min(math.pi, 12 * float(s)), 3001, dtype=torch.float64)
        x = turned(angle[:, None] * torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64))[None]
        level = level_of_ratio(s)[None]
        square = SPACE.displacement(x, EYE, level)[0].square().sum(-1) / 3
        weight = SPACE.log_density(x, EYE, level)[0].exp() * ROTATIONS.measure(angle)
        right = float(torch.trapezoid(weight * square, angle).sqrt())
        assert float(SPACE.rms(level)[0]) == pytest.approx(right, rel=1e-4)


def test_displacement_over_rms_is_of_order_one_in_float32_at_all_levels():
    count = 4000
    for level in (-60.0, -10.0, -5.0, 0.0, 6.0):
        at = torch.tensor([level], dtype=torch.float64)
        clean = torch.eye(3).expand(1, count, 3, 3)
        x = SPACE.noised(clean, at, random(1, count, 3))
        ratio = SPACE.displacement(x, clean, at) / SPACE.rms(at).float()
        assert ratio.dtype == torch.float32
        assert float(ratio.square().mean()) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("angle", [0.0, 1e-300, 1e-12, 1e-8, 1e-3, 1.0, 3.0, math.pi - 1e-8, math.pi])
def test_rotation_vectors_are_exact_near_0_and_near_pi(angle):
    axes = torch.cat([torch.randn(60, 3, generator=torch.Generator().manual_seed(0)).double(), EYE, -EYE])
    v = angle * axes / axes.norm(dim=-1, keepdim=True)
    matrix = turned(v)
    torch.testing.assert_close(torch.linalg.matrix_exp(_hat(v)), matrix, rtol=0, atol=1e-14)
    found = vector(matrix)
    if angle < math.pi:
        torch.testing.assert_close(found, v, rtol=1e-15, atol=2e-15)
    torch.testing.assert_close(turned(found), matrix, rtol=0, atol=3e-15)
    assert float(found.norm(dim=-1).max()) <= math.pi + 1e-15


def _hat(v):
    x, y, z = v.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).reshape(-1, 3, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_step_leads_where_the_logarithm_says(dtype):
    x, y = rotations(500).to(dtype), rotations(500, seed=1).to(dtype)
    v = SPACE.log(x, y)
    assert v.dtype == dtype
    close = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(SPACE.exp(x, v), y, rtol=0, atol=close)
    torch.testing.assert_close(SPACE.log(x, SPACE.exp(x, 0.4 * v)), 0.4 * v, rtol=0, atol=close)


def test_a_thousand_steps_in_float32_leave_a_rotation():
    x = rotations(50).float()
    generator = torch.Generator().manual_seed(0)
    for _ in range(1000):
        x = SPACE.exp(x, torch.randn(50, 3, generator=generator))
    y = x.double()
    assert float((y.mT @ y - EYE).abs().max()) < 4e-7  # of rounding alone; without care it grows beyond 1e-6
    assert float((torch.linalg.det(y) - 1).abs().max()) < 4e-7


def test_an_item_is_a_function_of_its_own_level():
    level = torch.linspace(-8, 12, 41, dtype=torch.float64)
    u, clean = random(41, 4, 3), rotations(41, 4, seed=2).float()
    x = SPACE.noised(clean, level, u)
    together = SPACE.displacement(x, clean, level), SPACE.rms(level), SPACE.log_density(x, clean, level)
    for i in range(41):
        one = slice(i, i + 1)
        assert torch.equal(SPACE.noised(clean[one], level[one], u[one]), x[one])
        assert torch.equal(SPACE.noised(clean[one, :2], level[one], u[one, :2]), x[one, :2])
        alone = (
            SPACE.displacement(x[one], clean[one], level[one]),
            SPACE.rms(level[one]),
            SPACE.log_density(x[one], clean[one], level[one]),
        )
        for a, b in zip(alone, together, strict=True):
            assert torch.equal(a, b[one])


def test_everything_turns_with_the_clean_rotation():
    """Left-invariant: the same rotation of both changes nothing in the body frame."""
    clean, turn, level = rotations(1, 9), rotations(1, seed=7), levels(0.8)
    x, u = rotations(1, 9, seed=8), random(1, 9, 3)
    torch.testing.assert_close(
        SPACE.displacement(turn @ x, turn @ clean, level), SPACE.displacement(x, clean, level)
    )
    torch.testing.assert_close(SPACE.noised(turn @ clean, level, u), turn @ SPACE.noised(clean, level, u))


def test_it_says_what_it_is_and_refuses_other_shapes():
    assert SPACE.config() == {"name": "rotations"}
    assert SPACE.places((4, 3, 3)) == (4, 3)
    assert Rotations() == SPACE
    with pytest.raises(PerrinError, match=r"shape \[..., 3, 3\], not \(4, 3\)"):
        SPACE.places((4, 3))

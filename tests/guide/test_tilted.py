"""Laws tilted towards events: exact for Gaussians and linear statistics, sound a million deviations away."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from perrin.denoise import Prediction, exact
from perrin.errors import PerrinError
from perrin.guide import Threshold, Tilted
from perrin.guide.bent import linearised
from perrin.guide.boxes import mean_in_boxes, quantile, truncated
from perrin.guide.disjoint import disjoint
from perrin.process import levels, vp
from perrin.sample import make_plan, run

INF = math.inf
LEVEL = torch.tensor([-9.0, -4.0, -1.0, 0.5, 3.0, 8.0], dtype=torch.float64)


def number(value):
    return torch.tensor(value, dtype=torch.float64)


def boxes(*bounds):
    """A region of boxes, each a list of (lower, upper)."""
    sides = number(bounds)
    return lambda condition, rows: (sides[..., 0].repeat(rows, 1, 1), sides[..., 1].repeat(rows, 1, 1))


class Correlated:
    """The exact denoiser of N(mean, covariance), and its posterior covariance."""

    def __init__(self, mean, covariance):
        self.mean, self.covariance = mean, covariance

    def posterior(self, level):
        alpha, sigma = levels.alpha(level)[:, None, None], levels.sigma(level)[:, None, None]
        eye = torch.eye(len(self.mean), dtype=torch.float64)
        return torch.linalg.inv(torch.linalg.inv(self.covariance) + alpha**2 / sigma**2 * eye)

    def __call__(self, x, level, condition=None):
        alpha, sigma = levels.alpha(level)[:, None], levels.sigma(level)[:, None]
        pull = alpha / sigma**2 * x.double() + torch.linalg.solve(self.covariance, self.mean)
        return Prediction((self.posterior(level) @ pull[..., None])[..., 0].to(x.dtype))

    def draw(self, n, seed=0):
        normal = torch.randn(
            n, len(self.mean), dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
        )
        return self.mean + normal @ torch.linalg.cholesky(self.covariance).T


def walk(steps=30):
    """A random walk from 0 whose values have deviation one or so."""
    t = torch.arange(1, steps + 1, dtype=torch.float64)
    return Correlated(torch.zeros(steps, dtype=torch.float64), torch.minimum(t[:, None], t[None]) / 16)


def sampled(denoiser, n=500, steps=40, **how):
    return run(make_plan("dpmpp_2m", vp(), steps=steps), denoiser, seeds=range(n), dtype=torch.float64, **how)


# ---- the prediction


@pytest.mark.parametrize("bounds", [(0.8, INF), (-INF, -0.3), (0.1, 0.4)])
def test_the_tilted_mean_is_that_of_the_truncated_posterior(bounds):
    """Against an integral over the posterior of one number, at every level."""
    x = number([[0.3], [-1.0], [2.0], [0.0], [-0.4], [0.9]])
    law = exact.Gaussian(0.2, 0.7, variance=True)
    found = Tilted(law, lambda condition: lambda clean: clean, boxes([bounds]))(x, LEVEL).mean
    plain = law(x, LEVEL)
    for i in range(len(LEVEL)):
        mean, deviation = float(plain.mean[i]), float(plain.variance[i]) ** 0.5
        low = max(bounds[0], min(mean, bounds[1]) - 40 * deviation)
        high = min(bounds[1], max(mean, bounds[0]) + 40 * deviation)
        grid = torch.linspace(low, high, 100_001, dtype=torch.float64)
        log = -0.5 * ((grid - mean) / deviation) ** 2
        weight = torch.exp(log - log.max())
        expected = torch.trapezoid(grid * weight, grid) / torch.trapezoid(weight, grid)
        assert float(found[i]) == pytest.approx(float(expected), abs=1e-6)


def test_other_entries_follow_by_their_covariance():
    law = Correlated(number([0.1, -0.2, 0.3]), number([[1.0, 0.8, 0.3], [0.8, 1.5, 0.5], [0.3, 0.5, 0.6]]))
    a = number([0.5, -1.0, 2.0])
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = Tilted(law, lambda condition: lambda clean: (clean @ a)[:, None], boxes([(1.0, INF)]))(
        x, LEVEL
    ).mean
    mean, variance = law(x, LEVEL).mean, law.posterior(LEVEL) @ a
    spread = (variance @ a).sqrt()
    z = (1.0 - mean @ a) / spread
    hazard = torch.exp(-z * z / 2 - torch.special.log_ndtr(-z)) / math.sqrt(2 * math.pi)
    torch.testing.assert_close(found, mean + variance * (hazard / spread)[:, None], rtol=1e-8, atol=1e-10)


def test_the_weight_multiplies_the_shift_and_none_is_the_denoiser_to_the_bit():
    law = walk(5)
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def shift(weight):
        tilted = Tilted(law, lambda condition: lambda clean: clean[:, -1:], boxes([(1.0, INF)]), weight)
        return tilted(x, LEVEL).mean - law(x, LEVEL).mean

    assert torch.equal(shift(0.0), torch.zeros_like(x))
    torch.testing.assert_close(shift(2.5), 2.5 * shift(1.0))
    assert (shift(1.0).abs() > 1e-6).any()


def test_what_is_given_is_not_moved_and_counts_as_known():
    """Of a pair of which one entry is given, the other is tilted as if it were alone."""
    given = torch.tensor([[True, False]]).expand(6, -1)
    alone = exact.Gaussian(0.2, 0.7)
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def total(condition):
        return lambda clean: clean.sum(1, keepdim=True)

    found = Tilted(alone, total, boxes([(1.0, INF)]), free=lambda c: ~c["given"])(
        x, LEVEL, {"given": given}
    ).mean
    plain = alone(x, LEVEL).mean
    assert torch.equal(found[:, 0], plain[:, 0])

    def shifted(condition):
        return lambda clean: clean + condition["other"]

    one = Tilted(alone, shifted, boxes([(1.0, INF)]))(x[:, 1:], LEVEL, {"other": plain[:, :1]}).mean
    torch.testing.assert_close(found[:, 1:], one)


def test_raw_noise_moves_with_the_mean():
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    raw = Threshold(exact.Gaussian(0.2, 0.7), -50, 50, noise="raw")
    found = Tilted(raw, lambda condition: lambda clean: clean[:, :1], boxes([(1.0, INF)]))(x, LEVEL)
    torch.testing.assert_close(found.noise, Prediction(found.mean).noise_at(x, LEVEL))


def test_each_row_is_its_own_and_the_network_runs_once():
    calls = []

    def counted(x, level, condition=None):
        calls.append(len(x))
        return walk(6)(x, level)

    tilted = Tilted(
        counted, lambda condition: lambda clean: clean[:, [2, 5]], boxes([(0.5, INF), (-INF, 0.0)])
    )
    x = torch.randn(6, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    together = tilted(x, LEVEL).mean
    assert calls == [6]
    for i in range(6):
        alone = tilted(x[i : i + 1], LEVEL[i : i + 1]).mean
        torch.testing.assert_close(alone[0], together[i], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("bound", [1e1, 1e3, 1e6])
def test_an_event_far_away_is_reached_and_nothing_overflows(bound):
    law = walk(6)
    x = torch.randn(6, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float32)
    one = Tilted(law, lambda condition: lambda clean: clean[:, -1:], boxes([(bound, INF)]))(x, LEVEL).mean
    assert torch.isfinite(one).all()
    assert (one[:, -1] >= bound * (1 - 1e-5)).all()
    assert (one[:, -1] <= bound * 1.01 + 10).all()
    two = Tilted(law, lambda condition: lambda clean: clean[:, [1, 5]], boxes([(bound, INF), (-INF, -bound)]))
    moved = two(x, LEVEL).mean
    assert torch.isfinite(moved).all()
    assert moved.abs().max() < 100 * bound + 100  # two numbers that belong together are torn apart
    assert (moved[:, 1] > 0.9 * bound).all()
    assert (moved[:, 5] < -0.9 * bound).all()


def test_a_denoiser_without_a_slope_does_no_harm():
    """A point mass cannot be moved by what it says; entries then move as independent ones."""
    fixed = exact.Gaussian(number([0.5, -0.5]), 0.0)
    x = torch.zeros(6, 2, dtype=torch.float64)
    found = Tilted(fixed, lambda condition: lambda clean: clean[:, :1], boxes([(1.0, INF)]))(x, LEVEL).mean
    assert torch.isfinite(found).all()
    assert (found[:, 0] >= 1.0 - 1e-9).all()
    known = Tilted(fixed, lambda condition: lambda clean: 0 * clean[:, :1], boxes([(1.0, INF)]))(
        x, LEVEL
    ).mean
    assert torch.equal(known, fixed(x, LEVEL).mean)


# ---- samples


@pytest.mark.parametrize("share", [0.5, 0.02])
def test_samples_of_one_number_are_those_that_a_rejection_keeps(share):
    bound = 0.2 + 0.7 * float(torch.special.ndtri(number(1 - share)))
    drawn = sampled(
        Tilted(exact.Gaussian(0.2, 0.7), lambda _: lambda c: c, boxes([(bound, INF)])), 1_000, shape=(1,)
    )
    free = 0.2 + 0.7 * torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert (drawn > bound).all()
    assert ks_2samp(drawn[:, 0], free[free > bound]).pvalue > 0.01


@pytest.mark.parametrize("share", [0.5, 0.02])
def test_paths_of_a_walk_are_those_that_a_rejection_keeps(share):
    """Every step of the path, and every increment: what the event says nothing of stays as it was."""
    law = walk(10)
    free = law.draw(200_000)
    bound = float(torch.quantile(free[:, -1], 1 - share))
    kept = free[free[:, -1] > bound]
    drawn = sampled(Tilted(law, lambda _: lambda c: c[:, -1:], boxes([(bound, INF)])), 1_000, 80, shape=(10,))
    assert (drawn[:, -1] > bound).all()
    for k in range(10):
        assert ks_2samp(drawn[:, k], kept[:, k]).pvalue > 1e-3
    for k in range(9):
        assert ks_2samp(drawn.diff(dim=1)[:, k], kept.diff(dim=1)[:, k]).pvalue > 1e-3


def test_either_of_two_events_and_two_events_at_once():
    law = walk(10)
    free = law.draw(200_000)
    cases = {
        "either": (free[:, -1].abs() > 1.0, lambda _: lambda c: c[:, -1:], boxes([(1.0, INF)], [(-INF, -1.0)])),
        "both": (
            (free[:, 4] > 0.5) & (free[:, 9] < 0.3), lambda _: lambda c: c[:, [4, 9]], boxes([(0.5, INF), (-INF, 0.3)]),
        ),
    }  # fmt: skip
    for keep, values, region in cases.values():
        drawn = sampled(Tilted(law, values, region), 800, 60, shape=(10,))
        for k in (2, 4, 7, 9):
            assert ks_2samp(drawn[:, k], free[keep][:, k]).pvalue > 1e-3


@pytest.mark.parametrize("sign", [1, -1])
def test_a_maximum_is_steered_though_it_bends(sign):
    """Made linear at the mean alone it misses: of paths that are to stay low a quarter or so would."""
    law = walk()
    free = law.draw(100_000)
    top = free.amax(1)
    bound = float(torch.quantile(top, 0.98 if sign > 0 else 0.02))
    region = boxes([(bound, INF) if sign > 0 else (-INF, bound)])
    kept = free[sign * (top - bound) > 0]

    def largest(values):
        return values.amax(-1, keepdim=True)

    drawn = sampled(Tilted(law, lambda _: lambda c: c, region, statistics=largest), 300, 40, shape=(30,))
    flat = sampled(Tilted(law, lambda _: lambda c: largest(c), region), 300, 40, shape=(30,))
    assert (sign * (drawn.amax(1) - bound) > 0).double().mean() > 0.98
    gaps = [max(ks_2samp(v[:, k], kept[:, k]).statistic for k in range(30)) for v in (drawn, flat)]
    assert gaps[0] < 0.17
    assert gaps[0] < gaps[1]


# ---- Gaussians in boxes


@pytest.mark.parametrize(
    "bounds", [(-1, 2), (8.5, 1e10), (-1e10, -40), (30, 31), (1e5, 1e10), (3, 3.0001), (-1e10, 9)]
)
def test_one_number_between_bounds(bounds):
    mp = pytest.importorskip("mpmath")
    mp.mp.dps = 50
    a, b = map(mp.mpf, bounds)
    log_mass, mean = (float(v) for v in truncated(number(bounds[0]), number(bounds[1])))
    tails = (mp.erfc(-b / mp.sqrt(2)), mp.erfc(-a / mp.sqrt(2)))
    if a > 0:
        tails = (mp.erfc(a / mp.sqrt(2)), mp.erfc(b / mp.sqrt(2)))
    mass = (tails[0] - tails[1]) / 2
    assert log_mass == pytest.approx(float(mp.log(mass)), rel=1e-9, abs=1e-18)
    assert mean == pytest.approx(float((mp.npdf(a) - mp.npdf(b)) / mass), rel=1e-6, abs=1e-9)
    middle = float(quantile(number(bounds[0]), number(bounds[1]), number(0.5)))
    assert bounds[0] <= middle <= bounds[1]
    below = float(truncated(number(bounds[0]), number(middle))[0])
    assert below - log_mass == pytest.approx(math.log(0.5), abs=2e-3)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_several_numbers_in_boxes(size):
    """Against plain draws; correlations count a little less than they should, which is within the tolerance."""
    generator = np.random.default_rng(size)
    root = generator.normal(size=(size, size))
    covariance = root @ root.T + 0.5 * np.eye(size)
    mean = generator.normal(size=size) / 2
    z = generator.multivariate_normal(mean, covariance, size=1_000_000)
    spread = np.sqrt(np.diag(covariance))
    lower, upper = (
        np.stack([mean - 0.2 * spread, mean - 2 * spread]),
        np.stack([mean + 9, mean - 0.3 * spread]),
    )
    spread, centre = (
        number(spread),
        number(z[((z[:, None] > lower) & (z[:, None] < upper)).all(2).any(1)].mean(0)),
    )
    found, pull = mean_in_boxes(*(number(v)[None] for v in (mean, covariance, lower, upper)))
    assert ((found[0] - centre) / spread).abs().max() < 0.012
    # pulled along its covariance the mean goes there
    assert ((number(covariance) @ pull[0] + number(mean) - found[0]) / spread).abs().max() < 0.03


def test_overlapping_boxes_are_cut_apart_and_cover_the_same():
    generator = np.random.default_rng(0)
    for _ in range(50):
        corners = np.sort(generator.integers(0, 6, (3, 2, 2)), axis=-1).astype(float)
        corners[generator.random(corners.shape) < 0.1] = 6
        given = [tuple((float(low), float(high)) for low, high in box) for box in corners]
        pieces = disjoint(given)
        points = generator.uniform(0, 6, (300, 2))

        def holds(box, points=points):
            return np.all(
                [(low < points[:, k]) & (points[:, k] < high) for k, (low, high) in enumerate(box)], 0
            )

        counts = sum((holds(piece).astype(int) for piece in pieces), np.zeros(300, int))
        np.testing.assert_array_equal(counts, np.any([holds(box) for box in given], 0).astype(int))


def test_a_line_is_made_linear_exactly():
    values, columns = torch.randn(4, 9, dtype=torch.float64), torch.rand(4, 9, 3, dtype=torch.float64)
    place = torch.tensor([0, 4, 8])
    columns[:, place] = columns[:, place] @ columns[:, place].transpose(1, 2)
    slope = torch.linspace(-1, 2, 9, dtype=torch.float64)
    h, slopes, rest = linearised(lambda v: (v @ slope)[..., None], values, columns, place)
    torch.testing.assert_close(h[:, 0], values @ slope)
    torch.testing.assert_close(slopes[0], slope.expand(4, -1))
    torch.testing.assert_close(rest, torch.zeros_like(rest), atol=1e-20, rtol=0)


# ---- refusals


def test_what_cannot_be_is_refused():
    with pytest.raises(PerrinError, match="weight = -1"):
        Tilted(walk(3), lambda _: lambda c: c, boxes([(0.0, INF)]), -1)
    tilted = Tilted(walk(3), lambda _: lambda c: c, boxes([(0.0, INF)] * 3))
    with pytest.raises(PerrinError, match="this one holds tokens"):
        tilted(torch.zeros(1, 3, dtype=torch.long), LEVEL[:1])
    with pytest.raises(PerrinError, match="zero SNR"):
        tilted.check(torch.tensor([-INF]))
    nine = Tilted(walk(9), lambda _: lambda c: c, boxes([(0.0, INF)] * 9))
    with pytest.raises(PerrinError, match="boxes of 9 statistics; 8 are the most"):
        nine(torch.zeros(1, 9, dtype=torch.float64), LEVEL[:1])

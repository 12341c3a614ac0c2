"""Scores of sample paths: closed forms, no bias in the number of paths, and the true law scores best."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import norm

from perrin.errors import PerrinError
from perrin.metrics import (
    crps,
    energy_score,
    interval_coverage,
    mean_over_windows,
    pit,
    pit_histogram,
    quantile_loss,
    relative_to_size,
    sharpness,
    variogram_score,
    weighted_quantile_loss,
)


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def gaussian_crps(y: np.ndarray, mean: float, std: float) -> np.ndarray:
    z = (y - mean) / std
    return std * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - np.pi**-0.5)


def exact_paths(mean: float, std: float, count: int) -> np.ndarray:
    """The quantiles of a Gaussian: a sample without chance."""
    return norm.ppf((np.arange(count) + 0.5) / count, mean, std)


# ---- proper scores


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.7, 0.3), (-2.0, 5.0)])
def test_crps_of_a_gaussian_is_its_closed_form(mean, std):
    truth = np.linspace(-3, 3, 7)
    paths = np.tile(exact_paths(mean, std, 4_000)[None, :, None], (1, 1, 7))
    np.testing.assert_allclose(crps(paths, truth[None])[0], gaussian_crps(truth, mean, std), atol=2e-3 * std)


def test_every_score_is_the_mean_of_those_of_all_subsets_of_the_paths():
    """What it means to have no bias, exactly: fewer paths score the same on average."""
    paths, truth = draw(1, 6, 2, 3, seed=1), draw(1, 2, 3, seed=2)
    for score in (crps, energy_score, variogram_score):
        few = [score(paths[:, list(chosen)], truth) for chosen in combinations(range(6), 3)]
        np.testing.assert_allclose(
            np.mean(few, axis=0), score(paths, truth), rtol=1e-12, err_msg=score.__name__
        )


def test_the_energy_score_of_one_number_is_its_crps():
    paths, truth = draw(4, 30, 1, 1, seed=3), draw(4, 1, 1, seed=4)
    np.testing.assert_allclose(energy_score(paths, truth), crps(paths, truth)[:, 0, 0], rtol=1e-12)


def test_the_energy_score_does_not_change_under_rotations():
    paths, truth = draw(3, 20, 1, 4, seed=5), draw(3, 1, 4, seed=6)
    turn = np.linalg.qr(draw(4, 4, seed=7))[0]
    np.testing.assert_allclose(
        energy_score(paths @ turn, truth @ turn), energy_score(paths, truth), rtol=1e-10
    )


def test_the_variogram_score_is_the_double_loop():
    x, y = draw(5, 3, seed=8), draw(3, seed=9)
    total = 0.0
    for i, j in combinations(range(3), 2):
        each = np.abs(x[:, i] - x[:, j]) ** 0.5
        total += (abs(y[i] - y[j]) ** 0.5 - each.mean()) ** 2 - each.var(ddof=1) / 5
    assert variogram_score(x[None, :, None], y[None, None])[0] == pytest.approx(total / 3, rel=1e-12)


WRONG = {"shifted": (0.4, 1.0, 0.6), "too wide": (0.0, 1.6, 0.6), "too narrow": (0.0, 0.6, 0.6)}


def correlated(count: int, paths: int, mean: float, std: float, rho: float, seed: int) -> np.ndarray:
    """[count, paths, 1, 6] of a Gaussian with correlations rho^|i - j|."""
    steps = np.arange(6)
    root = np.linalg.cholesky(rho ** np.abs(steps[:, None] - steps))
    return mean + std * draw(count, paths, 1, 6, seed=seed) @ root.T


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("score", [crps, energy_score])
def test_the_true_law_scores_best(score, wrong):
    truth = correlated(600, 1, 0, 1, 0.6, seed=10)[:, 0]
    own = score(correlated(600, 40, 0, 1, 0.6, seed=11), truth).reshape(600, -1).mean(1)
    other = score(correlated(600, 40, *WRONG[wrong], seed=12), truth).reshape(600, -1).mean(1)
    gap = mean_over_windows(other - own)
    assert gap.value > 4 * gap.stderr


def test_the_variogram_score_sees_wrong_correlations_with_right_margins():
    truth = correlated(400, 1, 0, 1, 0.9, seed=13)[:, 0]
    own = correlated(400, 40, 0, 1, 0.9, seed=14)
    alone = correlated(400, 40, 0, 1, 0.0001, seed=15)
    gap = mean_over_windows(variogram_score(alone, truth) - variogram_score(own, truth))
    assert gap.value > 4 * gap.stderr


# ---- the quantile loss


def test_the_quantile_loss_of_all_levels_is_the_crps():
    levels = (np.arange(2_000) + 0.5) / 2_000
    truth = np.array([-1.0, 0.2, 2.5])
    quantiles = np.tile(norm.ppf(levels, 0.3, 1.5)[:, None], (1, 3))
    found = quantile_loss(quantiles, truth, levels).mean(0)
    np.testing.assert_allclose(found, gaussian_crps(truth, 0.3, 1.5), atol=2e-3)


def test_the_weighted_loss_is_sums_over_sums_per_column_then_a_mean():
    truth = np.array([[[1.0, 3.0], [10.0, 10.0]], [[2.0, -2.0], [30.0, 10.0]]])  # [W, C, H]
    point = np.array([[[2.0, 2.0], [10.0, 10.0]], [[2.0, 2.0], [20.0, 20.0]]])
    # of a point forecast z the loss averaged over levels .1 to .9 is |y - z|
    expected = np.mean([(1 + 1 + 0 + 4) / 8, (0 + 0 + 10 + 10) / 60])
    assert weighted_quantile_loss(point[:, None].repeat(5, 1), truth).value == pytest.approx(
        expected, rel=1e-12
    )


def test_what_is_not_known_weighs_nothing():
    truth, paths = draw(6, 2, 4, seed=16) + 5, draw(6, 30, 2, 4, seed=17) + 5
    holes = truth.copy()
    holes[:, :, 3] = np.nan
    cut = (paths[..., :3], truth[..., :3])
    for measure in (weighted_quantile_loss, interval_coverage, sharpness):
        assert measure(paths, holes) == pytest.approx(measure(*cut), rel=1e-12)
    for score in (energy_score, variogram_score):
        np.testing.assert_allclose(score(paths, holes), score(*cut), rtol=1e-12)
    assert np.isnan(crps(paths, holes)[..., 3]).all()


# ---- standard errors


def test_the_error_of_a_ratio_is_the_spread_of_ratios():
    """Against the spread over 2,000 repetitions of the whole backtest, columns of one window tied together."""
    generator = np.random.default_rng(0)
    size = generator.gamma(4, size=(2_000, 50, 3))
    shared = generator.normal(size=(2_000, 50, 1))
    total = size * (0.3 + 0.1 * shared) + 0.1 * generator.normal(size=size.shape)
    found = [relative_to_size(t, s) for t, s in zip(total, size, strict=True)]
    spread = np.std([e.value for e in found])
    assert np.mean([e.stderr for e in found]) == pytest.approx(spread, rel=0.06)


def test_one_window_has_no_error():
    assert np.isnan(mean_over_windows(np.array([2.0])).stderr)


# ---- calibration


def test_coverage_is_the_level_exactly_however_few_paths_there_are():
    # the interval of nine paths at 80 % runs from the least to the largest: rank 1 to 9 of ten, exactly
    paths, truth = draw(20_000, 9, 1, 1, seed=18), draw(20_000, 1, 1, seed=19)
    found = interval_coverage(paths, truth, 0.8)
    assert abs(found.value - 0.8) < 4 * found.stderr
    assert found.stderr == pytest.approx((0.8 * 0.2 / 20_000) ** 0.5, rel=0.05)


def test_the_width_of_a_gaussian_interval_is_what_tables_say():
    paths = np.tile(exact_paths(3, 2, 4_000)[None, :, None, None], (2, 1, 1, 5))
    width = sharpness(paths, np.full((2, 1, 5), 10.0), 0.8).value
    assert width == pytest.approx(2 * 2 * norm.ppf(0.9) / 10, rel=1e-3)


def test_transforms_are_uniform_with_ties_too():
    generator = np.random.default_rng(1)
    counts = generator.poisson(1.0, size=(20_000, 12, 1))
    values = np.sort(pit(counts[:, :11], counts[:, 11], seed=3).ravel())
    assert np.abs(values - (np.arange(20_000) + 0.5) / 20_000).max() < 1.63 / 20_000**0.5  # Kolmogorov, 1 %


def test_the_band_holds_uniform_transforms_as_often_as_it_says():
    flat = [pit_histogram(np.random.default_rng(i).random((60, 8)), times=200).flat for i in range(200)]
    assert 0.88 < np.mean(flat) <= 1  # 0.95 asked for; resampling is a little short at 60 windows


def test_the_band_sees_forecasts_that_are_too_narrow():
    truth, paths = draw(200, 4, seed=20), 0.6 * draw(200, 50, 4, seed=21)
    histogram = pit_histogram(pit(paths, truth))
    assert not histogram.flat
    assert histogram.heights[0] > histogram.upper[4]


def test_windows_that_repeat_one_value_have_a_wider_band():
    """Values of a window hang together: forty equal ones tell no more than one."""
    u = np.random.default_rng(5).random((80, 1))
    one, forty = pit_histogram(u), pit_histogram(np.repeat(u, 40, 1))
    assert forty.upper - forty.heights == pytest.approx(one.upper - one.heights, rel=1e-9)


# ---- bad input


def test_bad_paths_are_refused():
    good, truth = np.zeros((2, 3, 1, 4)), np.zeros((2, 1, 4))
    with pytest.raises(PerrinError, match=r"paths \(2, 3, 1, 4\) and truth \(2, 1, 5\)"):
        crps(good, np.zeros((2, 1, 5)))
    with pytest.raises(PerrinError, match="1 paths a window; at least 2"):
        crps(good[:, :1], truth)
    bad = good.copy()
    bad[1, 2, 0, 0] = np.inf
    with pytest.raises(PerrinError, match="path 2 of window 1 holds NaN or infinity"):
        crps(bad, truth)
    with pytest.raises(PerrinError, match="column 0 is zero in every window"):
        weighted_quantile_loss(good, truth)
    with pytest.raises(PerrinError, match=r"level = 80 must lie between 0 and 1"):
        interval_coverage(good, truth, 80)
    with pytest.raises(PerrinError, match="no window has a value"):
        mean_over_windows(np.array([np.nan]))

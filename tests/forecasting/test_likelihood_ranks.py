"""The rank of what came true among sampled paths by log-density: uniform of the true law, and of no other scale."""

import numpy as np
import pytest

from perrin.metrics import pit, pit_histogram

pytest.importorskip("statsmodels")
from benchmarks.forecasting.state_space import cycle_and_factor

TRUE, ROWS = cycle_and_factor(), 8
COVARIANCE = TRUE.covariance(ROWS)
D = len(COVARIANCE)
ROOT, INVERSE = np.linalg.cholesky(COVARIANCE), np.linalg.inv(COVARIANCE)


def ranks(scale, windows=200, paths=50, tilt=0.0, seed=0):
    """Transforms [W] of paths that are `scale` as wide as the truth, by the log-density of that law."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=(windows, D)) @ ROOT.T
    drawn = scale * generator.normal(size=(windows, paths, D)) @ ROOT.T + tilt

    def log_prob(y):
        off = (y - tilt) / scale
        return -0.5 * np.einsum("...i,ij,...j->...", off, INVERSE, off)

    return pit(log_prob(drawn), log_prob(truth), seed)


def test_paths_of_the_true_law_have_flat_ranks():
    found = [pit_histogram(ranks(1.0, seed=seed), 8, times=300).flat for seed in range(30)]
    assert np.mean(found) > 0.85
    assert abs(np.concatenate([ranks(1.0, seed=seed) for seed in range(30)]).mean() - 0.5) < 0.01


@pytest.mark.parametrize(("scale", "side"), [(0.8, -1), (1.25, 1)])
def test_paths_of_another_scale_have_not(scale, side):
    """Too narrow paths make what came true unlikely among them, too wide ones make it likely."""
    values = ranks(scale)
    found = pit_histogram(values, 8)
    assert not found.flat
    assert side * (values.mean() - 0.5) > 0.1


def test_a_wrong_mean_is_seen_too():
    assert not pit_histogram(ranks(1.0, tilt=0.7), 8).flat


def test_ranks_need_no_more_of_densities_than_their_order():
    generator = np.random.default_rng(1)
    truth, drawn = generator.normal(size=20), generator.normal(size=(20, 9))
    np.testing.assert_array_equal(pit(drawn, truth, 3), pit(np.exp(drawn) + 5, np.exp(truth) + 5, 3))

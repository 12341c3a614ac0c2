"""Backtests: every forecaster sees the past alone, at the same origins, and the table says what the metrics say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from perrin.errors import PerrinError
from perrin.evaluate.backtesting import FIGURES, backtest, evenly_spaced, simple
from perrin.metrics import weighted_quantile_loss

NAIVE = ("seasonal_naive", "seasonal_bootstrap", "random_walk", "bootstrap_walk")


def walk(steps: int = 300, seed: int = 0) -> np.ndarray:
    return 50 + np.cumsum(np.random.default_rng(seed).normal(size=(2, steps)), 1)


def exact(history: np.ndarray, horizon: int, paths: int, seed: int) -> np.ndarray:
    """The law that `walk` is drawn from."""
    noise = np.random.default_rng(seed).normal(size=(paths, len(history), horizon))
    return history[:, -1:] + np.cumsum(noise, 2)


def test_origins_are_even_from_the_beginning_of_the_share_to_the_end():
    origins = evenly_spaced(1_000, 24, 50, 0.2)
    assert origins[0] == 800
    assert origins[-1] == 976
    assert len(origins) == 50
    assert set(np.diff(origins)) <= {3, 4}


def test_no_forecaster_sees_what_comes_after_its_origin():
    values, seen = walk(), []

    def forecaster(history, horizon, paths, seed):
        seen.append(history.copy())
        history[:] = -1  # nor can it change the data for others
        return np.zeros((paths, 2, horizon))

    origins = evenly_spaced(300, 10, 5)
    again = values.copy()
    backtest(values, {"a": forecaster, "b": forecaster}, origins, horizon=10, paths=4)
    np.testing.assert_array_equal(values, again)
    for history, origin in zip(seen, [*origins, *origins], strict=True):
        np.testing.assert_array_equal(history, values[:, :origin])


def test_simple_methods_are_fitted_before_the_first_origin(monkeypatch):
    from perrin.evaluate.simple_forecasts import SeasonalNaive

    trained = []
    fit = SeasonalNaive.fit.__func__
    monkeypatch.setattr(
        SeasonalNaive,
        "fit",
        classmethod(lambda cls, training, *r: trained.append(training) or fit(cls, training, *r)),
    )
    simple(walk(), np.array([240, 260]), 1, ["seasonal_naive"])
    assert trained[0].shape == (2, 240)


def test_the_true_law_wins_and_is_calibrated():
    values, origins = walk(1_200), evenly_spaced(1_200, 5, 60)
    result = backtest(values, {"exact": exact, **simple(values, origins, 1, NAIVE)}, origins, horizon=5)
    assert result.best() in ("exact", "random_walk", "bootstrap_walk")
    figures = result.answers["exact"].figures
    assert abs(figures["coverage_80"].value - 0.8) < 4 * figures["coverage_80"].stderr
    naive = result.answers["seasonal_naive"].figures
    for figure in ("crps", "energy", "variogram"):
        assert naive[figure].value > figures[figure].value
    gain = result.gain("exact", "seasonal_naive")
    assert gain.value > 4 * gain.stderr


def test_the_loss_of_the_table_is_the_metric_and_the_gain_its_ratio():
    values, origins = walk(), evenly_spaced(300, 10, 8)
    result = backtest(
        values, {"exact": exact, **simple(values, origins, 1, NAIVE)}, origins, horizon=10, paths=50
    )
    losses = {n: weighted_quantile_loss(a.paths, result.truth).value for n, a in result.answers.items()}
    assert result.answers["exact"].figures["loss"].value == losses["exact"]
    gain = result.gain("exact", "seasonal_naive")
    assert gain.value == pytest.approx(1 - losses["exact"] / losses["seasonal_naive"], rel=1e-12)
    assert 0 < gain.stderr < 0.5
    assert result.gain("exact", "exact") == pytest.approx((0, 0))


def test_the_table_is_json_and_text():
    values, origins = walk(), evenly_spaced(300, 10, 3)
    result = backtest(values, simple(values, origins, 1, NAIVE[:2]), origins, horizon=10, paths=10)
    rows = json.loads(json.dumps(result.rows()))
    assert [row["method"] for row in rows] == list(NAIVE[:2])
    assert all(f"{figure}_stderr" in rows[0] for figure in FIGURES)
    assert len(result.text().splitlines()) == 4
    crowded = backtest(
        values, simple(values, origins, 1, NAIVE[:1]), np.arange(240, 250), horizon=10, paths=10
    )
    assert crowded.overlapping
    assert crowded.text().endswith("the true errors are larger than these.")


def test_what_is_missing_in_the_truth_counts_for_nothing():
    values = walk()
    values[0, 280] = np.nan
    origins = evenly_spaced(300, 10, 8)
    result = backtest(values, simple(values, origins, 1, NAIVE), origins, horizon=10, paths=20)
    assert all(np.isfinite(e.value) for a in result.answers.values() for e in a.figures.values())


def test_bad_questions_and_answers_are_refused():
    with pytest.raises(PerrinError, match="hold no window of 100 steps"):
        evenly_spaced(300, 100, 5)
    with pytest.raises(PerrinError, match="there are 1 to 51 origins"):
        evenly_spaced(300, 10, 60)
    values, origins = walk(), np.array([250, 290])
    with pytest.raises(PerrinError, match=r"short answered window 0 with \(4, 2, 3\), not"):
        backtest(
            values, {"short": lambda h, horizon, n, s: np.zeros((n, 2, 3))}, origins, horizon=10, paths=4
        )
    with pytest.raises(PerrinError, match="lost answered window 0 with NaN"):
        backtest(
            values, {"lost": lambda h, k, n, s: np.full((n, 2, k), np.nan)}, origins, horizon=10, paths=4
        )
    with pytest.raises(PerrinError, match="origins 250 to 290 and 20 steps"):
        backtest(values, {}, origins, horizon=20)

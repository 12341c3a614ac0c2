"""The simple methods: each is the law that its formula says, against closed forms and statsmodels' own forecasts."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from perrin import registry
from perrin.errors import PerrinError
from perrin.evaluate.simple_forecasts import (
    Arima,
    BootstrapWalk,
    Ets,
    RandomWalk,
    SeasonalBootstrap,
    SeasonalNaive,
    carried_forward,
)
from perrin.evaluate.simple_forecasts.autoregression import Fitted, _model
from perrin.evaluate.simple_forecasts.smoothing import Smoother
from perrin.evaluate.simple_forecasts.smoothing import _model as smoother

MODELS = ("ets", "arima")


def waves(columns: int = 2, steps: int = 120, season: int = 12, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    phase = 2 * np.pi * np.arange(steps) / season
    return 5 + np.sin(phase + np.arange(columns)[:, None]) + 0.3 * generator.normal(size=(columns, steps))


@pytest.mark.parametrize("name", list(registry.forecasters))
def test_every_method_answers_with_paths_that_its_seed_names(name):
    if name in MODELS:
        pytest.importorskip("statsmodels")
    history = waves()
    forecaster = registry.forecasters[name].fit(history[:, :100], 12)
    paths = forecaster(history, 6, 20, 3)
    assert paths.shape == (20, 2, 6)
    assert np.isfinite(paths).all()
    np.testing.assert_array_equal(paths, forecaster(history.copy(), 6, 20, 3))
    if name != "seasonal_naive":
        assert not np.array_equal(paths, forecaster(history, 6, 20, 4))
        assert paths.std(0).min() > 0


@pytest.mark.parametrize("name", list(registry.forecasters))
def test_every_method_takes_gaps_and_a_column_that_stands_still(name):
    if name in MODELS:
        pytest.importorskip("statsmodels")
    history = np.concatenate([waves(1), np.full((1, 120), 7.0)])
    history[0, [5, 50, 119]] = np.nan
    seen = []
    paths = registry.forecasters[name].fit(history, 12, lambda *done: seen.append(done))(history, 4, 10, 0)
    assert np.isfinite(paths).all()
    np.testing.assert_allclose(paths[:, 1], 7.0)
    assert seen in ([], [(1, 2), (2, 2)])


def test_seasonal_naive_repeats_the_last_season():
    history = np.arange(10.0)[None]
    np.testing.assert_array_equal(SeasonalNaive(4)(history, 6, 2, 0)[1, 0], [6, 7, 8, 9, 6, 7])


def test_a_season_that_the_history_does_not_hold_twice_is_none():
    np.testing.assert_array_equal(SeasonalNaive(8)(np.arange(10.0)[None], 3, 1, 0)[0, 0], [9, 9, 9])


def test_bootstrap_errors_are_those_of_the_past_columns_together_phase_by_phase():
    history = waves(2, 12 * 40)
    paths = SeasonalBootstrap(12)(history, 15, 200, 0)
    mean = SeasonalNaive(12)(history, 15, 1, 0)[0]
    back = np.arange(15) % 12 - 12
    possible = [history[:, s : s + 15] - history[:, s + back] for s in range(12, 480 - 15 + 1, 12)]
    for path in paths:
        assert min(np.abs(path - mean - errors).max() for errors in possible) < 1e-12


def test_a_gaussian_walk_has_the_mean_and_covariance_of_its_formula():
    steps = np.random.default_rng(1).normal(size=(2, 30)) * [[1.0], [2.0]] + [[0.5], [0.0]]
    steps[1] += 0.8 * steps[0]
    history = np.concatenate([np.zeros((2, 1)), np.cumsum(steps, 1)], 1)
    paths = RandomWalk()(history, 10, 40_000, 0)
    drift, covariance = steps.mean(1), np.cov(steps)
    for h in (1, 10):
        expected = covariance * h * (1 + h / 30)
        error = np.sqrt(np.diag(expected) / 40_000)
        assert (np.abs(paths[:, :, h - 1].mean(0) - history[:, -1] - h * drift) < 4.5 * error).all()
        np.testing.assert_allclose(np.cov(paths[:, :, h - 1].T), expected, rtol=0.05)


def test_a_bootstrap_walk_takes_steps_of_the_past_all_columns_at_once():
    history = waves(2, 40)
    paths = BootstrapWalk()(history, 3, 50, 0)
    taken = np.diff(np.concatenate([np.broadcast_to(history[:, -1:], (50, 2, 1)), paths], 2), axis=2)
    known = np.diff(history, axis=1)
    for step in taken.transpose(0, 2, 1).reshape(-1, 2):
        assert np.abs(known.T - step).max(1).min() < 1e-9


ORDERS = [
    ((2, 0, 1), (0, 1, 1, 6), [1.2, -0.4, -0.3, -0.6, 1.0]),
    ((1, 1, 1), (0, 0, 0, 0), [0.5, -0.3, 1.0]),
    ((2, 0, 1), (0, 0, 0, 0), [0.1, 1.2, -0.4, -0.3, 1.0]),
]


@pytest.mark.parametrize(("order", "seasonal", "parameters"), ORDERS, ids=str)
def test_arima_paths_have_the_mean_and_covariance_that_statsmodels_gives(order, seasonal, parameters):
    pytest.importorskip("statsmodels")
    history = np.cumsum(np.random.default_rng(2).normal(size=120))
    history[100] = np.nan  # the filter takes gaps
    paths = Fitted(order, seasonal, parameters, 1.0).paths(history, 8, 20_000, np.random.default_rng(0))
    model = _model(history, order, seasonal)
    forecast = model.filter(np.array(parameters), cov_type="none").get_forecast(8)
    deviation = np.sqrt(forecast.var_pred_mean)
    assert (np.abs(paths.mean(0) - forecast.predicted_mean) < 5 * deviation / 20_000**0.5).all()
    np.testing.assert_allclose(paths.std(0), deviation, rtol=0.03)


SMOOTHERS = [
    ({"trend": None, "damped_trend": False, "seasonal": "add", "seasonal_periods": 6},
     {"smoothing_level": 0.6, "smoothing_seasonal": 0.2}),
    ({"trend": "add", "damped_trend": True, "seasonal": None},
     {"smoothing_level": 0.6, "smoothing_trend": 0.2, "damping_trend": 0.9}),
    ({"trend": "add", "damped_trend": False, "seasonal": "add", "seasonal_periods": 6},
     {"smoothing_level": 0.6, "smoothing_trend": 0.1, "smoothing_seasonal": 0.2}),
]  # fmt: skip


@pytest.mark.parametrize(("options", "parameters"), SMOOTHERS, ids=["season", "damped", "all"])
def test_ets_paths_are_the_simulations_of_statsmodels(options, parameters):
    pytest.importorskip("statsmodels")
    history = waves(1, 90, 6)[0] + 0.05 * np.arange(90)
    noise = np.random.default_rng(0).normal(size=(5, 14))
    found = Smoother(options, parameters, 0.7).paths(history, 14, noise)
    result = smoother(history, options).smooth(np.array(list(parameters.values())))
    for path, z in zip(found, noise, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = result.simulate(14, anchor="end", random_errors=0.7 * z[:, None])
        np.testing.assert_allclose(path, np.ravel(expected), rtol=1e-9)


def test_models_are_fitted_on_the_training_part_and_filtered_over_the_history():
    """The same parameters whatever comes later, and forecasts that follow it."""
    pytest.importorskip("statsmodels")
    history = waves(1, 150)
    later = np.concatenate([history, history[:, 30:42] + 40], 1)
    for method in (Ets, Arima):
        forecaster = method.fit(history, 12)
        before = repr(forecaster.columns)
        assert forecaster(later, 3, 50, 0).mean() > forecaster(history, 3, 50, 0).mean() + 2
        assert repr(forecaster.columns) == before


def test_arima_finds_the_season():
    pytest.importorskip("statsmodels")
    history = waves(1, 240)
    chosen = Arima.fit(history, 12).columns[0]
    assert chosen is not None
    assert chosen.seasonal == (0, 1, 1, 12)
    flat = np.random.default_rng(0).normal(size=(1, 240)).cumsum(1)
    walk = Arima.fit(flat, 1).columns[0]
    assert walk is not None
    assert walk.order[1] == 1  # of a random walk, a difference: orders of different d compare


def test_gaps_are_filled_from_the_season_before_and_at_the_front_from_what_comes():
    history = np.array([[np.nan, 1, 2, 3, np.nan, np.nan, np.nan, 7]])
    np.testing.assert_array_equal(carried_forward(history, 3)[0], [1, 1, 2, 3, 1, 2, 3, 7])


def test_bad_histories_are_refused():
    with pytest.raises(PerrinError, match="column 1 of the history has no value"):
        carried_forward(np.array([[1.0], [np.nan]]))
    with pytest.raises(PerrinError, match="a history of 20 steps holds no errors of forecasts of 15 steps"):
        SeasonalBootstrap(10)(np.zeros((1, 20)), 15, 3, 0)
    with pytest.raises(PerrinError, match="season = 0 steps"):
        SeasonalNaive(0)(np.zeros((1, 20)), 5, 3, 0)
    with pytest.raises(PerrinError, match="one step has no steps"):
        RandomWalk()(np.zeros((1, 1)), 5, 3, 0)

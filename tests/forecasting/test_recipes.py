"""The recipes of forecasting: prices that fall below zero, counts that are corrected, load with its calendar."""

from __future__ import annotations

import numpy as np
import pytest

from perrin import api
from perrin.errors import PerrinError
from perrin.forecasting.forecaster import ModelForecaster
from perrin.forecasting.trials import tried
from perrin.kinds.series import SeriesCodec, open_series
from perrin.training import recipe as recipes

DAYS = 300
BELOW = 270
"""The day of a negative price."""


def small(name, path, **codec):
    """The recipe, as quick as can be."""
    change = {
        "data": {"path": str(path)}, "codec": {"horizon": 7, "context": 21, **codec},
        "net": {"width": 16, "blocks": 1, "patch": 7},
        "training": {"steps": 20, "batch": 8, "validation": 0, "cpu_seconds": None}, "sampling": {"steps": 4},
    }  # fmt: skip
    return recipes.merge(recipes.read(name), change)


def write(folder, columns, start="2020-01-01"):
    """Trading days from a date on."""
    days = np.busday_offset(start, np.arange(DAYS), roll="forward")
    rows = [",".join([str(d), *(f"{c[i]:.4f}" for c in columns.values())]) for i, d in enumerate(days)]
    (folder / "a.csv").write_text(",".join(["date", *columns]) + "\n" + "\n".join(rows) + "\n")
    return folder / "a.csv"


def prices(folder):
    values = 40 * np.exp(np.cumsum(0.02 * np.random.default_rng(0).normal(size=DAYS)))
    values[BELOW] = -36.98
    return write(folder, {"oil": values})


def test_a_price_below_zero_is_noted_and_a_log_refuses_it_with_its_row_and_the_way_out(tmp_path):
    data = open_series(prices(tmp_path))
    when = str(data.parts[0].window.times[BELOW].astype("datetime64[D]"))
    assert f"positive but for -36.98 at {when} (row {BELOW + 1})" in data.description["notes"][-1]
    message = rf"column 'oil' is -36.98 at {when} \(row {BELOW + 1}\); log takes positive values alone. Write the transform"
    with pytest.raises(PerrinError, match=message):
        SeriesCodec.fit(data, transform=["log", "difference"])


def test_a_log_that_learned_positive_prices_refuses_the_day_in_a_later_history_too(tmp_path):
    """All training values are positive; the windows that are forecast hold the negative one."""
    path = prices(tmp_path)
    model = api.train(small("prices", path, transform=["log", "difference"]), out=tmp_path / "run").model
    window = open_series(path).parts[0].window
    message = rf"'oil' is -36.98 at .* \(row {BELOW + 1}\); log takes positive values alone. Write the transform asinh"
    with pytest.raises(PerrinError, match=message):
        tried(window, 7, np.array([245, 280]), model=model)


def test_prices_go_on_from_a_day_below_zero(tmp_path):
    path = prices(tmp_path)
    model = api.train(small("prices", path), out=tmp_path / "run").model
    window = open_series(path).parts[0].window
    forecaster = ModelForecaster.of(model, window)
    paths = forecaster(window.values[:, : BELOW + 1], 7, 50, 0)
    assert np.isfinite(paths).all()
    usual = np.abs(np.diff(window.values[0, : BELOW - 1])).mean()
    assert np.abs(paths[:, 0, 0] + 36.98).mean() < 30 * usual  # a step from that day, not from the day before
    trial = tried(window, 7, np.array([265, 271, 285]), model=model, methods=["random_walk"], paths=10)
    assert all(np.isfinite(own.paths).all() for own in trial.result.answers.values())


def test_steps_of_a_walk_are_centred_by_the_training_data(tmp_path):
    """A window's own drift says little: a window that rose has states above zero, and a forecast that does not rise on."""
    walk = 100 + np.cumsum(np.random.default_rng(1).normal(size=DAYS))
    data = open_series(write(tmp_path, {"a": walk}))
    codec = SeriesCodec.fit(data, transform="difference", horizon=5, context=30)
    risen = walk[:30] + np.arange(30)
    window = data.parts[0].window.rows(0, 35)
    state = codec.encode([{"value": window, "label": None, "name": ""}]).state
    window.values[0, :30] = risen
    moved = codec.encode([{"value": window, "label": None, "name": ""}]).state
    assert float(moved[0, 0, 1:30].median()) > float(state[0, 0, 1:30].median()) + 0.3
    level = SeriesCodec.fit(data, transform="identity", horizon=5, context=30)
    shifted = level.encode([{"value": window, "label": None, "name": ""}]).state
    assert abs(float(shifted[0, 0, :30].quantile(0.5))) < 1e-6  # levels are centred by what is given of them


def test_one_wild_step_does_not_make_a_walk_wild(tmp_path):
    """A price below zero and back, two steps of 90: what comes after them is as wide as it would be without."""
    walk = 100 + np.cumsum(np.random.default_rng(1).normal(size=DAYS))
    data = open_series(write(tmp_path, {"a": walk}))
    window = data.parts[0].window.rows(0, 95)
    codec = SeriesCodec.fit(data, transform="difference", horizon=5, context=90)
    scales = []
    for shock in (0.0, -150.0):
        values = window.values.copy()
        values[0, 60] += shock
        scaled = codec.scaling.scaled(values[None], window.before[None], np.arange(95)[None, None] < 90)
        assert float(scaled.state[0, 0, :90].abs().max()) <= 10  # a network is told enough
        scales.append(float(scaled.scale[0, 0]))
    assert 1 < scales[1] / scales[0] < 1.3  # by the mean deviation alone it would be 4 times as wild


def test_epidemics_are_learned_as_increments_and_told_as_totals(tmp_path):
    rng = np.random.default_rng(2)
    cases = np.round(500 * (1.2 + np.sin(np.arange(DAYS) / 20)) * rng.uniform(0.5, 1.5, DAYS))
    cases[150] = -200  # a correction
    path = write(tmp_path, {"a": np.cumsum(cases)})
    model = api.train(small("epidemic", path), out=tmp_path / "run").model
    codec = model.codec
    assert [name for name, _ in codec.transforms[0]] == ["difference", "asinh"]
    window = open_series(path).parts[0].window
    paths = ModelForecaster.of(model, window)(window.values[:, :200], 7, 30, 0)
    first = paths[:, 0, 0] - window.values[0, 199]
    assert np.abs(first).max() < 50 * np.abs(cases).max()
    assert np.median(np.abs(first)) > 1
    with pytest.raises(
        PerrinError, match="difference"
    ):  # increments between known totals would have to meet them
        model.sample(2, task="impute", history=window.rows(0, 20))


def test_the_load_recipe_tells_the_calendar(tmp_path):
    hours = np.datetime64("2024-01-01T00") + np.arange(DAYS)
    lines = [f"{h},{50 + 10 * np.sin(i / 24 * 2 * np.pi) + i % 5}" for i, h in enumerate(hours)]
    (tmp_path / "a.csv").write_text("time,load\n" + "\n".join(lines) + "\n")
    made = recipes.merge(small("load", tmp_path / "a.csv"), {"codec": {"horizon": 24, "context": 48}})
    model = api.train(made, out=tmp_path / "run").model
    assert model.codec.tells["covariates"] == 6  # sine and cosine of day, week and year
    assert model.sample(2, history=open_series(tmp_path / "a.csv").parts[0].window).decoded[0].shape == (
        1,
        72,
    )

"""Backtests of models: told the past alone, refused where they have learned it, and calibrated in words."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from tests.forecasting.conftest import ROWS, tiny_recipe

from perrin import api
from perrin.errors import PerrinError
from perrin.evaluate.judging import judge
from perrin.forecasting.calibration import calibration, in_words
from perrin.forecasting.forecaster import ModelForecaster
from perrin.forecasting.judging import joined
from perrin.forecasting.trial_page import save_trial
from perrin.forecasting.trials import MODEL, likelihood_ranks, origins_of, tried
from perrin.series import backtest

NAIVE = ("seasonal_naive", "seasonal_bootstrap")


@pytest.fixture(scope="module")
def early(seasonal, tmp_path_factory):
    """A run that learned the first four fifths."""
    recipe = tiny_recipe(seasonal) | {"held_out": 0.2, "evaluation": {"samples": 20}}
    return api.train(recipe, out=tmp_path_factory.mktemp("runs") / "early")


@pytest.fixture(scope="module")
def trial(early, tiny):
    window = tiny[1].parts[0].window
    origins = origins_of(window, 7, 6, model=early.model)
    return tried(window, 7, origins, model=early.model, methods=NAIVE, season=7, paths=12, ranked=5)


def test_what_comes_after_the_origin_changes_no_answer(tiny):
    """Neither values nor times of later rows are looked at, nor do they have to be there."""
    model, data = tiny
    window = data.parts[0].window
    history = window.values[:, :100]
    told = ModelForecaster.of(model, window)(history, 5, 3, 7)
    blind = replace(window, values=np.full_like(window.values, 1e9))
    np.testing.assert_array_equal(ModelForecaster.of(model, blind)(history, 5, 3, 7), told)
    short = window.rows(0, 100)
    np.testing.assert_array_equal(ModelForecaster.of(model, short)(history, 5, 3, 7), told)
    moved = history.copy()
    moved[:, -1] += 5
    assert np.abs(ModelForecaster.of(model, window)(moved, 5, 3, 7) - told).max() > 0.1


def test_an_answer_is_a_function_of_the_seed_and_the_path(tiny):
    model, data = tiny
    forecaster = ModelForecaster.of(model, data)
    history = data.parts[0].window.values[:, :90]
    many = forecaster(history, 7, 4, 3)
    np.testing.assert_allclose(forecaster(history, 7, 2, 3), many[:2], rtol=1e-5)
    assert np.abs(forecaster(history, 7, 2, 4) - many[:2]).max() > 0.1
    same = model.sample(2, seed=3, history=data.parts[0].window.rows(60, 90), horizon=7).decoded
    np.testing.assert_allclose(np.stack([w.values[:, -7:] for w in same]), many[:2], rtol=1e-5)


def test_a_history_that_ends_in_a_gap_is_forecast_from_its_last_value_on(tiny):
    """Rows without any value at the end are drawn too, and left out of the answer."""
    model, data = tiny
    forecaster = ModelForecaster.of(model, data)
    history = data.parts[0].window.values[:, :90].copy()
    history[:, -2:] = np.nan
    shifted = forecaster(history[:, :-2], 7, 2, 3)
    np.testing.assert_allclose(forecaster(history, 5, 2, 3), shifted[:, :, 2:], rtol=1e-5)
    assert forecaster(history, 12, 2, 3).shape == (2, 2, 12)  # and rolled beyond the model's own horizon


def test_other_histories_and_models_are_refused(tiny):
    model, data = tiny
    forecaster = ModelForecaster.of(model, data)
    with pytest.raises(PerrinError, match=r"must be \[columns, rows\] of load, wind"):
        forecaster(np.zeros((3, 50)), 7, 2, 0)
    renamed = replace(data.parts[0].window, names=("a", "b"))
    with pytest.raises(PerrinError, match="trained on column 'load'"):
        ModelForecaster.of(model, replace(data, parts=[replace(data.parts[0], window=renamed)]))


def test_windows_that_were_learned_are_refused_or_left_out(tiny, early):
    window = tiny[1].parts[0].window
    assert origins_of(window, 7, 5, model=early.model)[0] == ROWS * 4 // 5
    assert origins_of(window, 7, 5, 0.1, early.model)[0] == ROWS * 9 // 10
    with pytest.raises(
        PerrinError, match=r"learned rows up to 2023-07-12 \(row 192 of 240\), and windows of the last 40%"
    ):
        origins_of(window, 7, 5, 0.4, early.model)
    with pytest.raises(PerrinError, match="and 0 come after: no window of 7 steps that it has not seen"):
        origins_of(window, 7, 5, model=tiny[0])  # which learned everything


def test_a_trial_has_the_model_beside_the_simple_methods(trial, tmp_path):
    assert list(trial.result.answers) == [MODEL, *NAIVE]
    rival, gain = trial.gain
    losses = [trial.result.answers[name].figures["loss"].value for name in (MODEL, rival)]
    assert gain.value == pytest.approx(1 - losses[0] / losses[1])
    files = save_trial(trial, tmp_path / "trial")
    assert [f.name for f in files] == ["backtest.html", "backtest.json", "windows.png", "calibration.png"]
    written = json.loads(files[1].read_text())
    assert [row["method"] for row in written["methods"]] == [MODEL, *NAIVE]
    assert written["quantile_loss"] == pytest.approx(losses[0])
    assert written["quantile_loss_baseline"] == pytest.approx(losses[1])
    page = files[0].read_text()
    assert "what came true" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    with pytest.raises(PerrinError, match="is a file"):
        save_trial(trial, files[1])


def test_densities_are_ranked_among_those_of_the_models_own_paths(early, trial, monkeypatch):
    """A truth that is likelier than all paths ranks last, and one that is less likely first."""
    asked = []

    def said(windows, **_):
        asked.append(windows)
        order = np.arange(len(windows), dtype=np.float64)
        value = order if high is False else -order
        return type("Found", (), {"value": __import__("torch").from_numpy(value)})

    monkeypatch.setattr(early.model, "log_prob", said)
    own = ModelForecaster.of(early.model, trial.window)
    for high in (True, False):
        ranks = likelihood_ranks(own, trial.window.values, trial.result, 5, 0)
        assert ((ranks > 5 / 6) if high else (ranks < 1 / 6)).all()
    first, origin = asked[0][0], int(trial.result.origins[0])
    np.testing.assert_array_equal(first.values[:, -7:], trial.result.truth[0])
    np.testing.assert_array_equal(first.values[:, :-7], trial.window.values[:, origin - 21 : origin])
    assert all(w.given[:, :-7].all() and not w.given[:, -7:].any() for w in asked[0])
    assert trial.ranks.shape == (6,)
    assert ((trial.ranks > 0) & (trial.ranks < 1)).all()


def test_trials_of_several_series_are_one(trial):
    both = joined([trial, trial])
    assert both.result.truth.shape[0] == 12
    assert not both.result.overlapping
    assert both.result.answers[MODEL].figures["loss"].value == pytest.approx(
        trial.result.answers[MODEL].figures["loss"].value
    )
    np.testing.assert_array_equal(both.times(6), trial.times(0))
    np.testing.assert_array_equal(both.history(6, 9)[1], trial.history(0, 9)[1])


def test_calibration_is_said_in_words():
    uniform = np.random.default_rng(0).random((200, 30))
    assert in_words(calibration(uniform)).startswith("flat within the 95 % band of 10 bins")
    narrow = np.where(uniform < 0.5, uniform / 2, 1 - (1 - uniform) / 2)
    assert "lie too close together" in in_words(calibration(narrow))
    assert "lie too far apart" in in_words(calibration(0.25 + uniform / 2))
    assert "paths are too low" in in_words(calibration(uniform**0.5))
    assert "paths are too high" in in_words(calibration(uniform**2))
    single = np.random.default_rng(1).random(50) ** 2
    assert "less likely under the model than its own paths" in in_words(calibration(single), "densities")
    assert "0 to 0.17 (" in in_words(calibration(single), "densities")
    both = np.where(np.arange(50) % 2, single, 1 - single)
    assert "some windows are far less likely" in in_words(calibration(both), "densities")


def test_a_model_of_series_is_judged_by_its_forecasts(early):
    figures, folder = judge(early.folder, samples=12)
    assert figures["counts"] == {"windows": 42, "series": 1}  # 48 rows were held out
    assert figures["quantile_loss"] > 0
    assert {row["method"] for row in figures["methods"]} >= {MODEL, "ets", "arima"}
    page = (folder / "report.html").read_text()
    assert figures["calibration_words"][0].startswith("True values: ")
    assert "In the 80 % interval" in page
    assert "All methods" in page
    assert (folder / "samples.csv").is_file()


def test_a_backtest_trains_on_the_rows_before_its_windows(seasonal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = tiny_recipe(seasonal)
    options = {
        "horizon": 7,
        "windows": 4,
        "methods": ["seasonal_naive"],
        "paths": 8,
        "share": 0.3,
        "recipe": recipe,
    }
    found = backtest(seasonal, **options)
    end = np.datetime64(api.load(found.about["model"]).codec.end)
    assert end < found.times(0)[0]
    assert end == found.window.times[found.result.origins[0] - 1]
    again = backtest(seasonal, **options)
    assert "used again" in again.about["notes"][-1]
    np.testing.assert_array_equal(again.result.answers[MODEL].paths, found.result.answers[MODEL].paths)


def test_the_command_prints_the_table(seasonal, early, tmp_path, capsys):
    from perrin.cli.entry import main

    arguments = ["backtest", str(seasonal), "--windows", "3", "--paths", "8", "--methods", "seasonal_naive"]
    assert main([*arguments, "--model", str(early.folder), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "| model |" in said
    assert re.search(
        r"the model loses [\d.]+% ± [\d.]+% (less|more) than seasonal_naive, the best simple method", said
    )
    assert (tmp_path / "out" / "backtest.html").is_file()
    assert main([*arguments, "--simple", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["methods"][0]["method"] == "seasonal_naive"
    assert main([*arguments, "--simple", "--model", "x"]) == 2
    assert main([*arguments[:-1], "naive", "--simple"]) == 2
    assert "did you mean 'seasonal_naive'" in capsys.readouterr().err

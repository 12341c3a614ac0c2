"""What a forecast says: quantiles, events with their errors, paths of note, and log-densities of rolled paths."""

import numpy as np
import pytest
import torch
from tests.forecasting.conftest import tiny_recipe, write_seasonal

import perrin
from perrin.errors import PerrinError
from perrin.forecasting import Forecast, forecast
from perrin.forecasting.drawing import chained
from perrin.forecasting.ranking import extremity, share
from perrin.forecasting.rolling import blocks
from perrin.forecasting.runs import at_once
from perrin.kinds.series.window import SeriesWindow
from perrin.likelihood import LogProb


def densities(values, stderr=0.5):
    value = torch.tensor(values, dtype=torch.float64)
    return LogProb(
        value, torch.full_like(value, stderr), torch.ones(len(value), dtype=torch.bool), {"all": value}, 3
    )


def of_paths(paths, names=("a", "b"), log_probs=None):
    """A forecast of given paths [n, C, H] after three rows of history."""
    n, size, steps = paths.shape
    past, times = np.zeros((size, 3)), np.arange(3 + steps)
    given = np.zeros((size, 3 + steps), bool)
    given[:, :3] = True
    before = np.full(size, np.nan)
    history = SeriesWindow(names, times[:3], past, before, known=np.empty((0, 3)))
    windows = [
        SeriesWindow(names, times, np.concatenate([past, p], 1), before, given, np.empty((0, 3 + steps)))
        for p in paths
    ]
    made = [{"seed": 0, "index": i, "wanted": {"horizon": steps}} for i in range(n)]
    return Forecast(history, windows, steps, made, log_probs or {})


@pytest.fixture
def paths():
    return np.random.default_rng(0).normal(size=(99, 2, 5)).cumsum(-1)


def test_quantiles_are_of_the_paths(paths):
    found = of_paths(paths).quantiles([0.1, 0.5])
    # rank p (n + 1) of 99 paths is the 10th and the 50th smallest
    ordered = np.sort(paths, 0)
    np.testing.assert_allclose(found, ordered[[9, 49]])
    for bad in ([0.0], [0.5, 1.0]):
        with pytest.raises(PerrinError, match="between 0 and 1"):
            of_paths(paths).quantiles(bad)


def test_the_probability_of_an_event_is_its_share_of_the_paths(paths):
    found = of_paths(paths)
    p, error = found.probability("max(a) > 1.5 and b[5] < 0")
    holds = (paths[:, 0].max(-1) > 1.5) & (paths[:, 1, 4] < 0)
    assert p == holds.mean()
    assert 0 < p < 1
    assert error == pytest.approx((p * (1 - p) / 99) ** 0.5, rel=0.1)


def test_a_share_of_none_or_all_is_not_known_exactly():
    for holds in (np.zeros(200, bool), np.ones(200, bool)):
        p, error = share(holds)
        assert p == holds[0]
        assert 0.001 < error < 0.01


def test_the_error_of_a_share_is_that_of_repeated_forecasts():
    rng = np.random.default_rng(0)
    shares, errors = zip(*(share(rng.random(200) < 0.1) for _ in range(2000)), strict=True)
    assert np.mean(errors) == pytest.approx(np.std(shares), rel=0.05)


def test_the_likeliest_path_has_the_highest_density(paths):
    values = np.random.default_rng(1).normal(size=99)
    values[40], values[7], values[50] = 9.0, -9.0, np.nan
    found = of_paths(paths, log_probs={"bound": densities(values)})
    assert (found.most_likely(), found.least_likely()) == (40, 7)
    assert found.by_likelihood()[[0, 97, 98]].tolist() == [40, 7, 50]
    both = of_paths(paths, log_probs={"bound": densities(values), "ode": densities(-values)})
    assert both.most_likely() == 7  # the flow's, where there are both
    with pytest.raises(PerrinError, match="no log-densities"):
        of_paths(paths).most_likely()


def test_the_most_extreme_path_is_furthest_out_by_ranks(paths):
    paths[30, 0] = paths[:, 0].max(0) + 0.001  # at the edge of the fan everywhere, however little
    paths[31, 0, 2] = 1e6  # a single step, however far
    found = of_paths(paths)
    assert found.highest("a") == found.highest(0) == 30
    paths[30, 1] = paths[:, 1].min(0) - 0.001
    found = of_paths(paths)
    assert found.most_extreme() == 30
    assert found.lowest("b") == 30
    with pytest.raises(PerrinError, match="column 'c'"):
        found.highest("c")


def test_ranks_know_no_units(paths):
    scaled = paths * np.array([1000.0, 0.01])[None, :, None]
    np.testing.assert_allclose(extremity(scaled), extremity(paths))
    np.testing.assert_allclose(extremity(np.exp(paths)), extremity(paths))


def test_factors_chain_to_the_density_of_all_steps():
    found = chained([densities([1.0, 2.0], 0.3), densities([-4.0, 5.0], 0.4)])
    assert found.value.tolist() == [-3.0, 7.0]
    assert found.parts["all"].tolist() == [-3.0, 7.0]
    np.testing.assert_allclose(found.stderr, 0.5)
    assert found.evaluations == 6
    assert found.converged.all()


def test_the_density_of_a_rolled_path_is_that_of_its_blocks(tiny):
    model, data = tiny
    history = data.parts[0].own
    found = forecast(
        model, history, horizon=14, samples=3, likelihood="bound", likelihood_options={"samples": 32}
    )
    parts = list(blocks(model, history, 14, 3))
    each = [model.log_prob(p.windows, method="bound", samples=32, seed=0).value for p in parts]
    torch.testing.assert_close(found.log_prob.value, each[0] + each[1])
    assert found.about["blocks"] == 2
    assert torch.isfinite(found.log_prob.value).all()


def test_a_forecast_is_a_function_of_its_seed(tiny):
    model, data = tiny
    asked = {"horizon": 10, "samples": 4, "likelihood": None}
    first, again, other = (forecast(model, data.parts[0].own, seed=s, **asked).paths for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_only_the_last_rows_of_a_history_are_looked_at(tiny):
    model, data = tiny
    whole = data.parts[0].own
    asked = {"horizon": 7, "samples": 2, "likelihood": None}
    short = forecast(model, whole.rows(240 - 21, 240), **asked)
    assert np.array_equal(short.paths, forecast(model, whole, **asked).paths)


def test_what_cannot_be_forecast_is_refused(tiny):
    model, data = tiny
    history = data.parts[0].own
    with pytest.raises(PerrinError, match="step 8 is not drawn"):
        forecast(model, history, horizon=7, samples=2, events=["load[8] > 1"])
    with pytest.raises(PerrinError, match="draws at once"):
        forecast(model, history, horizon=8, samples=2, scenario="max(load) > 120")
    with pytest.raises(PerrinError, match="likelihood 'exact'"):
        forecast(model, history, horizon=7, samples=2, likelihood="exact")


@pytest.mark.parametrize(
    ("horizon", "rows", "expected"),
    [(30, 2000, 30), (64, 2000, 64), (65, 2000, 33), (168, 2000, 56), (30, 40, 8)],
)
def test_long_horizons_are_drawn_in_even_blocks(horizon, rows, expected):
    assert at_once(horizon, rows) == expected


def test_a_model_finds_its_columns_in_any_order(tiny, seasonal, tmp_path):
    lines = [line.split(",") for line in seasonal.read_text().splitlines()]
    path = tmp_path / "other.csv"
    path.write_text(
        "\n".join(f"{d},{b},{i % 5},{a}" if i else f"{d},{b},extra,{a}" for i, (d, a, b) in enumerate(lines))
    )
    asked = {"horizon": 7, "samples": 2, "likelihood": None}
    found, plain = (perrin.forecast(p, tiny[0], **asked) for p in (path, seasonal))
    assert found.names == ("load", "wind")
    assert np.array_equal(found.paths, plain.paths)


def test_data_that_are_not_the_models_are_refused(tiny, seasonal, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(seasonal.read_text().replace("wind", "sun"))
    with pytest.raises(PerrinError, match=r"column 'wind'.*load, sun"):
        perrin.forecast(other, tiny[0], horizon=7)
    with pytest.raises(PerrinError, match="every 1 day; these come every 7 days"):
        perrin.forecast(seasonal, tiny[0], horizon=7, frequency="W")
    with pytest.raises(PerrinError, match="240 is longer than the data, which have 240 rows"):
        perrin.forecast(seasonal, tiny[0], horizon=240)
    with pytest.raises(PerrinError, match="did you mean 'frequency'"):
        perrin.forecast(seasonal, tiny[0], frequenzy="W")


def test_a_run_is_used_again_for_the_same_data_and_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_seasonal(tmp_path / "data.csv", 120)
    recipe = tiny_recipe(path)
    recipe["training"]["steps"] = 3
    asked = {"recipe": recipe, "horizon": 7, "samples": 2, "likelihood": None}
    first = perrin.forecast(path, **asked)
    again = perrin.forecast(
        path.rename(tmp_path / "moved.csv"), **{**asked, "recipe": {**recipe, "name": "x"}}
    )
    assert "was trained" in first.about["notes"][-1]
    assert first.about["model"] != again.about["model"]  # it has the name of another file
    path = (tmp_path / "moved.csv").rename(tmp_path / "data.csv")
    again = perrin.forecast(path, **asked)
    assert "used again" in again.about["notes"][-1]
    assert np.array_equal(first.paths, again.paths)
    changed = perrin.forecast(path, **asked, changes=["training.lr=1e-3"])
    write_seasonal(path, 119)
    other = perrin.forecast(path, **asked)
    assert len({f.about["model"] for f in (first, changed, other)}) == 3


def test_an_interrupted_run_is_finished(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_seasonal(tmp_path / "data.csv", 120)
    recipe = tiny_recipe(path)
    recipe["training"]["steps"] = 5
    asked = {"recipe": recipe, "horizon": 7, "samples": 2, "likelihood": None}
    first = perrin.forecast(path, **asked)
    (tmp_path / first.about["model"] / "README.md").unlink()  # which a run writes last
    assert "was finished" in perrin.forecast(path, **asked).about["notes"][-1]

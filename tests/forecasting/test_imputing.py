"""Gaps are filled coherently, window after window, and what is given stays to the bit."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tests.forecasting.conftest import tiny_recipe, write_seasonal

import perrin
from perrin import api
from perrin.errors import PerrinError
from perrin.forecasting import impute
from perrin.forecasting.imputing import next_gap, placed
from perrin.kinds.series import open_series
from perrin.kinds.series.window import SeriesWindow

GAPS = [(0, 0), *((i, 0) for i in range(60, 130)), (61, 1), (128, 1), (200, 0), (239, 1)]


@pytest.fixture(scope="module")
def gappy(tmp_path_factory):
    return write_seasonal(tmp_path_factory.mktemp("gappy") / "gappy.csv", gaps=GAPS)


@pytest.fixture(scope="module")
def series(gappy):
    return open_series(gappy).parts[0].own


@pytest.fixture(scope="module")
def filled(tiny, series):
    return impute(tiny[0], series, samples=5, seed=2)


class Counting:
    """A model whose k-th call fills a gap with k more than what stands before it."""

    codec = SimpleNamespace(kind="series", context=8, horizon=4)

    def __init__(self):
        self.lengths, self.calls = set(), 0

    def sample(self, n, *, seed, task, history):
        assert task == "impute"
        self.calls += 1
        self.lengths |= {window.shape[1] for window in history}
        made = []
        for window in history:
            values = window.values.copy()
            for t in np.flatnonzero(np.isnan(values[0])):
                values[0, t] = (values[0, t - 1] if t else window.before[0]) + self.calls
            made.append(SimpleNamespace(values=values))
        return SimpleNamespace(decoded=made, provenance=[{"index": 0, "wanted": {}}])


def row(values):
    values = np.asarray(values, np.float64)[None]
    rows = np.arange(values.shape[1])
    return SeriesWindow(("a",), rows, values, np.full(1, np.nan), known=np.empty((0, len(rows))))


def test_what_is_given_stays_to_the_bit_in_every_path(series, filled):
    known = ~np.isnan(series.values)
    assert (~known).sum() == len(GAPS)
    for whole in (filled.median(), *(filled.path(i) for i in range(5))):
        assert np.array_equal(whole[known], series.values[known])
        assert np.isfinite(whole).all()


def test_what_fills_the_gaps_differs_between_paths(filled):
    assert filled.drawn.shape == (5, len(GAPS))
    assert (np.ptp(filled.drawn, axis=0) > 0).all()


def test_a_gap_longer_than_a_window_is_filled_from_its_own_past():
    values = np.arange(60.0)
    values[10:50] = np.nan
    model = Counting()
    whole = impute(model, row(values), samples=2).path(1)[0]
    # windows of 12 rows begin 4 before the first open gap, and what is in their last 3 is drawn again
    steps = np.diff(whole)[9:49]
    assert steps[:13].tolist() == [1.0] * 5 + [2.0] * 5 + [3.0] * 3
    assert set(np.diff(steps)) == {
        0.0,
        1.0,
    }  # each went on from what had been drawn before it, and changed none of it
    assert steps[-1] == model.calls
    assert model.lengths == {12}


def test_a_series_shorter_than_a_window_is_filled_at_once():
    model = Counting()
    found = impute(model, row([0, 1, np.nan, 3]), samples=1)
    assert found.path(0).tolist() == [[0, 1, 2, 3]]
    assert model.lengths == {4}
    assert found.about["windows"] == 1


def test_windows_hold_their_gap_and_always_go_on():
    for length, end in ((12, 12), (12, 13), (12, 100), (28, 100), (5, 40)):
        for first in range(end):
            start, kept = placed(first, length, end)
            assert 0 <= start <= first < start + length <= end
            assert first < kept <= end
            assert kept <= start + length
    gaps = np.zeros((2, 9), bool)
    gaps[1, 4] = True
    assert (next_gap(gaps, 0), next_gap(gaps, 4), next_gap(gaps, 5)) == (4, 4, None)


def test_a_path_is_the_same_alone_and_among_others(tiny, series, filled):
    alone = impute(tiny[0], series, samples=1, seed=2)
    np.testing.assert_allclose(alone.drawn[0], filled.drawn[0], rtol=1e-3)
    assert not np.allclose(impute(tiny[0], series, samples=1, seed=3).drawn[0], filled.drawn[0], rtol=1e-2)


def test_gaps_are_filled_better_than_by_the_mean(tmp_path):
    path = write_seasonal(tmp_path / "gappy.csv", gaps=GAPS)
    recipe = tiny_recipe(path, tasks={"impute": 1.0})
    recipe["training"]["steps"] = 300
    model = api.train(recipe, out=tmp_path / "run").model
    found = impute(model, open_series(path).parts[0].own, samples=20)
    truth = open_series(write_seasonal(tmp_path / "whole.csv")).parts[0].own.values
    error = (found.median() - truth)[found.columns, found.rows]
    load = found.columns == 0
    assert error[load].std() < 0.6 * truth[0].std()


def test_tables_hold_gaps_intervals_and_paths(filled, series, tmp_path):
    files = {f.name: f for f in filled.save(tmp_path / "out")}
    whole = pd.read_csv(files["filled.csv"])
    assert np.array_equal(whole[["load", "wind"]].to_numpy().T, filled.median())
    gaps = pd.read_csv(files["gaps.csv"])
    assert len(gaps) == len(GAPS)
    assert (gaps["low_80"] < gaps["median"]).all()
    assert (gaps["median"] < gaps["high_80"]).all()
    place = [pd.Index(whole["time"]).get_loc(t) for t in gaps["time"]]
    assert sorted(zip(place, (gaps["column"] == "wind").astype(int), strict=True)) == sorted(GAPS)
    paths = pd.read_csv(files["paths.csv"])
    rows = np.unique([r for r, _ in GAPS])
    assert len(paths) == 5 * len(rows)
    assert np.array_equal(paths["load"][paths["path"] == 3], filled.path(3)[0, rows])
    assert files["filled.png"].stat().st_size > 10_000


def test_what_cannot_be_filled_is_refused(tiny, series, seasonal, tmp_path):
    with pytest.raises(PerrinError, match="no gap to fill"):
        impute(tiny[0], tiny[1].parts[0].own)
    empty = SeriesWindow(
        series.names, series.times, np.where([[True], [False]], np.nan, series.values), series.before
    )
    with pytest.raises(PerrinError, match="no value of column 'load'"):
        impute(tiny[0], empty)
    with pytest.raises(PerrinError, match="no gap to fill"):
        perrin.impute(seasonal)
    with pytest.raises(PerrinError, match="to a folder"):
        impute(Counting(), row([1, np.nan, 3, 4]), samples=1).save(tmp_path / "filled.csv")

"""Futures longer than a model's horizon are drawn block after block, each path going on from its own past."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from perrin.errors import PerrinError
from perrin.forecasting import roll
from perrin.forecasting.rolling import block_seed, blocks, gone_on
from perrin.kinds.series.frequency import Frequency
from perrin.kinds.series.window import SeriesWindow


def drawn(windows, steps):
    return np.stack([w.values[:, -steps:] for w in windows])


def test_a_forecast_within_the_horizon_is_a_sample_of_the_model(tiny):
    model, data = tiny
    history = data.parts[0].own
    sampled = model.sample(3, seed=5, task="forecast", history=history, horizon=7).decoded
    assert np.array_equal(drawn(roll(model, history, 7, 3, 5), 7), drawn(sampled, 7))


@pytest.mark.parametrize("horizon", [1, 7, 8, 20])
def test_any_horizon_goes_on_in_time(tiny, horizon):
    model, data = tiny
    history = data.parts[0].own
    for window in roll(model, history, horizon, 2):
        assert window.shape == (2, 21 + horizon)
        assert (np.diff(window.times) == np.timedelta64(1, "D")).all()
        assert np.array_equal(window.values[:, :21], history.values[:, -21:])
        assert window.given[:, :21].all()
        assert not window.given[:, 21:].any()
        assert np.isfinite(window.values).all()


def test_every_path_goes_on_from_its_own_past(tiny):
    model, data = tiny
    first, second, third = blocks(model, data.parts[0].own, 20, 3)
    assert [part.steps for part in (first, second, third)] == [7, 7, 6]
    for i in range(3):
        told = np.array(second.samples.provenance[i]["wanted"]["history"]["values"], np.float64)
        assert np.array_equal(told[:, -7:], first.windows[i].values[:, -7:])
        both = np.concatenate([first.windows[i].values[:, -7:], second.windows[i].values[:, -7:]], 1)
        assert np.array_equal(third.windows[i].values[:, 7:21], both)
    assert len({second.windows[i].values[0, 20] for i in range(3)}) == 3


def test_a_path_is_the_same_alone_and_among_others(tiny):
    model, data = tiny
    many = drawn(roll(model, data.parts[0].own, 20, 4, 3), 20)
    alone = drawn(roll(model, data.parts[0].own, 20, 1, 3, first=2), 20)
    np.testing.assert_allclose(many[2], alone[0], rtol=1e-4)
    other = drawn(roll(model, data.parts[0].own, 20, 1, 4, first=2), 20)
    assert not np.allclose(other, alone, rtol=1e-2)


def test_blocks_draw_with_seeds_of_their_own():
    seeds = {block_seed(seed, block) for seed in range(50) for block in range(50)}
    assert block_seed(7, 0) == 7
    assert len(seeds) == 50 * 50


def test_gaps_of_the_history_stay_open_in_the_windows_of_a_density(tiny):
    model, data = tiny
    history = data.parts[0].own.rows(0, 240)
    values = history.values.copy()
    values[0, 230] = np.nan
    gappy = SeriesWindow(history.names, history.times, values, history.before, known=history.known)
    first, second = blocks(model, gappy, 14, 2)
    for part, place in ((first, 11), (second, 4)):
        for window in part.windows:
            assert np.isnan(window.values[0, place])
            assert not window.given[0, place]
            assert np.array_equal(window.given[:, :21], ~np.isnan(window.values[:, :21]))


def test_covariates_of_the_future_stay_at_their_times():
    rows = np.arange(30.0)
    values = np.concatenate([rows[:20], np.full(10, np.nan)])[None]
    past = SeriesWindow(("a",), np.arange(30), values, np.full(1, np.nan), known=rows[None])
    codec = SimpleNamespace(context=8, frequency=Frequency("rows"))
    window = SeriesWindow(
        ("a",), np.arange(12, 23), rows[None, 12:23], np.full(1, 11.0), known=rows[None, 12:23]
    )
    after = gone_on(past, window, 3, codec)
    assert np.array_equal(after.known[0], after.times)
    assert np.array_equal(after.values[0, :11], after.times[:11])
    assert after.times[-1] == 29
    assert np.isnan(after.values[0, -7:]).all()
    again = gone_on(after, replace(window, times=window.times + 3, known=rows[None, 15:26]), 3, codec)
    assert np.array_equal(again.known[0], again.times)


def test_a_column_that_ended_early_is_drawn_to_the_end_and_goes_on_from_there(tiny):
    model, data = tiny
    history = data.parts[0].own
    values = history.values.copy()
    values[1, -3:] = np.nan
    first, second = blocks(model, replace(history, values=values), 14, 3)
    for i in range(3):
        window = first.windows[i]
        assert np.isfinite(window.values).all()
        assert not window.given[1, 18:21].any()
        assert window.given[0, :21].all()
        assert np.array_equal(second.windows[i].values[1, 11:14], window.values[1, 18:21])
        assert second.windows[i].given[:, :21].all()
    assert len({part.values[1, 18] for part in first.windows}) == 3


def test_an_outline_of_many_histories_is_that_of_each(tiny):
    codec, history = tiny[0].codec, tiny[1].parts[0].own
    both = [history.rows(0, 100), history.rows(20, 150)]
    outline = codec.outline(2, 0, 0, history=both)
    for i, one in enumerate(both):
        alone = codec.outline(1, 0, 0, history=one)
        assert torch.equal(outline.known[i], alone.known[0])
        assert outline.about[i] == alone.about[0]
        for name, value in alone.condition.items():
            assert torch.equal(outline.condition[name][i].nan_to_num(), value[0].nan_to_num()), name
    with pytest.raises(PerrinError, match="2 histories for 3 samples"):
        codec.outline(3, 0, 0, history=both)


@pytest.mark.parametrize("horizon", [0, -1, 2.0, True])
def test_a_horizon_is_a_number_of_steps(tiny, horizon):
    with pytest.raises(PerrinError, match="horizon"):
        roll(tiny[0], tiny[1].parts[0].own, horizon, 2)

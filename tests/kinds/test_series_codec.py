"""Windows <-> states: nothing leaks from what is to be drawn, what is given stays to the bit, outlines say it all."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from perrin.contracts import Cuts, DecodesGiven, Outlines
from perrin.denoise import exact
from perrin.errors import PerrinError
from perrin.kinds.provenance import read_provenance
from perrin.kinds.series import Series, SeriesWindow
from perrin.kinds.series.frequency import Frequency
from perrin.kinds.series.parts import Part, SeriesData
from perrin.kinds.series.saving import read_saved
from perrin.learn.denoising import Denoising
from perrin.learn.laws import lognormal
from perrin.learn.weighting import edm
from perrin.process import vp
from perrin.process.gaussian import marginal
from perrin.sample import make_plan, run

pytest.importorskip("pandas")
HOUR = 36 * 10**8


def hourly(rows: int = 400, columns: int = 2, seed: int = 0, **options) -> SeriesData:
    generator = np.random.default_rng(seed)
    values = 20 + np.cumsum(generator.normal(size=(columns, rows)), 1)
    frequency = Frequency("microseconds", HOUR)
    times = np.concatenate(
        [[np.datetime64("2020-03-01", "us")], frequency.after(np.datetime64("2020-03-01"), rows - 1)]
    )
    names = tuple("abcdef"[:columns])
    made = {"known": np.empty((0, rows)), **options}
    window = SeriesWindow(names, times, values, np.full(columns, np.nan), **made)
    return SeriesData([Part(window)], frequency, {"kind": "series"})


@pytest.fixture(params=["identity", "asinh", ["log", "difference"], {"a": "cumulative"}], ids=str)
def fitted(request):
    data = hourly()
    data.parts[0].window.values[:] = np.abs(data.parts[0].window.values) + 1
    return data, Series.codec.fit(data, horizon=12, context=36, transform=request.param)


# ---- windows


def test_windows_of_held_out_rows_reach_into_the_past_and_never_beyond_the_end():
    data = hourly(100)
    train, test = data.split(0.2, 0)
    codec = Series.codec.fit(train, horizon=6, context=10)
    early, late = codec.cut(train), codec.cut(test)
    assert (len(early), len(late)) == (80 - 16 + 1, 20 - 6 + 1)
    whole = data.parts[0].window
    np.testing.assert_array_equal(early[len(early) - 1]["value"].times[-1], whole.times[79])
    np.testing.assert_array_equal(late[0]["value"].times, whole.times[70:86])  # its horizon begins at row 80
    np.testing.assert_array_equal(late[14]["value"].values, whole.values[:, 84:])
    np.testing.assert_array_equal(late[0]["value"].before, whole.values[:, 69])
    with pytest.raises(PerrinError, match="windows overlap"):
        early.split(0.1, 0)


def test_what_comes_later_changes_nothing_that_was_fitted():
    data = hourly(200)
    codec = Series.codec.fit(data.split(0.25, 0)[0], horizon=6, context=10)
    data.parts[0].window.values[:, 150:] = 1e6
    assert Series.codec.fit(data.split(0.25, 0)[0], horizon=6, context=10) == codec


def test_windows_without_any_value_to_forecast_are_left_out():
    data = hourly(60)
    data.parts[0].window.values[:, 40:50] = np.nan
    codec = Series.codec.fit(data, horizon=4, context=8)
    starts = [int(item["name"].split()[1]) - 1 for item in codec.cut(data)]
    assert not set(starts) & set(range(32, 39))  # those whose last four rows lie in the gap
    assert {31, 39} <= set(starts)


# ---- states


def test_states_come_back_as_the_windows_that_they_were(fitted):
    data, codec = fitted
    windows = codec.cut(data)
    items = [windows[i] for i in range(0, len(windows), 7)]
    batch = codec.encode(items, range(len(items)))
    assert batch.state.shape == (len(items), *codec.shape)
    for item, decoded in zip(items, codec.decode_given(batch.state, batch.condition), strict=True):
        np.testing.assert_allclose(decoded.values, item["value"].values, rtol=2e-4)
        np.testing.assert_array_equal(decoded.times, item["value"].times)


def test_nothing_of_what_is_to_be_drawn_is_in_what_a_network_is_told(fitted):
    """Other values there change the noised entries alone: not the state's given entries, and not the condition."""
    data, codec = fitted
    windows = codec.cut(data)
    items = [windows[i] for i in range(16)]
    batch = codec.encode(items, range(16))
    hidden = torch.isnan(batch.condition["given"]).numpy()
    changed = [
        {
            **item,
            "value": replace(
                item["value"], values=np.where(mask, 3 * item["value"].values + 1, item["value"].values)
            ),
        }
        for item, mask in zip(items, hidden, strict=True)
    ]
    other = codec.encode(changed, range(16))
    observed = batch.masks.observed
    assert torch.equal(batch.state[observed], other.state[observed])
    assert not torch.equal(batch.state, other.state)
    for name, value in batch.condition.items():
        assert torch.equal(torch.nan_to_num(value), torch.nan_to_num(other.condition[name])), name


def test_masks_say_what_is_there_what_is_given_and_what_is_learned():
    data = hourly(120)
    data.parts[0].window.values[0, 20:24] = np.nan
    codec = Series.codec.fit(data, horizon=6, context=18)
    batch = codec.encode([codec.cut(data)[4], codec.cut(data)[80]])
    assert not batch.masks.valid[0, 0, 16:20].any()
    assert batch.masks.valid[1].all()
    assert not batch.masks.observed[:, :, 18:].any()
    assert batch.masks.observed[1, :, :18].all()
    assert not (batch.masks.observed & ~batch.masks.valid).any()
    assert (
        int(batch.masks.learned.sum()) == 2 * 2 * 6 - 2
    )  # rows 22 and 23 of column a are missing in the first
    assert (batch.state[~batch.masks.valid] == 0).all()


def test_a_seed_names_the_task_and_the_batch_does_not():
    data = hourly()
    codec = Series.codec.fit(data, horizon=12, context=36)
    windows = codec.cut(data)
    together = codec.encode([windows[i] for i in range(64)], range(64))
    alone = codec.encode([windows[9]], [9])
    assert torch.equal(alone.state[0], together.state[9])
    assert torch.equal(alone.masks.observed[0], together.masks.observed[9])
    observed = together.masks.observed
    kinds = {
        "forecast": observed[:, :, :36].flatten(1).all(1) & ~observed[:, :, 36:].flatten(1).any(1),
        "backcast": observed[:, :, 12:].flatten(1).all(1) & ~observed[:, :, :12].flatten(1).any(1),
        "generate": ~observed.flatten(1).any(1),
    }
    counts = {name: int(mask.sum()) for name, mask in kinds.items()}
    assert counts["forecast"] >= 20
    assert counts["backcast"] >= 2
    assert counts["generate"] >= 3
    assert sum(counts.values()) < 64  # and the rest are gaps
    every = Series.codec.fit(data, horizon=12, context=36, tasks={"forecast": 1})
    assert not every.augments
    assert torch.equal(every.encode([windows[3]], [77]).state, every.encode([windows[3]]).state)


def test_a_backcast_is_not_told_what_came_before_its_window():
    data = hourly()
    codec = Series.codec.fit(data, horizon=12, context=36, transform="difference", tasks={"backcast": 1})
    batch = codec.encode([codec.cut(data)[5]], [0])
    assert torch.isnan(batch.condition["before"]).all()
    assert not batch.masks.valid[:, :, 0].any()  # the step from there is none of the window's
    assert batch.masks.valid[:, :, 1:].all()


def test_the_calendar_is_told_and_has_its_cycles():
    data = hourly()
    codec = Series.codec.fit(data, horizon=12, context=36)
    told = codec.encode([codec.cut(data)[0], codec.cut(data)[5]]).condition["covariates"]
    assert told.shape == (2, 6, 48)
    torch.testing.assert_close(told[0, :2, :24], told[0, :2, 24:])  # a day
    torch.testing.assert_close(told[0, :, 5:], told[1, :, :-5])
    torch.testing.assert_close(told[:, 0::2].square() + told[:, 1::2].square(), torch.ones(2, 3, 48))


def test_covariates_and_static_features_are_told_standardised():
    known, static = np.random.default_rng(0).normal(5, 3, (1, 400)), np.array([4.0])
    data = hourly(known=known, static=static)
    codec = Series.codec.fit(data, horizon=12, context=36)
    condition = codec.encode([codec.cut(data)[3]]).condition
    expected = (known[:, 3:51] - known.mean()) / known.std()
    np.testing.assert_allclose(condition["covariates"][0, 6:].numpy(), expected, rtol=1e-5)
    assert condition["static"].tolist() == [[0.0]]
    with pytest.raises(
        PerrinError, match="0 covariates and 0 static features; this model was trained with 1 and 1"
    ):
        codec.outline(1, 0, 0, history=np.ones((2, 30)))
    with pytest.raises(PerrinError, match="needs its covariates for all 12 steps ahead; the data have 0"):
        codec.outline(1, 0, 0, history=data.parts[0].window)
    data.parts[0].window.values[:, 388:] = np.nan
    told = codec.outline(1, 0, 0, history=data.parts[0].window).condition["covariates"]
    np.testing.assert_allclose(
        told[0, 6:, -12:].numpy(), (known[:, 388:] - known.mean()) / known.std(), rtol=1e-5
    )


def test_the_deviation_of_states_is_measured():
    codec = Series.codec.fit(hourly(2_000), horizon=12, context=36, tasks={"generate": 1})
    batch = codec.encode([codec.cut(hourly(2_000))[i] for i in range(0, 1_900, 10)], range(190))
    assert codec.sigma_data == pytest.approx(float(batch.state.std()), rel=0.1)


def test_the_codec_keeps_its_promises_and_its_config_is_json(fitted):
    _, codec = fitted
    assert isinstance(codec, Outlines)
    assert isinstance(codec, Cuts)
    assert isinstance(codec, DecodesGiven)
    assert Series.codec.from_config(json.loads(json.dumps(codec.config()))) == codec
    with pytest.raises(PerrinError, match="log_det_given"):
        codec.log_det()


# ---- outlines


def test_a_forecast_is_outlined_by_its_history(fitted):
    data, codec = fitted
    window = data.parts[0].window
    outline = codec.outline(3, 0, 5, history=window.rows(0, 300), horizon=7)
    assert outline.shape == (2, 43)
    assert outline.masks.valid.all()
    assert outline.masks.observed[:, :, :36].all()
    assert not outline.masks.observed[:, :, 36:].any()
    drawn = codec.decode_given(torch.randn(3, 2, 43), outline.condition)
    np.testing.assert_array_equal(drawn[0].times, window.times[264:307])
    for path in drawn:
        np.testing.assert_array_equal(path.values[:, :36], window.values[:, 264:300])  # to the bit
        np.testing.assert_array_equal(path.given[0], np.arange(43) < 36)
    # what the outline says of the history is what training says of the same window
    trained = codec.encode([{"value": window.rows(264, 312), "label": None, "name": ""}])
    whole = codec.outline(1, 0, 0, history=window.rows(0, 300))
    observed = trained.masks.observed
    torch.testing.assert_close(whole.known[observed], trained.state[observed])
    assert torch.equal(whole.condition["covariates"], trained.condition["covariates"])


def test_what_is_given_of_the_state_is_never_noised():
    data = hourly()
    codec = Series.codec.fit(data, horizon=12, context=36)
    outline = codec.outline(2, 0, 0, history=data.parts[0].window.values)
    noisy = marginal(outline.known, torch.zeros(2, dtype=torch.float64), torch.randn(2, 2, 48))
    state = torch.where(outline.masks.observed, outline.known, noisy)
    path = codec.decode_given(state, outline.condition)[0]
    np.testing.assert_array_equal(path.values[:, :36], data.parts[0].window.values[:, -36:])


def test_outlines_run_and_batches_are_learned_from():
    """Through the solver and the objective of the core: what is given is kept, and only what is drawn is learned."""
    data = hourly()
    codec = Series.codec.fit(data, horizon=12, context=36)
    outline = codec.outline(3, 0, 0, history=data.parts[0].window)
    plan, denoiser = make_plan("ddim", vp(), steps=6), exact.Gaussian(0.0, 1.0)
    drawn = run(
        plan, denoiser, seeds=range(3), shape=outline.shape, condition=outline.condition,
        masks=outline.masks, known=outline.known,
    )  # fmt: skip
    observed = outline.masks.observed
    assert torch.equal(drawn[observed], outline.known[observed])
    path = codec.decode_given(drawn, outline.condition)[2]
    np.testing.assert_array_equal(path.values[:, :36], data.parts[0].window.values[:, -36:])
    assert np.abs(path.values[:, 36:] - path.values[:, 35:36]).max() > 0
    windows = codec.cut(data)
    batch = codec.encode([windows[i] for i in range(16)], range(16))
    losses = Denoising(lognormal(), edm())(
        denoiser, batch.state, batch.condition, torch.arange(16), masks=batch.masks
    )
    wild = torch.where(batch.masks.learned, batch.state, 1e3)  # what is given is not learned
    again = Denoising(lognormal(), edm())(
        denoiser, wild, batch.condition, torch.arange(16), masks=batch.masks
    )
    torch.testing.assert_close(again.value, losses.value)


def test_the_arguments_that_an_outline_gives_settle_it_again(fitted):
    data, codec = fitted
    history = data.parts[0].window.rows(50, 130)
    wishes = [
        {"history": history},
        {"history": history, "task": "backcast", "horizon": 5},
        {"length": 20, "start": "2021-02-03"},
    ]
    for wish in wishes:
        outline = codec.outline(3, 1, 0, **wish)
        again = codec.outline(1, 1, 2, **json.loads(json.dumps(outline.about[2])))
        assert again.shape == outline.shape
        assert torch.equal(again.known[0], outline.known[2])
        for name, value in outline.condition.items():
            assert torch.equal(torch.nan_to_num(again.condition[name][0]), torch.nan_to_num(value[2])), name


def test_plain_arrays_end_where_the_training_data_do():
    data = hourly()
    codec = Series.codec.fit(data, horizon=12, context=36)
    window = data.parts[0].window
    outline = codec.outline(1, 0, 0, history=window.values)
    again = codec.outline(1, 0, 0, history=window)
    assert torch.equal(outline.condition["covariates"], again.condition["covariates"])
    numbered = replace(window, times=np.arange(400))
    with pytest.raises(PerrinError, match="the history has no times, unlike the training data"):
        codec.outline(1, 0, 0, history=numbered)
    rows = Series.codec.fit(SeriesData([Part(numbered)], Frequency("rows"), {}), horizon=12, context=36)
    drawn = rows.decode(torch.zeros(1, 2, 48))[0]
    assert drawn.times[0] == 400
    assert rows.outline(1, 0, 0, history=window.values).condition["times"][0, 36] == 400
    assert (
        "covariates"
        not in rows.encode([rows.cut(SeriesData([Part(numbered)], Frequency("rows"), {}))[0]]).condition
    )


def test_gaps_are_imputed_and_what_is_there_stays_to_the_bit():
    data = hourly()
    codec = Series.codec.fit(data, horizon=12, context=36, transform="asinh")
    history = data.parts[0].window.rows(10, 50)
    history.values[:, 5:9] = np.nan
    history.values[1, 20] = np.nan
    outline = codec.outline(4, 0, 0, task="impute", history=history)
    missing = np.isnan(history.values)
    np.testing.assert_array_equal(~outline.masks.observed[0].numpy(), missing)
    assert outline.masks.valid.all()
    for path in codec.decode_given(torch.randn(4, 2, 40), outline.condition):
        np.testing.assert_array_equal(path.values[~missing], history.values[~missing])
        assert np.isfinite(path.values).all()


def test_a_backcast_leads_up_to_the_history_and_knows_nothing_before_it(fitted):
    data, codec = fitted
    window = data.parts[0].window
    outline = codec.outline(2, 0, 0, task="backcast", history=window.rows(100, 200), horizon=6)
    assert outline.shape == (2, 42)
    state = codec.encode([{"value": window.rows(94, 136), "label": None, "name": ""}]).state
    path = codec.decode_given(state.expand(2, -1, -1), outline.condition)[0]
    np.testing.assert_array_equal(path.values[:, 6:], window.values[:, 100:136])
    np.testing.assert_array_equal(path.times, window.times[94:136])
    assert torch.isnan(outline.condition["before"]).all()


def test_a_short_history_is_led_by_rows_that_are_not_there(fitted):
    data, codec = fitted
    outline = codec.outline(2, 0, 0, history=data.parts[0].window.rows(50, 60))
    assert outline.shape == (2, 48)
    assert not outline.masks.valid[:, :, :25].any()
    assert outline.masks.observed[:, :, 26:36].all()
    assert outline.masks.valid[:, :, 26:].all()
    path = codec.decode_given(torch.zeros(2, 2, 48), outline.condition)[0]
    assert np.isfinite(path.values[:, 26:]).all()


def test_generated_windows_begin_after_the_training_data():
    data = hourly()
    codec = Series.codec.fit(data, horizon=12, context=36)
    windows = codec.decode(torch.randn(3, 2, 48))
    assert windows[0].times[0] == data.parts[0].window.times[-1] + np.timedelta64(HOUR, "us")
    assert not windows[0].given.any()
    outline = codec.outline(1, 0, 0, length=10, start="2022-05-05")
    assert outline.condition["times"][0, 0] == np.datetime64("2022-05-05", "us").astype(np.int64)


BAD = {
    "long horizon": ({"history": np.ones((2, 40)), "horizon": 13}, "draws 1 to 12 steps at once; roll it"),
    "no history": ({"task": "impute"}, "task 'impute' needs a history"),
    "a history": ({"task": "generate", "history": np.ones((2, 40))}, "takes no history"),
    "task": ({"task": "predict", "history": np.ones((2, 40))}, "task 'predict' is not known"),
    "columns": ({"history": np.ones((3, 40))}, r"values of shape \(3, 40\); \[columns, rows\] of a, b"),
    "nothing": ({"history": np.full((2, 40), np.nan)}, "the history holds no value"),
    "no gap": ({"task": "impute", "history": np.ones((2, 40))}, "has no gap to impute"),
    "no class": ({"history": np.ones((2, 40)), "label": "shop"}, "takes no label"),
    "start": ({"start": "soon"}, "start 'soon' is no time"),
    "length": ({"length": 49}, "draws 2 to 48 rows at once"),
}


@pytest.mark.parametrize("case", BAD)
def test_outlines_that_cannot_be_are_refused(case):
    codec = Series.codec.fit(hourly(), horizon=12, context=36)
    wish, message = BAD[case]
    with pytest.raises(PerrinError, match=message):
        codec.outline(1, 0, 0, **wish)


def test_sums_of_differences_are_not_imputed():
    data = hourly()
    codec = Series.codec.fit(data, horizon=12, context=36, transform="difference")
    assert "impute" not in codec.tasks
    with pytest.raises(PerrinError, match="would have to meet its far side"):
        codec.outline(1, 0, 0, task="impute", history=np.where(np.arange(40) == 7, np.nan, np.ones((2, 40))))
    with pytest.raises(PerrinError, match="would have to meet its far side"):
        Series.codec.fit(data, horizon=12, transform="difference", tasks={"impute": 1})


FITS = {
    "long": ({"horizon": 400}, "horizon = 400 is longer than the data, which have 400"),
    "both": ({"horizon": 100, "context": 350}, r"context 350 \+ horizon 100 rows are longer"),
    "none": ({"horizon": 0}, "horizon = 0 must be a whole number"),
    "column": ({"transform": {"z": "log"}}, "column to transform 'z' is not known"),
    "task": ({"tasks": {"predict": 1.0}}, "task 'predict' is not known"),
    "shares": ({"tasks": {"forecast": 0.0}}, "not all zero"),
}


@pytest.mark.parametrize("case", FITS)
def test_fits_that_cannot_be_are_refused(case):
    options, message = FITS[case]
    with pytest.raises(PerrinError, match=message):
        Series.codec.fit(hourly(), **options)


def test_a_price_below_zero_is_refused_by_a_log_and_explained():
    data = hourly()
    data.parts[0].window.values[1, 321] = -36.98
    with pytest.raises(
        PerrinError, match=r"column 'b' is -36.98 at 2020-03-14T09:00 \(row 322\).*Write the transform asinh"
    ):
        Series.codec.fit(data, horizon=12, transform="log")
    codec = Series.codec.fit(data.split(100, 0)[0], horizon=12, transform="log")  # it comes later
    with pytest.raises(PerrinError, match=r"is -36.98"):
        codec.encode([codec.cut(data)[200]])


# ---- likelihood and files


def test_the_jacobian_of_a_batch_is_the_scale_of_what_is_drawn():
    data = hourly()
    codec = Series.codec.fit(data, horizon=12, context=36, tasks={"forecast": 1})
    batch = codec.encode([codec.cut(data)[7]])
    values = codec.decode_given(batch.state, batch.condition)
    shifted = batch.state.clone().double()
    shifted[:, :, 36:] += 1
    scale = codec.decode_given(shifted, batch.condition)[0].values[:, 36:] - values[0].values[:, 36:]
    np.testing.assert_allclose(codec.log_det_given(values, batch.condition), -np.log(scale).sum(), rtol=1e-5)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet", "folder"])
def test_paths_are_saved_with_their_times_and_how_they_were_made(tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    data = hourly()
    codec = Series.codec.fit(data, horizon=12, context=36)
    outline = codec.outline(3, 0, 0, history=data.parts[0].window)
    drawn = codec.decode_given(torch.randn(3, *outline.shape), outline.condition)
    made = [{"seed": 0, "index": i, "wanted": outline.about[i]} for i in range(3)]
    path, beside = codec.save(drawn, tmp_path / name, made)
    np.testing.assert_allclose(read_saved(path), [w.values[:, 36:] for w in drawn], rtol=1e-15)
    assert read_provenance(path)["items"] == json.loads(json.dumps(made))
    assert beside.is_file()
    if name == "a.csv":
        lines = path.read_text().splitlines()
        assert lines[0] == "path,time,a,b"
        assert lines[1].startswith("0,2020-03-17 16:00:00,")
        assert len(lines) == 1 + 3 * 12


def test_pictures_are_fan_charts(tmp_path):
    data = hourly()
    codec = Series.codec.fit(data, horizon=12, context=36)
    outline = codec.outline(5, 0, 0, history=data.parts[0].window)
    drawn = codec.decode_given(torch.randn(5, *outline.shape), outline.condition)
    assert codec.picture(drawn).size[0] > 500
    assert codec.picture([]) is None
    assert codec.picture(codec.decode(torch.randn(2, 2, 48))) is not None
    assert read_saved(codec.save(drawn, tmp_path / "a.png", [{}] * 5)[0]).ndim == 3
    states = [torch.randn(5, *outline.shape) for _ in range(2)]
    assert codec.save_trajectory(states, tmp_path / "a.gif", [{}] * 5, outline.condition).is_file()
    with pytest.raises(PerrinError, match=r"saved as .csv"):
        codec.save(drawn, tmp_path / "a.xlsx", [{}] * 5)


def test_states_that_are_none_are_refused():
    codec = Series.codec.fit(hourly(), horizon=12, context=36)
    state = torch.zeros(2, 2, 48)
    state[1, 0, 3] = torch.nan
    with pytest.raises(PerrinError, match=r"state 1 holds NaN or infinity \(1 of 2 do\)"):
        codec.decode(state)
    with pytest.raises(PerrinError, match=r"\[B, 2, T\] is needed"):
        codec.decode(torch.zeros(2, 3, 48))
    with pytest.raises(PerrinError, match="says nothing of 'given'"):
        codec.decode_given(torch.zeros(2, 2, 48), {})

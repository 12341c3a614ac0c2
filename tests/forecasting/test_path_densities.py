"""`Model.log_prob` of windows: of what was drawn given the rest, by the same draws for paths of one history."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from perrin import api
from perrin.cli.entry import main
from perrin.kinds.series import open_series

pytest.importorskip("pandas")
from tests.forecasting.conftest import tiny_recipe, write_seasonal

HORIZON, CONTEXT = 7, 21
QUICK = {"steps": 3, "tolerance": 10.0}


def paths_of(model, history, n=4, **options):
    return model.sample(n, seed=3, history=history, **options).decoded


@pytest.fixture
def history(tiny):
    return tiny[1].parts[0].window.rows(100, 100 + CONTEXT)


@pytest.mark.parametrize("method", ["ode", "bound"])
def test_a_path_has_the_density_that_it_has_alone(tiny, history, method):
    model, _ = tiny
    paths = paths_of(model, history)
    together = model.log_prob(paths, method=method)
    alone = model.log_prob(paths[2:3], method=method)
    torch.testing.assert_close(alone.value[0], together.value[2], rtol=1e-4, atol=1e-3)
    assert bool(torch.isfinite(together.value).all())
    assert bool(together.converged.all())
    assert set(together.parts) >= {"prior", "codec"}


def test_paths_of_one_history_have_the_same_draws_and_others_have_not(tiny, history):
    """So that twice the same path has twice the same value, at any place and after any other."""
    model, data = tiny
    paths = paths_of(model, history, 2)
    found = model.log_prob([paths[0], paths[1], paths[0]], method="bound", samples=4).value
    assert float(found[0]) == pytest.approx(float(found[2]), rel=1e-6)
    other = model.log_prob([paths[0]], method="bound", samples=4, seed=1).value
    assert float(other[0]) != pytest.approx(float(found[0]), rel=1e-3)
    later = data.parts[0].window.rows(101, 101 + CONTEXT)
    moved = [replace(w, values=w.values, given=w.given) for w in paths_of(model, later, 1)]
    assert np.isfinite(model.log_prob(moved, **QUICK).value.numpy()).all()


def test_the_draws_in_common_take_the_noise_off_differences(tiny, history):
    """Over other seeds the difference of two paths varies less than each."""
    model, _ = tiny
    paths = paths_of(model, history, 2)
    found = torch.stack([model.log_prob(paths, seed=s, **QUICK).value for s in range(12)])
    assert float((found[:, 0] - found[:, 1]).std()) < 0.7 * float(found.std(0).mean())


def test_what_was_drawn_comes_back_as_the_same_state(tiny):
    """With covariates of the calendar, also after a history shorter than the context, whose lead counts for nothing."""
    model, data = tiny
    short = data.parts[0].window.rows(100, 110)
    drawn = model.sample(2, seed=0, history=short)
    assert np.isnan(drawn.decoded[0].values[:, : CONTEXT - 11]).all()
    items = [{"value": w, "label": None, "name": ""} for w in drawn.decoded]
    again = model.codec.encode(items)
    torch.testing.assert_close(again.state, torch.where(again.masks.valid, drawn.state, 0), rtol=0, atol=1e-5)
    assert torch.equal(again.masks.observed, drawn.condition["observed"])
    assert torch.equal(again.masks.valid, drawn.condition["valid"])
    assert int(again.masks.learned[0].sum()) == 2 * HORIZON
    for name in ("covariates", "times", "observed", "valid"):
        assert torch.equal(again.condition[name], drawn.condition[name]), name


def test_what_is_free_of_a_window_is_what_was_drawn_of_it(tiny, history):
    """Also after a history with a gap, and of gaps that were filled."""
    model, _ = tiny
    values = history.values.copy()
    values[0, 5:8] = np.nan
    gappy = replace(history, values=values)
    for options, count in (({}, None), ({"task": "impute"}, 3)):
        drawn = model.sample(1, seed=0, history=gappy, **options)
        own = drawn.condition["valid"] & ~drawn.condition["observed"]
        batch = model.codec.encode([{"value": drawn.decoded[0], "label": None, "name": ""}])
        assert torch.equal(batch.masks.learned, own)
        assert count is None or int(own.sum()) == count


def test_windows_of_data_are_forecasts_of_their_last_rows(tiny):
    model, data = tiny
    windows = model.codec.cut(data)
    window = windows[30]["value"]
    given = np.broadcast_to(np.arange(CONTEXT + HORIZON) < CONTEXT, window.shape)
    found = model.log_prob([window, replace(window, given=given), window.values], **QUICK).value
    assert float(found[0]) == pytest.approx(float(found[1]), rel=1e-6)
    assert float(found[2]) != pytest.approx(
        float(found[0]), rel=1e-6
    )  # other times: those after the training data
    changed = window.values.copy()
    changed[:, -1] += 1
    other = model.log_prob([replace(window, values=changed)], **QUICK).value
    assert abs(float(other) - float(found[0])) > 1e-3


def test_values_in_other_units_have_the_density_of_those_units(tmp_path):
    """Known covariates come back with a path; a hundredfold unit takes log 100 off for every value that was drawn."""
    file = write_seasonal(tmp_path / "a.csv")
    run = api.train(tiny_recipe(file), out=tmp_path / "a")
    large = tmp_path / "b.csv"
    rows = [line.split(",") for line in file.read_text(encoding="utf-8").splitlines()]
    scaled = [[d, *(f"{100 * float(v):.1f}" for v in rest)] for d, *rest in rows[1:]]
    large.write_text("\n".join(",".join(row) for row in [rows[0], *scaled]) + "\n", encoding="utf-8")
    other = api.train(tiny_recipe(large), out=tmp_path / "b")
    sizes = []
    for trained, path in ((run, file), (other, large)):
        windows = trained.model.codec.cut(open_series(path))
        sizes.append(trained.model.log_prob([windows[50]["value"]], **QUICK).value)
    assert float(sizes[0] - sizes[1]) == pytest.approx(2 * HORIZON * np.log(100), rel=2e-2)


def test_the_command_says_nats_per_window_and_per_value(tiny, seasonal, tmp_path, capsys):
    model, _ = tiny
    folder = str(model.folder or model.save(tmp_path / "model"))
    asked = [
        "likelihood",
        folder,
        str(seasonal),
        "-n",
        "3",
        "--method",
        "both",
        "--samples",
        "8",
        "--steps",
        "3",
    ]
    assert main([*asked, "--json", "--out", str(tmp_path / "odd")]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["items"], facts["dimensions"], facts["data"]) == (3, 2 * HORIZON, "series")
    flow = facts["methods"]["bound"]
    assert flow["nats_per_dimension"] == pytest.approx(flow["nats"] / (2 * HORIZON))
    listed = json.loads((tmp_path / "odd" / "likelihood.json").read_text(encoding="utf-8"))["ranking"]
    assert len(listed) == 3
    assert main(asked) == 0
    table = capsys.readouterr().out
    assert "nats per window" in table
    assert "nats per value" in table
    assert "bits" not in table


def test_windows_of_a_file_do_not_overlap_in_what_is_forecast(tiny):
    model, data = tiny
    windows = model.codec.cut(data).apart(HORIZON)
    starts = windows.starts[:, 1]
    assert (np.diff(starts) == HORIZON).all()
    assert starts[-1] == model.codec.cut(data).starts[-1, 1]
    few = model.codec.cut(data).apart(HORIZON, 4)
    assert len(few) == 4
    assert set(few.starts[:, 1]) <= set(starts)

"""What a forecast writes holds every number to the bit, says how it was made, and is made again from that."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.forecasting.test_forecast import densities, of_paths

from perrin import api
from perrin.errors import PerrinError
from perrin.forecasting import forecast
from perrin.forecasting.writing import LEVELS, paths_table, quantile_table, save_forecast, summary_of
from perrin.kinds.provenance import read_provenance
from perrin.kinds.series.events import parse_event
from perrin.kinds.series.saving import read_saved
from perrin.reproduction import reproduce, write


@pytest.fixture(scope="module")
def found(tiny):
    return forecast(tiny[0], tiny[1].parts[0].own, horizon=10, samples=3, seed=4, events=["max(load) > 110"])


@pytest.mark.parametrize("name", ["paths.csv", "paths.csv.gz", "paths.parquet"])
def test_paths_are_read_as_they_were_to_the_bit(found, tmp_path, name):
    path, beside = found.save(tmp_path / name)
    assert np.array_equal(read_saved(path), found.paths)
    assert beside.name == f"{name}.json"
    table = pd.read_parquet(path) if name.endswith("parquet") else pd.read_csv(path)
    assert list(table.columns) == ["path", "time", "load", "wind", "log_density"]
    assert len(table) == 30
    each = table.groupby("path")["log_density"].unique()
    assert np.array_equal(np.stack(each).ravel(), found.log_prob.value.numpy())
    assert (pd.to_datetime(table["time"]).to_numpy()[:10] == found.times).all()


def test_both_log_densities_have_a_column_each():
    paths = np.random.default_rng(0).normal(size=(3, 2, 4))
    both = {"bound": densities([1.0, 2.0, 3.0]), "ode": densities([4.0, 5.0, 6.0])}
    table = paths_table(of_paths(paths, log_probs=both))
    assert table["log_density_bound"].iloc[::4].tolist() == [1.0, 2.0, 3.0]
    assert table["log_density_ode"].iloc[::4].tolist() == [4.0, 5.0, 6.0]
    assert list(paths_table(of_paths(paths)).columns) == ["path", "row", "a", "b"]


def test_columns_of_the_data_keep_their_values_beside_the_tables_own():
    paths = np.random.default_rng(0).normal(size=(3, 2, 4))
    table = paths_table(of_paths(paths, names=("path", "row")))
    assert list(table.columns) == ["path", "row", "path (value)", "row (value)"]
    assert table["path (value)"].tolist() == paths[:, 0].ravel().tolist()


def test_quantiles_have_a_row_for_every_column_and_step(found):
    table = quantile_table(found)
    assert table["column"].tolist() == ["load"] * 10 + ["wind"] * 10
    for level in LEVELS:
        assert table[f"q{level:g}"].tolist() == found.quantiles([level])[0].ravel().tolist()
    np.testing.assert_allclose(table["mean"], found.paths.mean(0).ravel())


def test_a_folder_holds_everything_and_every_file_says_how_it_was_made(found, tmp_path):
    names = [f.name for f in found.save(tmp_path / "out")]
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == sorted(names)
    assert {"paths.csv", "quantiles.csv", "fan.png", "fan.html", "summary.json"} < set(names)
    for name in ("paths.csv", "fan.png", "fan.html"):
        items = read_provenance(tmp_path / "out" / name)["items"]
        assert [item["index"] for item in items] == [0, 1, 2]
        assert items[0]["seed"] == 4
        assert items[0]["wanted"]["horizon"] == 10
    assert read_provenance(tmp_path / "out" / "quantiles.csv")["forecast"]["paths"] == 3
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["made"]["model_hash"] == items[0]["model_hash"]
    assert Image.open(tmp_path / "out" / "fan.png").size[0] == 900


def test_a_summary_is_json_of_what_the_forecast_says(found):
    facts = json.loads(json.dumps(summary_of(found)))
    assert facts["last_step"]["wind"]["0.5"] == found.quantiles([0.5])[0, 1, -1]
    event = facts["events"][0]
    assert (event["probability"], event["stderr"]) == found.probability(found.events[0])
    assert event["event"] == str(parse_event("max(load)>110", found.names))
    assert facts["most_likely"]["path"] == found.most_likely()


@pytest.mark.parametrize("name", ["paths.csv", "fan.png"])
def test_a_rolled_path_is_made_again_to_the_bit(tiny, tmp_path, name):
    model = api.load(tiny[0].folder)
    found = forecast(model, tiny[1].parts[0].own, horizon=17, samples=1, likelihood=None)
    file = found.save(tmp_path / name)[0]
    result = reproduce(file)
    assert result.identical
    write(result.samples, tmp_path / f"again-{name}")
    assert (tmp_path / f"again-{name}").read_bytes() == file.read_bytes()


def test_a_changed_table_is_noticed(tiny, tmp_path):
    found = forecast(tiny[0], tiny[1].parts[0].own, horizon=7, samples=2)
    file = found.save(tmp_path / "paths.csv")[0]
    assert reproduce(file).largest_difference < 1e-3
    text = file.read_text().splitlines()
    cells = text[5].split(",")
    cells[2] = str(float(cells[2]) + 1)
    file.write_text("\n".join([*text[:5], ",".join(cells), *text[6:]]))
    result = reproduce(file)
    assert result.largest_difference > result.tolerance


def test_other_files_are_refused(found, tmp_path):
    with pytest.raises(PerrinError, match=r"saved to a folder, \.csv"):
        found.save(tmp_path / "paths.xlsx")
    with pytest.raises(PerrinError, match="format 'json'"):
        save_forecast(found, tmp_path / "out", "json")
    page = found.save(tmp_path / "fan.html")[0]
    with pytest.raises(PerrinError, match="table beside it"):
        reproduce(page)


def test_a_table_is_the_same_file_again(found, tmp_path):
    first, second = (found.save(tmp_path / f"{i}.csv.gz")[0].read_bytes() for i in range(2))
    assert first == second
    assert gzip.decompress(first).startswith(b"path,time,load,wind,log_density\n0,2023-08-30")

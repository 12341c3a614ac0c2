"""`perrin forecast` and `perrin impute` from a table to files, and what is wrong in one line."""

import json

import pandas as pd
import pytest
import yaml
from tests.forecasting.conftest import tiny_recipe, write_seasonal

from perrin.cli.entry import main


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = tiny_recipe(tmp_path)
    recipe.pop("data")
    recipe["codec"].pop("horizon")
    recipe["training"]["steps"] = 10
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    write_seasonal(tmp_path / "load.csv", 150)
    return tmp_path


def test_a_table_becomes_a_forecast_and_its_run_is_found_again(place, capsys):
    asked = ["forecast", "load.csv", "--recipe", "tiny.yaml", "--horizon", "9", "-n", "20"]
    assert (
        main(
            [
                *asked,
                "--event",
                "max(load) > 100",
                "--event",
                "[1] < 0 or wind[9] > 40".replace("[1]", "load[1]"),
            ]
        )
        == 0
    )
    told = capsys.readouterr().out
    assert "was trained in" in told
    assert "20 paths of 9 steps, to 2023-06-09" in told
    assert "log-density by the bound: path" in told
    assert "probability of max(load) > 100: " in told
    assert "probability of load[1] < 0 or wind[9] > 40: " in told
    assert {f.name for f in (place / "forecast-load").iterdir()} > {"paths.csv", "fan.html", "fan.png"}
    assert main([*asked, "--json", "--format", "parquet", "--out", "again", "--likelihood", "none"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert "used again" in facts["notes"][-1]
    assert facts["paths"] == 20
    first, again = pd.read_csv("forecast-load/paths.csv"), pd.read_parquet("again/paths.parquet")
    assert again["load"].tolist() == first["load"].tolist()


def test_a_model_is_taken_where_one_is_given(place, tiny, capsys):
    asked = ["forecast", "load.csv", "--model", str(tiny[0].folder), "-n", "5", "--likelihood", "both"]
    assert main([*asked, "--horizon", "10", "--set", "x=1"]) == 0
    told = capsys.readouterr().out
    assert "5 paths of 10 steps in 2 blocks" in told
    assert "log-density by the probability flow" in told
    assert not (place / "runs").exists()


def test_gaps_become_a_filled_table(place, capsys):
    write_seasonal(place / "load.csv", 150, gaps=[(20, 0), (30, 1), (31, 1)])
    assert main(["impute", "load.csv", "--recipe", "tiny.yaml", "-n", "10", "--set", "codec.horizon=7"]) == 0
    told = capsys.readouterr().out
    assert "10 paths of 3 gaps in 150 rows" in told
    assert "wind: 2 gaps" in told
    assert pd.read_csv("filled-load/filled.csv").notna().all().all()


def test_data_are_read_as_was_said(place, capsys):
    text = (place / "load.csv").read_text().replace("load", "day").splitlines()
    swapped = ["when;note;load"]
    for line in text[1:]:
        day, a, _ = line.split(",")
        year, month, date = day.split("-")
        swapped.append(f"{date}.{month}.{year};some words;{a.replace('.', ',')}")
    (place / "odd.csv").write_text("\n".join(swapped))
    asked = ["forecast", "odd.csv", "--recipe", "tiny.yaml", "--time", "when"]
    asked += ["--horizon", "3", "-n", "4", "--likelihood", "none"]
    assert main(asked) == 2
    assert "column 'note'" in capsys.readouterr().err
    options = ["--unusable", "leave_out", "--day-first", "--decimal", ","]
    assert main([*asked, *options]) == 0
    assert "note: column 'note' was left out" in capsys.readouterr().out
    assert main([*asked, "--columns", "load", "--decimal", ","]) == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--horizon", "150"], "horizon = 150 is longer than the data, which have 150 rows"),
        (["--horizon", "0"], "horizon = 0 must be a whole number"),
        (["--event", "max(lod) > 3"], "did you mean 'load'"),
        (["--horizon", "5", "--event", "load[6] > 3"], "step 6 is not drawn"),
        (["--columns", "lod"], "'lod' is not known; did you mean 'load'"),
        (["--budget", "-1"], "budget = -1.0 must be CPU-seconds above 0"),
        (["--recipe", "digits"], "is of kind images; series are needed"),
        (["--out", "out.csv"], "give a folder"),
        (["--model", "nothing"], "no model at"),
        (["--of", "x"], "the data have no series 'x'"),
        (["-n", "0"], "samples = 0 must be a whole number"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_anything_is_trained(place, capsys, arguments, line):
    recipe = [] if "--recipe" in arguments else ["--recipe", "tiny.yaml"]
    assert main(["forecast", "load.csv", *recipe, *arguments]) == 2
    told = capsys.readouterr()
    assert line in told.err.splitlines()[-1]
    assert told.out == ""
    assert not list(place.glob("runs/*"))


def test_a_long_table_says_which_series_there_are(place, capsys):
    frame = pd.read_csv("load.csv")
    long = pd.concat([frame.assign(site=s, load=frame["load"] + i) for i, s in enumerate(("north", "south"))])
    long.to_csv("long.csv", index=False)
    asked = [
        "forecast",
        "long.csv",
        "--recipe",
        "tiny.yaml",
        "--horizon",
        "5",
        "-n",
        "3",
        "--likelihood",
        "none",
    ]
    assert main(asked) == 2
    assert "the data hold 2 series (north, south)" in capsys.readouterr().err
    assert main([*asked, "--of", "south", "--out", "out"]) == 0
    assert set(pd.read_csv("out/paths.csv")["series"]) == {"south"}

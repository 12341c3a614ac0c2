"""From data to nats by the command line: parts that add up, odd items first, and no silent number."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from tests.model.making import image_model, point_model

from perrin.cli import entry
from perrin.evaluate import likelihoods
from perrin.likelihood import LogProb


@pytest.fixture
def points(tmp_path):
    """A file of points, the last of them far from all others."""
    values = np.random.default_rng(0).normal(size=(12, 2))
    values[-1] = 40.0
    np.save(tmp_path / "points.npy", values)
    return tmp_path / "points.npy"


@pytest.fixture
def model(tmp_path):
    return point_model().save(tmp_path / "model")


def asked(capsys, *words):
    """The facts that a command line prints as JSON."""
    capsys.readouterr()
    assert entry.main([str(word) for word in words] + ["--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_both_methods_with_parts_that_add_up(model, points, capsys):
    facts = asked(capsys, "likelihood", model, points, "--method", "both", "--samples", "32")
    assert facts["items"] == 12
    assert facts["dimensions"] == 2
    assert facts["data"] == "continuous"
    for found in facts["methods"].values():
        assert sum(found["parts"].values()) == pytest.approx(found["nats"], abs=1e-6)
        assert found["bits_per_dimension"] == pytest.approx(-found["nats"] / (2 * math.log(2)))
        assert found["not_converged"] == 0
    assert "codec" in facts["methods"]["ode"]["parts"]


def test_the_odd_item_comes_first(model, points, capsys, tmp_path):
    facts = asked(capsys, "likelihood", model, points, "--rank", "3", "--out", tmp_path / "odd")
    ranking = json.loads((tmp_path / "odd" / "likelihood.json").read_text())["ranking"]
    assert len(ranking) == 12
    assert ranking[0]["index"] == 11
    assert [item["ode"] for item in ranking] == sorted(item["ode"] for item in ranking)
    assert facts["files"] == [str(tmp_path / "odd" / "likelihood.json")]  # a plot of one point says nothing


def test_images_are_whole_numbers_and_are_shown(capsys, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    saved = image_model().save(tmp_path / "model")
    facts = asked(
        capsys, "likelihood", saved, folder, "--method", "bound", "--samples", "8", "--out", tmp_path / "odd"
    )
    assert facts["data"] == "integer"
    assert facts["methods"]["bound"]["bits_per_dimension"] > 0
    with Image.open(tmp_path / "odd" / "ranking.png") as picture:
        assert picture.width > 100


def test_other_data_are_told_apart(model, points, capsys, tmp_path):
    np.save(tmp_path / "far.npy", 30 + np.random.default_rng(1).normal(size=(12, 2)))
    facts = asked(capsys, "likelihood", model, points, "--against", tmp_path / "far.npy", "-n", "8")
    assert facts["items"] == 8
    assert facts["against"]["auc"] > 0.8  # the far point of `points` may be among the eight


def test_a_table_for_people_names_what_did_not_converge():
    value = torch.tensor([-1.0, -3.0, math.nan])
    found = LogProb(value, torch.zeros(3), ~value.isnan(), {"prior": value}, 7)
    summary = {"items": 3, "dimensions": 2, "data": "continuous"}
    text = likelihoods.table(summary | {"methods": {"ode": likelihoods._of_method(found, 2)}})
    assert "ode: 1 of 3 items did not converge and are left out" in text
    assert "-2.0000 +- 1.0000" in text


BAD = {
    "no data of its own": (("{model}",), "give DATA"),
    "no such file": (("{model}", "nowhere.npy"), "nowhere.npy"),
    "an option of another kind": (("{model}", "{points}", "--data", "size=3"), "size"),
    "an option without a value": (("{model}", "{points}", "--data", "size"), "key=value"),
    "no items": (("{model}", "{points}", "-n", "0"), "at least 1"),
    "a label without classes": (("{model}", "{points}", "--label", "3"), "takes no label"),
    "other columns": (("{model}", "{wide}"), "shape"),
    "a single sample": (("{model}", "{points}", "--method", "bound", "--samples", "1"), "at least 2"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case, model, points, tmp_path, capsys):
    words, message = BAD[case]
    np.save(tmp_path / "wide.npy", np.zeros((3, 5)))
    files = {"model": model, "points": points, "wide": tmp_path / "wide.npy"}
    capsys.readouterr()
    assert entry.main(["likelihood", *(word.format(**files) for word in words)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("perrin: ")]
    assert len(lines) == 1
    assert message in lines[0]

"""Every refusal is one clear line, before anything is drawn."""

import json

import numpy as np
import pytest
from tests.augmenting import sets
from tests.augmenting.conftest import planted, states_of
from tests.model.making import point_model, text_model

import perrin
from perrin.augmenting.wanted import wanted
from perrin.cli import entry
from perrin.errors import PerrinError


def refused(model, path, says, **asked):
    with pytest.raises(PerrinError, match=says) as caught:
        perrin.augment(model, path, **{"likelihood": 0, "copies": 0, **asked})
    assert "\n" not in str(caught.value)


def test_a_model_without_classes_is_refused_for_labelled_data(tmp_path):
    path, _ = sets.held(tmp_path / "real.npz")
    refused(point_model(), path, "trained without any", key="points", label="side")


def test_classes_that_the_model_does_not_know_are_named(tmp_path):
    path, _ = sets.folder(tmp_path / "real")
    refused(sets.picture_model(["cat", "dog", "bat"]), path, "does not know owl .* cat, dog, bat")


def test_classes_are_matched_by_name_not_by_place(tmp_path):
    path, _ = sets.folder(tmp_path / "real")
    model = sets.picture_model(["owl", "cow", "dog", "cat"])
    found = perrin.augment(model, path, per_class=2, likelihood=0, copies=0)
    assert [one["class"] for one in found.drawn.provenance] == [sets.CLASSES[label] for label in found.labels]
    assert {one["label"] for one in found.drawn.provenance} == {0, 2, 3}


def test_data_of_another_kind_are_refused(tmp_path):
    path, _ = sets.lines(tmp_path / "real.csv")
    refused(sets.picture_model(), path, "not a kind of file with images")
    refused(text_model(), path, "images and of arrays can be expanded")
    wide, _ = sets.held(tmp_path / "real.npz")
    refused(sets.array_model(size=3), wide, "has shape", key="points", label="side")


def test_held_out_data_of_other_classes_are_refused(tmp_path):
    path, _ = sets.folder(tmp_path / "real")
    other = tmp_path / "other" / "cat"
    other.mkdir(parents=True)
    (path / "cat" / "0.png").rename(other / "0.png")
    refused(sets.picture_model(), path, "have the classes cat", test=tmp_path / "other")


def test_an_output_that_is_there_or_has_another_form_is_refused_before_drawing(tmp_path, monkeypatch):
    path, options = sets.table(tmp_path / "real.parquet")
    model = sets.picture_model()
    monkeypatch.setattr(model, "sample", lambda *_, **__: pytest.fail("something was drawn"))
    refused(model, path, "ends in .parquet", out=tmp_path / "made.csv", **options)
    refused(model, path, "there already", out=path, **options)
    (tmp_path / "made-report").mkdir()
    (tmp_path / "made-report" / "report.json").touch()
    refused(model, path, "made-report' is there already", out=tmp_path / "made.parquet", **options)
    images, _ = sets.folder(tmp_path / "images")
    refused(model, images, "without an ending", out=tmp_path / "made.png")


def test_an_interrupted_write_leaves_no_half_set(tmp_path, monkeypatch):
    path, _ = sets.folder(tmp_path / "real")
    found = perrin.augment(sets.picture_model(), path, per_class=2, likelihood=0, copies=0)
    monkeypatch.setattr(
        "perrin.augmenting.layouts.folders.png_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(PerrinError, match="disk is full"):
        found.save(tmp_path / "made")
    assert [file.name for file in tmp_path.iterdir()] == ["real"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"n": 4, "balance": True}, "n and balance both"),
        ({"n": 0}, "n = 0"),
        ({"per_class": -1}, "per_class = -1"),
        ({"likelihood": 0.7}, "likelihood = 0.7"),
        ({"samples": 1}, "at least 2 evaluations"),
        ({"most": 0.5}, "give 1 or more"),
        ({"columnss": 3}, "columnss"),
    ],
)
def test_options_that_make_no_sense_are_refused(asked, says, tmp_path):
    path, _ = sets.folder(tmp_path / "real")
    refused(sets.picture_model(), path, says, **asked)


def test_counts_of_classes():
    assert wanted([9, 7, 5]) == [9, 7, 5]
    assert wanted([9, 7, 5], balance=True) == [0, 2, 4]
    assert wanted([9, 7, 5], n=8) == [3, 3, 2]
    assert wanted([9, 7, 5], per_class=2) == [2, 2, 2]
    with pytest.raises(PerrinError, match="nothing to balance"):
        wanted([4, 4], balance=True)


def test_a_model_that_makes_nothing_usable_is_told_so(tmp_path, blobs):
    model, learned, unseen = blobs
    copies = states_of(model, learned)
    refused(
        planted(model, copies), learned, "all .* dropped .* for copy", per_class=10, copies=0.01, test=unseen
    )


def test_the_command_writes_set_and_report_and_says_so_in_json(blobs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model, learned, unseen = blobs
    call = [
        "augment",
        str(model.folder),
        str(learned),
        "-n",
        "40",
        "--test",
        str(unseen),
        "--seeds",
        "2",
        "--device",
        "cpu",
    ]
    assert entry.main([*call, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["kept"] == 40
    assert facts["worth"]["sets"]["both"]["items"] == 440
    with np.load(tmp_path / "learned-synthetic.npz") as made:
        assert made["values"].shape == (40, 2)
        assert np.bincount(made["labels"]).tolist() == [20, 20]
    report = tmp_path / "learned-synthetic-report"
    assert json.loads((report / "report.json").read_text())["kept"] == 40
    assert {"report.txt", "kept.png"} <= {file.name for file in report.iterdir()}
    assert entry.main(call) == 2
    assert "there already" in capsys.readouterr().err
    balanced = [*call[:3], "--balance", "--out", "b.npz"]
    assert entry.main(balanced) == 2
    assert "nothing to balance" in capsys.readouterr().err

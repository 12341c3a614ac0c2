"""Bad input gets one clear line and exit code 2, and nothing is lost."""

import errno
import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import yaml
from PIL import Image
from tests.model.making import image_model
from tests.training.tiny import PERRIN, contents, points_recipe, write_images, write_points

from perrin.cli import entry
from perrin.model import Model
from perrin.training import checkpoint

PROGRESS = ("training: ", "sampling: ")


@pytest.fixture
def fails(capsys):
    """Runs a command line that must fail with one line, and returns that line."""

    def run(*words):
        capsys.readouterr()
        code = entry.main([str(word) for word in words])
        lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(PROGRESS)]
        assert code == 2
        assert len(lines) == 1
        assert lines[0].startswith("perrin: ")
        return lines[0]

    return run


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path, count=12)


@pytest.fixture
def points(tmp_path):
    """A recipe file that trains on points in no time."""
    file = tmp_path / "points.yaml"
    file.write_text(yaml.safe_dump(points_recipe(write_points(tmp_path))))
    return file


SMALL = ("--steps", "2", "--set", "net.channels=8", "--set", "training.batch=4", "--set", "codec.size=8")


def test_a_folder_without_images(fails, tmp_path):
    (tmp_path / "empty").mkdir()
    line = fails("train", "images", tmp_path / "empty", "--out", tmp_path / "run")
    assert "no images in folder" in line
    assert "it is empty" in line
    assert not (tmp_path / "run").exists()


def test_no_data_at_all(fails, tmp_path):
    assert "no file or folder" in fails("train", "images", tmp_path / "gone", "--out", tmp_path / "run")
    line = fails("train", "images", "--out", tmp_path / "run")
    assert "data.path is missing: say where the data are, as in perrin train images PATH" in line


def test_a_corrupt_and_an_empty_image_are_named(fails, images, tmp_path):
    (images / "a" / "000.png").write_bytes(b"")
    whole = (images / "b" / "001.png").read_bytes()
    (images / "b" / "001.png").write_bytes(whole[: len(whole) // 2])
    line = fails("train", "images", images, "--out", tmp_path / "run")
    assert "2 of 12 images" in line
    assert "a/000.png" in line
    assert "b/001.png" in line
    assert "broken: skip" in line


def test_broken_images_are_left_out_when_asked_and_listed(images, tmp_path, capsys):
    (images / "a" / "000.png").write_bytes(b"")
    words = ["train", "images", str(images), *SMALL, "--set", "data.broken=skip", "--dry-run", "--json"]
    assert entry.main(words) == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == ["a/000.png"]


def test_mixed_channels(fails, images, tmp_path):
    Image.new("RGB", (8, 8), "red").save(images / "a" / "colour.png")
    line = fails("train", "images", images, *SMALL, "--out", tmp_path / "run")
    assert "1 are colour (such as 'a/colour.png')" in line
    assert "channels: 3" in line


def test_a_label_file_that_names_missing_images(fails, tmp_path):
    folder = tmp_path / "listed"
    folder.mkdir()
    Image.new("L", (8, 8)).save(folder / "here.png")
    rows = [{"file_name": "here.png", "label": "x"}, {"file_name": "gone.png", "label": "y"}]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    line = fails("train", "images", folder, "--out", tmp_path / "run")
    assert "metadata.jsonl' names 1 images that are not there: gone.png" in line


@pytest.mark.parametrize("name", ["points.csv", "points.npy", "points.npz"])
def test_nan_in_the_data_is_named_with_its_place(name, fails, tmp_path):
    values = np.random.default_rng(0).normal(size=(50, 2))
    values[7, 1] = np.nan
    path = tmp_path / name
    if name.endswith("csv"):
        np.savetxt(path, values, delimiter=",", header="x,y", comments="")
    else:
        (np.save if name.endswith("npy") else np.savez)(path, values)
    line = fails("train", "arrays", path, "--out", tmp_path / "run")
    assert "1 of 50 rows" in line
    assert ("line 9" in line) if name.endswith("csv") else ("row 7" in line)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("training.stepz=3", "key 'stepz' is not known; did you mean 'steps'?"),
        ("training.steps=many", "training.steps = 'many': input should be a valid integer"),
        ("sampling.solver=dpmpp2m", "did you mean 'dpmpp_2m'?"),
        ("sampling.grid=karass", "did you mean 'karras'?"),
    ],
)
def test_a_recipe_with_a_slip(change, says, fails, points, tmp_path):
    assert says in fails("train", points, "--set", change, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def run(points, tmp_path):
    """A trained run."""
    assert entry.main(["train", str(points), "--out", str(tmp_path / "run")]) == 0
    return tmp_path / "run"


def test_a_run_that_is_there_is_not_touched(fails, points, run):
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    line = fails("train", points, "--out", run)
    assert f"{run} holds a run already" in line
    assert f"perrin train --resume {run}" in line
    assert "--overwrite" in line
    fails("train", points, "--out", run, "--overwrite", "--set", "data.path=gone.npz")
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*")} == before


def test_a_state_and_a_model_cut_short(fails, run):
    file = checkpoint.newest(run) / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-50])
    assert f"{file} is cut short or damaged" in fails("train", "--resume", run)
    file = run / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-50])
    assert f"{file} is cut short or damaged" in fails("sample", run)


def test_a_model_folder_with_a_pickle(fails, run):
    (run / "weights.pt").write_bytes(b"\x80\x04.")
    line = fails("sample", run)
    assert "weights.pt may be a pickle, which runs code" in line
    assert "weights.pt" in fails("evaluate", run)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--solver", "dpmpp2m"), "did you mean 'dpmpp_2m'?"),
        (("--steps", "0"), "steps"),
        (("-n", "0"), "n = 0 must be a whole number"),
        (("-n", "many"), "should be a valid integer"),
        (("--label", "2"), "class '2' is not known; known: 0, 1"),
        (("--plan", "gone.json"), "gone.json"),
        (("--device", "cuda:99"), "is not on this machine"),
        (("--out", "points.jpg"), "points.jpg"),
    ],
)
def test_wrong_settings_of_sampling(words, says, fails, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert says in fails("sample", run, *words)


def test_a_plan_that_is_no_plan(fails, run, tmp_path):
    (tmp_path / "plan.json").write_text('{"rows": ')
    assert "plan.json" in fails("sample", run, "--plan", tmp_path / "plan.json")


def test_evaluating_without_held_out_data(fails, run):
    assert "holds no data out" in fails("evaluate", run)


def test_data_that_went_away_since_training(fails, run, tmp_path):
    (tmp_path / "points.npz").unlink()
    assert "points.npz" in fails("evaluate", run)


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("after", [0, 4, 9, 14])  # writes that succeed before the disk is full
def test_a_disk_that_fills_up_while_training_leaves_what_was_saved(
    after, fails, points, run, tmp_path, monkeypatch
):
    from perrin import saving

    fsync, count = os.fsync, 0

    def limited(descriptor):
        nonlocal count
        count += 1
        if count > after:
            raise FULL
        fsync(descriptor)

    monkeypatch.setattr(saving.os, "fsync", limited)
    line = fails("train", points, "--out", tmp_path / "other")
    assert "the disk is full: " in line
    monkeypatch.undo()
    assert not list((tmp_path / "other").rglob("*.part"))
    if checkpoint.newest(tmp_path / "other") is not None:
        assert entry.main(["train", "--resume", str(tmp_path / "other")]) == 0
        one, other = contents(run), contents(tmp_path / "other")
        assert one[2] == other[2]
        assert all(value.equal(other[0][name]) for name, value in one[0].items())
    else:
        assert entry.main(["train", str(points), "--out", str(tmp_path / "other"), "--overwrite"]) == 0


def test_a_limit_of_the_system_on_written_files_is_one_line(points, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))

    done = subprocess.run(
        [PERRIN, "train", points, "--out", tmp_path / "run", "--set", "net.width=64"],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 2
    line = [line for line in done.stderr.splitlines() if line.startswith("perrin: ")]
    assert len(line) == 1
    assert "cannot write" in line[0]
    assert "Traceback" not in done.stderr


def test_a_disk_that_is_full_while_samples_are_saved(fails, tmp_path, monkeypatch):
    from perrin import saving

    image_model().save(tmp_path / "m")
    monkeypatch.setattr(saving.os, "fsync", lambda descriptor: (_ for _ in ()).throw(FULL))
    line = fails("sample", tmp_path / "m", "-n", "2", "--out", tmp_path / "out")
    assert "the disk is full: " in line
    assert not list((tmp_path / "out").glob("*.png"))
    assert Model.load(tmp_path / "m")


def test_a_folder_that_may_not_be_written(fails, points, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot write" in fails("train", points, "--out", tmp_path / "file" / "run")


def test_errors_of_long_verbs_are_json_for_scripts(run, capsys):
    capsys.readouterr()
    assert entry.main(["sample", str(run), "--label", "9", "--json"]) == 2
    facts = json.loads(capsys.readouterr().out)
    assert facts["exit_code"] == 2
    assert "class '9' is not known" in facts["error"]


def test_python_gets_the_same_line_as_the_command_line(run):
    import perrin

    with pytest.raises(ValueError, match="class '9' is not known; known: 0, 1"):
        perrin.load(run).sample(1, label="9")
    assert "torch" in sys.modules

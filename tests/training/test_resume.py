"""2N steps = N steps, a kill, and N more: weights, averages, optimiser and log, bit for bit; no kill loses a run."""

import os
import signal
import subprocess
import time

import pytest
import torch
import yaml
from tests.training.tiny import (
    PERRIN,
    Killed,
    assert_identical,
    images_recipe,
    killed_at,
    learned_recipe,
    points_recipe,
    text_recipe,
    trainer,
    write_images,
    write_points,
    write_text,
)

import perrin
from perrin.errors import PerrinError
from perrin.model import Model
from perrin.training import checkpoint

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


RECIPES = {
    "held in memory": lambda folder: points_recipe(write_points(folder)),
    "cropped and prefetched": lambda folder: images_recipe(write_images(folder)),
    "flipped in memory": lambda folder: {**images_recipe(write_images(folder)), "codec": {"flip": "both"}},
    "of masked tokens, cropped anew": lambda folder: text_recipe(write_text(folder)),
    "of uniform tokens": lambda folder: text_recipe(write_text(folder), "uniform"),
    "under a learned weight": lambda folder: learned_recipe(write_points(folder), accumulate=2),
    "accumulated, sampled and without validation": lambda folder: points_recipe(
        write_points(folder), accumulate=2, sample_every=4, validation=0
    ),
}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("step", [3, 8])  # before the first due state, and in the middle of the third epoch
def test_a_killed_and_resumed_run_is_the_run_that_was_not_killed(name, step, tmp_path):
    recipe = RECIPES[name](tmp_path)
    perrin.train(recipe, out=tmp_path / "whole")
    with pytest.raises(Killed):
        perrin.train(recipe, out=tmp_path / "killed", progress=killed_at(step))
    perrin.train(tmp_path / "killed", resume=True)
    assert_identical(tmp_path / "whole", tmp_path / "killed")


def saved(folder):
    """The step of the newest whole state, 0 before the first."""
    state = checkpoint.newest(folder)
    return 0 if state is None else int(state.name[-8:])


def test_a_run_killed_by_sigkill_in_mid_epoch_resumes_from_the_command_line_bit_for_bit(tmp_path):
    recipe = images_recipe(write_images(tmp_path), steps=150, save_every=37, validation=8)
    (tmp_path / "flipped.yaml").write_text(yaml.safe_dump(recipe))
    perrin.train(tmp_path / "flipped.yaml", out=tmp_path / "whole")
    folder = tmp_path / "killed"
    command = [PERRIN, "train", tmp_path / "flipped.yaml", "--out", folder]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL) as process:
        while saved(folder) < 37 and process.poll() is None:
            time.sleep(0.002)
        time.sleep(0.05)  # into the steps after it
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert (checkpoint.newest(folder) / "state.json").is_file()
    assert 0 < int(checkpoint.newest(folder).name[-8:]) < 150
    subprocess.run([PERRIN, "train", "--resume", folder], env=ENVIRONMENT, check=True, capture_output=True)
    assert_identical(tmp_path / "whole", folder)


@pytest.mark.parametrize("moment", range(9))  # six files of the state, then two of the model, then beyond
def test_a_kill_while_a_state_is_written_leaves_a_run_that_loads_and_resumes(moment, tmp_path, monkeypatch):
    recipe = points_recipe(write_points(tmp_path), ema=[0.05])
    perrin.train(recipe, out=tmp_path / "whole")
    replace, count = os.replace, 0

    def counted(source, target):
        nonlocal count
        if "step-00000010" in str(target):
            count = max(count, 1)
        if count:
            count += 1
        if count == moment + 2:
            raise Killed
        replace(source, target)

    monkeypatch.setattr(os, "replace", counted)
    with pytest.raises(Killed):
        perrin.train(recipe, out=tmp_path / "killed")
    monkeypatch.undo()
    Model.load(tmp_path / "killed").sample(1)
    perrin.train(tmp_path / "killed", resume=True)
    assert_identical(tmp_path / "whole", tmp_path / "killed")


def test_the_newest_state_is_never_taken_away_for_another_of_the_same_step(tmp_path, monkeypatch):
    recipe = points_recipe(write_points(tmp_path))
    perrin.train(recipe, out=tmp_path / "run")

    def fail(*arguments):
        raise Killed

    monkeypatch.setattr(checkpoint, "save_tensors", fail)
    perrin.train(tmp_path / "run", resume=True)  # a finished run: nothing to do
    assert checkpoint.newest(tmp_path / "run").is_dir()


def test_a_run_that_was_killed_before_its_first_step_resumes_from_its_start(tmp_path):
    path = write_points(tmp_path)
    first = perrin.train(points_recipe(path), out=tmp_path / "first")
    recipe = points_recipe(path, seed=5)
    perrin.train(recipe, out=tmp_path / "whole", start=first.folder)
    with pytest.raises(Killed):
        perrin.train(recipe, out=tmp_path / "killed", start=first.folder, progress=killed_at(1))
    perrin.train(tmp_path / "killed", resume=True)  # the weights it started from are in its first state
    assert_identical(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize("name", ["weights", "optimiser", "ema-0.050"])
def test_a_state_cut_short_is_refused_by_name(name, tmp_path):
    run = perrin.train(points_recipe(write_points(tmp_path)), out=tmp_path / "run")
    file = checkpoint.newest(run.folder) / f"{name}.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(PerrinError, match=rf"{name}.safetensors is cut short or damaged"):
        perrin.train(run.folder, resume=True)


def test_what_cannot_be_resumed_says_why(tmp_path):
    with pytest.raises(PerrinError, match=r"is not a run: it has no recipe.yaml"):
        perrin.train(tmp_path, resume=True)
    run = perrin.train(points_recipe(write_points(tmp_path)), out=tmp_path / "run")
    (run.folder / "state" / "latest.json").unlink()
    with pytest.raises(PerrinError, match="holds no training state"):
        perrin.train(run.folder, resume=True)


def test_a_resumed_run_keeps_the_precision_it_began_with(tmp_path):
    recipe = points_recipe(write_points(tmp_path), precision="bfloat16")
    with pytest.raises(Killed):
        perrin.train(recipe, out=tmp_path / "run", progress=killed_at(6))
    recipe["training"]["precision"] = "auto"
    resumed = trainer(recipe, tmp_path / "run")
    resumed.resume()
    assert resumed.precision == "bfloat16"
    assert all(v.dtype == torch.float32 for v in resumed.weights().values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_saves_says_how_to_go_on_and_goes_on(number, tmp_path):
    recipe = points_recipe(write_points(tmp_path), steps=100_000, save_every=100_000, validation=0)
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(recipe))
    folder = tmp_path / "run"
    command = [PERRIN, "train", tmp_path / "long.yaml", "--out", folder]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        log = folder / "log.jsonl"
        while not (log.is_file() and log.stat().st_size) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    step = int(checkpoint.newest(folder).name[-8:])
    assert step > 0
    assert f"stopped after step {step}; saved. To go on: perrin train --resume {folder}" in said
    seen = []

    def stop_soon(done, total, note):
        seen.append(done)
        if len(seen) == 3:
            raise Killed

    with pytest.raises(Killed):
        perrin.train(folder, resume=True, progress=stop_soon)
    assert seen == [step + 1, step + 2, step + 3]

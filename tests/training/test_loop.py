"""The loop: what it logs, draws and keeps; precision, compilation, held-out loss, other weights to begin with."""

import json

import pytest
import torch
from PIL import Image
from tests.training.tiny import (
    images_recipe,
    log_of,
    losses_of,
    points_recipe,
    trainer,
    write_images,
    write_points,
)

import perrin
from perrin.cli import entry
from perrin.errors import PerrinError
from perrin.kinds.provenance import loads
from perrin.training.precision import choose_precision
from perrin.training.validation import Validation


@pytest.fixture
def recipe(tmp_path):
    return points_recipe(write_points(tmp_path))


def test_training_lowers_the_held_out_loss(recipe, tmp_path):
    recipe["training"] |= {"steps": 300, "lr": 1e-2}
    recipe["net"]["width"] = 32
    run = perrin.train(recipe, out=tmp_path / "run")
    values = [line["validation"] for line in run.log if "validation" in line]
    assert values[-1] < 0.75 * values[0]


def test_every_line_of_the_log_is_json_with_its_step(recipe, tmp_path):
    run = perrin.train(recipe, out=tmp_path / "run")
    assert list(losses_of(run.folder)) == list(range(1, 13))
    steps = [line["step"] for line in run.log]
    assert steps == sorted(steps)
    first = next(line for line in run.log if "loss" in line)
    assert set(first) == {"step", "loss", "lr", "grad_norm", "smooth", "cpu_seconds"}
    assert [line["step"] for line in run.log if "validation" in line] == list(range(1, 13))
    assert run.log[-1]["chosen"]["std"] == run.model.about["ema"]


def test_a_last_line_that_a_kill_cut_short_is_left_out(recipe, tmp_path):
    run = perrin.train(recipe, out=tmp_path / "run")
    lines = len(run.log)
    with (run.folder / "log.jsonl").open("a") as log:
        log.write('{"step": 13, "lo')
    assert len(run.log) == lines


def test_a_run_folder_holds_what_it_promises(recipe, tmp_path):
    run = perrin.train(recipe, out=tmp_path / "run")
    names = {path.name for path in run.folder.iterdir()}
    assert names == {
        "recipe.yaml",
        "model.json",
        "model.safetensors",
        "README.md",
        "ema",
        "state",
        "log.jsonl",
    }
    assert run.recipe.training.steps == 12
    card = (run.folder / "README.md").read_text()
    assert run.model.hash in card
    assert "points.npz" in card


def test_pictures_of_the_same_seeds_are_drawn_while_training(tmp_path):
    recipe = images_recipe(write_images(tmp_path), sample_every=5, validation=0)
    run = perrin.train(recipe, out=tmp_path / "run")
    pictures = sorted((run.folder / "samples").iterdir())
    assert [p.name for p in pictures] == ["step-00000005.png", "step-00000010.png", "step-00000012.png"]
    with Image.open(pictures[0]) as one:
        items = loads(one.info["perrin"])["items"]
    assert [item["index"] for item in items] == list(range(16))


def test_bfloat16_trains_like_float32_and_keeps_its_weights_wide(recipe, tmp_path):
    perrin.train(recipe, out=tmp_path / "wide")
    recipe["training"]["precision"] = "bfloat16"
    run = perrin.train(recipe, out=tmp_path / "narrow")
    assert losses_of(run.folder) == pytest.approx(losses_of(tmp_path / "wide"), rel=0.05)
    assert losses_of(run.folder) != losses_of(tmp_path / "wide")
    assert {v.dtype for v in run.model.denoiser.state_dict().values()} == {torch.float32}


def test_automatic_precision_asks_the_device():
    assert choose_precision("auto", "cpu") in ("float32", "bfloat16")
    assert choose_precision("float32", "cuda") == "float32"
    assert choose_precision("auto", "mps") == "float32"


@pytest.mark.slow
def test_a_compiled_network_trains_to_the_same_losses(recipe, tmp_path):
    perrin.train(recipe, out=tmp_path / "plain")
    recipe["training"]["compile"] = True
    run = perrin.train(recipe, out=tmp_path / "compiled")
    assert losses_of(run.folder) == pytest.approx(losses_of(tmp_path / "plain"), rel=1e-3)


def test_the_held_out_loss_is_a_function_of_the_weights_and_leaves_the_network_alone(recipe, tmp_path):
    one = trainer(recipe, tmp_path / "run")
    one.advance()
    held = Validation(one.setup.data.validation, one.setup, 0)
    before = {n: v.clone() for n, v in one.weights().items()}
    other = {n: v + 0.1 for n, v in before.items()}
    value = held.of(one.denoiser, before)
    assert held.of(one.denoiser, other) != value
    assert held.of(one.denoiser, before) == value
    assert Validation(one.setup.data.validation, one.setup, 0).of(one.denoiser, before) == value
    assert all(torch.equal(v, before[n]) for n, v in one.weights().items())
    assert one.denoiser.training


def test_watching_a_run_does_not_change_it(recipe, tmp_path):
    watched = {
        **recipe,
        "training": {**recipe["training"], "sample_every": 3, "validate_every": 2, "snapshots": 12},
    }
    perrin.train(recipe, out=tmp_path / "plain")
    perrin.train(watched, out=tmp_path / "watched")
    assert losses_of(tmp_path / "plain") == losses_of(tmp_path / "watched")


def test_another_model_gives_the_weights_to_begin_with(recipe, tmp_path):
    first = perrin.train(recipe, out=tmp_path / "first")
    recipe["training"] |= {"lr": 1e-12}
    second = perrin.train(recipe, out=tmp_path / "second", start=first.folder)
    assert second.model.sample(3).state == pytest.approx(first.model.sample(3).state, abs=1e-4)


def test_weights_of_another_network_are_refused_and_nothing_is_written(recipe, tmp_path):
    first = perrin.train(recipe, out=tmp_path / "first")
    recipe["net"]["width"] = 24
    with pytest.raises(PerrinError, match="these are the weights of another network"):
        perrin.train(recipe, out=tmp_path / "second", start=first.folder)
    assert not (tmp_path / "second" / "recipe.yaml").exists()


def test_an_old_run_survives_a_new_one_that_cannot_begin(recipe, tmp_path):
    run = perrin.train(recipe, out=tmp_path / "run")
    with pytest.raises(PerrinError, match="holds a run already"):
        perrin.train(recipe, out=run.folder)
    recipe["data"]["path"] = str(tmp_path / "gone.npz")
    with pytest.raises(PerrinError, match=r"gone\.npz"):
        perrin.train(recipe, out=run.folder, overwrite=True)
    perrin.load(run.folder).sample(1)


def test_overwriting_replaces_the_whole_run(recipe, tmp_path):
    perrin.train({**recipe, "training": {**recipe["training"], "snapshots": 12}}, out=tmp_path / "run")
    again = perrin.train(recipe, out=tmp_path / "run", overwrite=True)
    perrin.train(recipe, out=tmp_path / "fresh")
    assert log_of(again.folder) == log_of(tmp_path / "fresh")
    assert len(list(again.folder.glob("ema/*"))) == len(list((tmp_path / "fresh").glob("ema/*")))


def test_a_folder_with_other_files_is_not_written_to(recipe, tmp_path):
    with pytest.raises(PerrinError, match="holds other files"):
        perrin.train(recipe, out=tmp_path)
    with pytest.raises(PerrinError, match="is a file"):
        perrin.train(recipe, out=tmp_path / "points.npz")


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    words = ["train", "digits", "--dry-run", "--set", "net.channels=8"]
    assert entry.main([*words, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["state shape"] == [1, 8, 8]
    assert facts["training items"] + facts["validation items"] == 1297
    assert facts["test items"] == 500
    assert facts["parameters"] > 1000
    assert facts["first loss"] > 0
    assert entry.main(words) == 0
    shown = capsys.readouterr().out
    assert "1 x 8 x 8" in shown
    assert "MiB" in shown
    assert sorted(tmp_path.rglob("*")) == before

"""Several processes train as one with the same global batch; each knows its share from its rank alone."""

import os
import subprocess
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tests.training.tiny import (
    PERRIN,
    Killed,
    images_recipe,
    killed_at,
    learned_recipe,
    log_of,
    losses_of,
    points_recipe,
    trainer,
    write_images,
    write_points,
)

import perrin
from perrin.errors import PerrinError
from perrin.training import checkpoint
from perrin.training.batches import Batches
from perrin.training.distributed import group


def points_of(folder):
    return points_recipe(write_points(folder), sharding="fsdp", validation=10)


def images_of(folder):
    return images_recipe(write_images(folder), sharding="fsdp")


def validations_of(folder):
    return {line["step"]: line["validation"] for line in log_of(folder) if "validation" in line}


def two_processes(*arguments):
    """`perrin train` in two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command += ["--standalone", "--no-python", PERRIN, "train", *arguments]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("what to try next") == 1  # one process speaks for all


@pytest.mark.parametrize(
    ("of", "options"),
    [
        (points_recipe, {"accumulate": 2}),
        (learned_recipe, {"accumulate": 2}),
        (learned_recipe, {"accumulate": 2, "sharding": "fsdp"}),
    ],
)
def test_two_processes_with_accumulation_give_the_losses_of_one(of, options, tmp_path):
    recipe = of(write_points(tmp_path), **options)
    (tmp_path / "points.yaml").write_text(yaml.safe_dump(recipe))
    two_processes(tmp_path / "points.yaml", "--out", tmp_path / "two")
    perrin.train(of(write_points(tmp_path)), out=tmp_path / "one")
    one, two = losses_of(tmp_path / "one"), losses_of(tmp_path / "two")
    assert len(one) == 12
    assert two == pytest.approx(one, rel=1e-5)
    assert validations_of(tmp_path / "two") == pytest.approx(validations_of(tmp_path / "one"), rel=1e-5)
    assert trained(tmp_path / "two") == pytest.approx(trained(tmp_path / "one"), abs=1e-5)
    for file in (tmp_path / "one" / "ema").iterdir():
        for name, value in load_file(file).items():
            torch.testing.assert_close(
                load_file(tmp_path / "two" / "ema" / file.name)[name], value, rtol=2e-3, atol=1e-4
            )
    assert perrin.load(tmp_path / "two").sample(2).state == pytest.approx(
        perrin.load(tmp_path / "one").sample(2).state, abs=1e-3
    )


@pytest.mark.slow
@pytest.mark.parametrize("of", [images_of, points_of])
def test_a_sharded_run_goes_on_from_the_state_of_one_process_and_one_from_its(of, tmp_path):
    """Files hold whole tensors: weights, moments and averages are shared out again on reading."""
    recipe = of(tmp_path)
    perrin.train(recipe, out=tmp_path / "whole")
    with pytest.raises(Killed):
        perrin.train(recipe, out=tmp_path / "run", progress=killed_at(8))
    assert checkpoint.newest(tmp_path / "run").name == "step-00000005"
    two_processes("--resume", tmp_path / "run")
    assert losses_of(tmp_path / "run") == pytest.approx(losses_of(tmp_path / "whole"), rel=1e-4)
    assert trained(tmp_path / "run") == pytest.approx(trained(tmp_path / "whole"), abs=1e-4)
    before = trained(tmp_path / "run")
    longer = trainer({**recipe, "training": {**recipe["training"], "steps": 13}}, tmp_path / "run")
    longer.resume()
    assert longer.step == 12
    longer.save()
    assert trained(tmp_path / "run") == pytest.approx(before, abs=0)


def trained(folder):
    """Every number that was trained, a learned weight's too."""
    weights = load_file(checkpoint.newest(folder) / "weights.safetensors")
    return torch.cat([weights[name].flatten() for name in sorted(weights)]).numpy()


@pytest.mark.parametrize("of", [points_recipe, learned_recipe])
def test_gradients_accumulated_over_parts_are_those_of_the_whole_batch(of, tmp_path):
    path = write_points(tmp_path)
    for parts in (1, 3, 16):
        perrin.train(of(path, accumulate=parts), out=tmp_path / str(parts))
    whole = losses_of(tmp_path / "1")
    assert losses_of(tmp_path / "3") == pytest.approx(whole, rel=1e-5)
    assert losses_of(tmp_path / "16") == pytest.approx(whole, rel=1e-5)
    for parts in ("3", "16"):
        assert trained(tmp_path / parts) == pytest.approx(trained(tmp_path / "1"), abs=1e-5)


def test_a_learned_weight_is_trained_kept_in_the_state_and_absent_from_the_model(tmp_path):
    run = perrin.train(learned_recipe(write_points(tmp_path)), out=tmp_path / "run")
    state = load_file(checkpoint.newest(run.folder) / "weights.safetensors")
    assert all(bool(state[f"learned-weight.{name}"].any()) for name in ("slopes", "offset"))
    for file in [run.folder / "model.safetensors", *(run.folder / "ema").iterdir()]:
        assert not [name for name in load_file(file) if "learned" in name]
    assert min(losses_of(run.folder).values()) > 0  # the base weight's, so that runs can be compared
    validated = [line["validation"] for line in log_of(run.folder) if "validation" in line]
    assert min(validated) > 0


def test_a_batch_that_cannot_be_shared_equally_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with (
        pytest.raises(
            PerrinError, match=r"batch = 16 cannot be shared equally by 3 processes; .* multiple of 3"
        ),
        group("cpu", 16),
    ):
        pass


@pytest.mark.parametrize("kind", ["held in memory", "flipped and prefetched"])
def test_the_shares_of_the_processes_are_the_batch_of_one(kind, tmp_path):
    recipe = (
        points_recipe(write_points(tmp_path)) if "memory" in kind else images_recipe(write_images(tmp_path))
    )
    alone = trainer(recipe, tmp_path / "run")
    data, codec = alone.setup.data.train, alone.setup.codec
    shares = [Batches(data, codec, 16, 0, rank, 2) for rank in range(2)]
    for step in (0, 1, 7):
        whole, parts = alone.batches(step), [share(step) for share in shares]
        assert whole.indices == parts[0].indices + parts[1].indices
        for name in ("seeds", "u"):
            assert getattr(whole, name).equal(torch.cat([getattr(part, name) for part in parts]))
        assert whole.batch.state.equal(torch.cat([part.batch.state for part in parts]))
        labels = [part.batch.condition["label"] for part in parts]
        assert whole.batch.condition["label"].equal(torch.cat(labels))


def test_every_epoch_is_another_permutation_of_the_data(tmp_path):
    batches = trainer(points_recipe(write_points(tmp_path)), tmp_path / "run").batches
    count = len(batches.dataset)
    seen = [index for step in range(3 * count) for index in batches.indices(step)]
    epochs = [seen[start : start + count] for start in range(0, 3 * count, count)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert batches.indices(1) == seen[16:32]  # asked for again, out of order


def test_augmentation_differs_between_epochs_and_not_between_readings(tmp_path):
    batches = trainer(images_recipe(write_images(tmp_path)), tmp_path / "run").batches
    assert batches.cache is None
    assert batches(3).batch.state.equal(batches(3).batch.state)
    flipped = {}
    for step in range(12):
        portion = batches(step)
        for index, state in zip(portion.indices, portion.batch.state, strict=True):
            flipped.setdefault(index, set()).add(tuple(state.flatten().tolist()))
    assert {len(versions) for versions in flipped.values()} == {1, 2} or {
        len(versions) for versions in flipped.values()
    } == {2}

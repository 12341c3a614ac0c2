"""Several processes train as one with the same global batch; each knows its share from its rank alone."""

import os
import subprocess
import sys

import pytest
import torch
import yaml
from tests.training.tiny import (
    PERRIN,
    images_recipe,
    losses_of,
    points_recipe,
    trainer,
    write_images,
    write_points,
)

import perrin
from perrin.errors import PerrinError
from perrin.training.batches import Batches
from perrin.training.distributed import group


def test_two_processes_with_accumulation_give_the_losses_of_one(tmp_path):
    recipe = points_recipe(write_points(tmp_path), accumulate=2)
    (tmp_path / "points.yaml").write_text(yaml.safe_dump(recipe))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command += [
        "--standalone",
        "--no-python",
        PERRIN,
        "train",
        tmp_path / "points.yaml",
        "--out",
        tmp_path / "two",
    ]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("what to try next") == 1  # one process speaks for all
    perrin.train(points_recipe(write_points(tmp_path)), out=tmp_path / "one")
    one, two = losses_of(tmp_path / "one"), losses_of(tmp_path / "two")
    assert len(one) == 12
    assert two == pytest.approx(one, rel=1e-5)
    assert perrin.load(tmp_path / "two").sample(2).state == pytest.approx(
        perrin.load(tmp_path / "one").sample(2).state, abs=1e-3
    )


def test_gradients_accumulated_over_parts_are_those_of_the_whole_batch(tmp_path):
    path = write_points(tmp_path)
    for parts in (1, 3, 16):
        perrin.train(points_recipe(path, accumulate=parts), out=tmp_path / str(parts))
    whole = losses_of(tmp_path / "1")
    assert losses_of(tmp_path / "3") == pytest.approx(whole, rel=1e-5)
    assert losses_of(tmp_path / "16") == pytest.approx(whole, rel=1e-5)


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

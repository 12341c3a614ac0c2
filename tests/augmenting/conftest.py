"""A model of two classes of points that is worth its likelihood, trained once."""

import numpy as np
import pytest
import torch

import perrin
from perrin.kinds.arrays import Arrays


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PERRIN_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)


def two_blobs(count, seed):
    """Points around (-2, 0) and (2, 0), half a unit wide, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    return rng.normal(scale=0.5, size=(count, 2)) + np.stack([4 * labels - 2, 0 * labels], axis=1), labels


def write_blobs(path, count, seed):
    values, labels = two_blobs(count, seed)
    np.savez(path, values=values, labels=labels)
    return path


@pytest.fixture(scope="session")
def blobs(tmp_path_factory):
    """(a model of the points, the file that it learned from, a file of others)."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("blobs")
    learned = write_blobs(folder / "learned.npz", 400, 0)
    recipe = {
        "name": "blobs",
        "kind": "arrays",
        "data": {"path": str(learned)},
        "net": {"name": "mlp", "width": 48, "blocks": 2},
        "training": {"steps": 700, "batch": 128, "lr": 3e-3, "validation": 0},
        "sampling": {"steps": 10},
    }
    run = perrin.train(recipe, out=folder / "run")
    return run.model, learned, write_blobs(folder / "unseen.npz", 200, 1)


def planted(model, states):
    """The model, but the first samples that it draws are these states [n, *shape]."""
    honest = model.sample

    def sample(n, **asked):
        found = honest(n, **asked)
        first = asked.get("first", 0)
        rows = states[first : first + n]
        found.state[: len(rows)] = rows
        return found

    changed = perrin.load(model.folder)
    changed.sample = sample
    return changed


def states_of(model, path):
    """The states of a file of points."""
    data = Arrays.open(path)
    return model.codec.encode([data[i] for i in range(len(data))]).state

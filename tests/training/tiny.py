"""Recipes, data and comparisons small enough to train in a test."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from perrin.training import recipe as recipes
from perrin.training.distributed import Group
from perrin.training.loop import Trainer
from perrin.training.setup import prepare

PERRIN = Path(sys.executable).with_name("perrin")


def write_points(folder, count=50, classes=2):
    """Points on a line of slope 2 in an .npz file, labelled by their side."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=count)
    values = np.stack([x, 2 * x + 0.1 * rng.normal(size=count)], axis=1).astype(np.float32)
    held = {"values": values, "labels": (x > 0).astype(np.int64)} if classes else {"values": values}
    path = Path(folder) / "points.npz"
    np.savez(path, **held)
    return path


def write_images(folder, count=40, side=8):
    """Random grey images in two sub-folders."""
    rng = np.random.default_rng(0)
    for i in range(count):
        path = Path(folder) / "images" / "ab"[i % 2] / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (side, side), np.uint8)).save(path)
    return Path(folder) / "images"


def points_recipe(path, **training):
    """A recipe for points that trains a step in a millisecond; states stay in memory."""
    return {
        "name": "points",
        "kind": "arrays",
        "data": {"path": str(path)},
        "net": {"name": "mlp", "width": 16, "blocks": 1},
        "training": {
            "steps": 12,
            "batch": 16,
            "precision": "float32",
            "validation": 10,
            "save_every": 5,
            **training,
        },
        "sampling": {"steps": 4, "guidance": 2.0},
    }


def learned_recipe(path, **training):
    """The same with a weight that is learned beside the network."""
    weight = {"name": "learned", "base": {"name": "simple"}}
    return {**points_recipe(path, **training), "objective": {"weight": weight}}


def images_recipe(path, **training):
    """A recipe for images whose crops keep states out of the memory: read, cropped and prefetched."""
    return {
        **points_recipe(path, **training),
        "name": "flipped",
        "kind": "images",
        "codec": {"flip": "horizontal", "crop": "random", "size": 6},
        "net": {"name": "unet", "channels": 8, "multipliers": [1, 2], "blocks": 1},
    }


TEXT = "the cat sat on the mat; the dog sat on the log. "


def write_text(folder, repeats=40):
    """One document that says the same again and again."""
    path = Path(folder) / "cats.txt"
    path.write_text(TEXT * repeats)
    return path


def text_recipe(path, process="masked", **training):
    """A recipe for texts of 16 characters by a small transformer; crops are drawn anew in every step."""
    made = points_recipe(path, **training)
    return {
        **made,
        "name": "cats",
        "kind": "text",
        "held_out": 0.1,
        "codec": {"context": 16},
        "process": {"name": process},
        "net": {"name": "transformer", "width": 16, "blocks": 1, "heads": 2, "timed": process == "uniform"},
        "objective": {
            "law": {"name": "uniform_time", "schedule": "log_linear"},
            "weight": {"name": "bound"},
            "drop": 0.0,
        },
        "sampling": {"solver": "ancestral", "steps": 8, "grid": "time", "schedule": {"name": "log_linear"}},
    }


class Killed(BaseException):
    """Nothing in the program catches it, as nothing catches a SIGKILL."""


def killed_at(step):
    """A progress callback that ends the run without warning."""

    def progress(done, total, note):
        if done == step:
            raise Killed

    return progress


def trainer(recipe, folder, **changes):
    """A trainer of a recipe that has not begun; `changes` replace fields of its setup."""
    import dataclasses

    setup = dataclasses.replace(prepare(recipes.validate(recipe)), **changes)
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Trainer(setup, Path(folder), Group())


def log_of(folder):
    """The log of a run without its times."""
    lines = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "cpu_seconds"} for line in lines]


def losses_of(folder):
    """step -> loss, of all logged steps."""
    return {line["step"]: line["loss"] for line in log_of(folder) if "loss" in line}


def contents(folder):
    """All that training left: every tensor of every file, the optimiser's rest, and the log."""
    folder = Path(folder)
    tensors = {
        f"{file.relative_to(folder)}:{name}": value
        for file in sorted(folder.rglob("*.safetensors"))
        for name, value in load_file(file).items()
    }
    state = {
        str(file.relative_to(folder)): {
            k: v for k, v in json.loads(file.read_text()).items() if k not in ("cpu_seconds", "seconds")
        }
        for file in sorted(folder.rglob("state.json"))
    }
    return tensors, state, log_of(folder)


def assert_identical(one, other):
    """Two runs left the same bits."""
    (tensors, state, log), (tensors_2, state_2, log_2) = contents(one), contents(other)
    assert tensors.keys() == tensors_2.keys()
    assert [name for name, value in tensors.items() if not torch.equal(value, tensors_2[name])] == []
    assert state == state_2
    assert log == log_2

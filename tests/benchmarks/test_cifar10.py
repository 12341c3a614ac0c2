"""The CIFAR-10 benchmark, small: parts that end in time and go on, what is counted, and what is handed back."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.training.tiny import images_recipe, write_images

import perrin
from perrin.design import Design
from perrin.training import checkpoint

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks" / "cifar10"
DATA = Path(os.environ.get("PERRIN_DATA", "../shared/data")) / "cifar10"


def script(name: str) -> ModuleType:
    """One of the benchmark's files, whose neighbours are the quality of `benchmarks/steps` and each other."""
    spec = importlib.util.spec_from_file_location(f"cifar10_{name}", SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path[:0] = [str(SCRIPTS), str(SCRIPTS.parent / "steps")]
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.path[:2]
    return module


class Over:
    """A clock whose time is up after some questions."""

    def __init__(self, questions: int) -> None:
        self.left = questions

    @property
    def over(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_a_part_that_is_over_saves_and_the_next_goes_on_from_it(tmp_path: Path) -> None:
    parts = script("parts")
    recipe, folder = images_recipe(write_images(tmp_path), steps=12, save_every=100), tmp_path / "run"
    with pytest.raises(parts.OutOfTime):
        parts.train(folder, Over(4), "cpu", recipe)
    state = checkpoint.newest(folder)
    assert state is not None
    assert state.name == "step-00000005"
    records = parts.train(folder, Over(100), "cpu", recipe)
    assert [(r["first"], r["last"], r["finished"]) for r in records] == [(1, 5, False), (6, 12, True)]
    assert all(r["seconds"] > 0 and r["seconds_a_step"] > 0 for r in records)
    assert parts.train(folder, Over(0), "cpu", recipe) == records  # what is finished is not repeated


def test_the_operations_of_a_step_are_those_of_its_convolutions() -> None:
    """Forward, and twice as many backward, but for the entrance, whose input needs no gradient."""
    net = {"name": "unet", "shape": [3, 8, 8], "classes": 2, "channels": 8, "multipliers": [1], "blocks": 1}
    design = Design(net, {"name": "edm", "sigma_data": 0.5}, {"kind": "images", "config": {}})
    one, width, pixels = script("speed").operations(design, 1), 32, 64
    entrance, exit_, block = 3 * 8 * 9, 8 * 3 * 9, 2 * 8 * 8 * 9
    vectors = 64 * width + width * width + width * 16
    forward = 2 * (pixels * (entrance + exit_ + block) + vectors)
    assert one == 3 * forward - 2 * (pixels * entrance + 64 * width)
    assert script("speed").operations(design, 6) == 6 * one


def test_utilisation_is_operations_a_second_over_the_devices_peak() -> None:
    speed = script("speed")
    part = {"first": 1, "last": 101, "seconds": 10.0, "seconds_a_step": 0.05, "seconds_before_first": 3.0}
    found = speed.utilisation([part], int(989e10), "NVIDIA H200")
    assert found["utilisation"] == pytest.approx(0.2)
    assert found["utilisation_overall"] == pytest.approx(0.1)
    assert found["steps_per_second"] == pytest.approx(20)
    assert speed.utilisation([part], 1, "some other device")["utilisation"] is None


def test_the_weights_are_handed_back_whole_in_files_small_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    returned = script("returned")
    monkeypatch.setattr(returned, "LARGEST", 100)
    weights = {str(i): torch.randn(10 * (i + 1)) for i in range(8)} | {"count": torch.arange(3)}
    groups = returned.shards(weights)
    assert [list(g) for g in groups[:2]] == [["0", "1"], ["2"]]
    assert all(len(g) == 1 or sum(v.nbytes for v in g.values()) <= 100 for g in groups)
    joined = {name: value for group in groups for name, value in group.items()}
    assert joined.keys() == weights.keys()
    assert all(torch.equal(joined[n], v.half() if v.is_floating_point() else v) for n, v in weights.items())


@pytest.mark.slow
def test_the_whole_script_runs_small_in_several_calls(tmp_path: Path) -> None:
    if not (DATA / "train.parquet").is_file():
        pytest.skip(f"no CIFAR-10 at {DATA}; set PERRIN_DATA")
    command: list[Any] = [
        sys.executable,
        SCRIPTS / "run.py",
        "--data",
        DATA,
        "--out",
        tmp_path / "out",
        "--smoke",
    ]
    command += ["--device", "cpu", "--seconds", "5"]
    first = subprocess.run([*command, "--part-seconds", "1"], capture_output=True, text=True, check=True)
    assert "this part is over" in first.stdout
    last = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "all done" in last.stdout
    names = {path.name for path in (tmp_path / "out" / "return").iterdir()}
    assert names == {"REPORT.md", "figures.json", "grid.png", "model.json", "weights-0.safetensors"}
    tensors = load_file(tmp_path / "out" / "return" / "weights-0.safetensors")
    assert set(tensors) == set(perrin.load(tmp_path / "out" / "model").module.net.state_dict())

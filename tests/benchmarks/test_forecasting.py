"""The benchmark of forecasting, small: the same windows for all, nothing learned from them, parts that are not repeated."""

from __future__ import annotations

import gzip
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import perrin

pytest.importorskip("statsmodels")
SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks" / "forecasting"
SMALL = [
    "net.width=16", "net.blocks=1", "training.steps=15", "training.batch=8", "training.cpu_seconds=null",
    "training.validation=0", "codec.context=30", "sampling.steps=3",
]  # fmt: skip


def script(name: str) -> ModuleType:
    """One of the benchmark's files, whose neighbours are each other."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        spec = importlib.util.spec_from_file_location(f"forecasting_{name}", SCRIPTS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SCRIPTS))
        sys.modules.pop("tasks", None)
    return module


def test_a_task_leaves_its_parts_and_a_table_and_repeats_nothing(tmp_path, monkeypatch):
    days = np.busday_offset("2020-01-01", np.arange(400), roll="forward")
    walk = 60 + np.cumsum(np.random.default_rng(0).normal(size=400))
    text = "Date,Price\n" + "".join(f"{d},{v:.2f}\n" for d, v in zip(days, walk, strict=True))
    (tmp_path / "wti-daily.csv.gz").write_bytes(gzip.compress(text.encode()))
    out = tmp_path / "out"
    monkeypatch.setattr(
        sys, "argv",
        ["run.py", "--data", str(tmp_path), "--out", str(out), "--only", "wti", "--windows", "4", "--paths", "6",
         "--ranks", "3", *(word for change in SMALL for word in ("--set", change))],
    )  # fmt: skip
    run = script("run")
    run.main()
    table = (out / "wti.md").read_text()
    assert "| model |" in table
    assert "| arima |" in table
    assert "Log-densities: " in table
    with np.load(out / "wti" / "model.npz") as held:
        assert held["paths"].shape == (4, 6, 1, 30)
        assert held["origins"][0] == 320
    end = np.datetime64(perrin.load(out / "wti" / "run").codec.end)
    assert end.astype("datetime64[D]") == days[319]  # the row before the first window
    parts = {file: file.stat().st_mtime_ns for file in (out / "wti").glob("*.[nj][ps]*")}
    run.main()
    assert len(parts) == 8  # six simple methods, the model, the ranks
    assert {file: file.stat().st_mtime_ns for file in parts} == parts


def test_increments_of_paths_go_on_from_the_last_total():
    tasks = script("tasks")
    cases = next(task for task in tasks.TASKS if task.increments)
    values = np.cumsum(np.arange(1.0, 41.0))[None]
    origins = np.array([20, 26])
    paths = np.stack([np.repeat(values[None, :, o : o + 14], 3, 0) for o in origins])
    scored = cases.scored_paths(paths, values, origins)
    np.testing.assert_allclose(scored[1, 0, 0], np.arange(27.0, 41.0))
    np.testing.assert_allclose(cases.scored(values)[0, 1:], np.arange(2.0, 41.0))
    assert np.isnan(cases.scored(values)[0, 0])

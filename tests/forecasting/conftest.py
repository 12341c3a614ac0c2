"""A model of two seasonal columns, small enough to train in a test."""

import numpy as np
import pytest
import torch

from perrin import api
from perrin.kinds.series import open_series

ROWS = 240


def write_seasonal(path, rows=ROWS, gaps=()):
    """Two daily columns with a week's cycle and noise; `gaps` are (row, column) left empty."""
    rng = np.random.default_rng(0)
    days = np.datetime64("2023-01-02") + np.arange(rows)
    week = np.sin(2 * np.pi * np.arange(rows) / 7)
    load = 100 + 10 * week + rng.normal(size=rows)
    wind = 50 - 5 * week + 2 * rng.normal(size=rows)
    cells = [[f"{v:.3f}" for v in column] for column in (load, wind)]
    for row, column in gaps:
        cells[column][row] = ""
    lines = ["date,load,wind", *(f"{d},{a},{b}" for d, a, b in zip(days, *cells, strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def tiny_recipe(path, **codec):
    """A recipe that trains in about a second."""
    return {
        "name": "tiny",
        "kind": "series",
        "data": {"path": str(path)},
        "codec": {"horizon": 7, "context": 21, **codec},
        "net": {"name": "axial", "width": 16, "blocks": 1, "heads": 2, "patch": 7},
        "objective": {"law": {"name": "lognormal", "mean": -0.4, "std": 1.2}, "drop": 0.0},
        "training": {
            "steps": 60,
            "batch": 16,
            "precision": "float32",
            "threads": 1,
            "validation": 0,
            "lr": 5e-3,
        },
        "sampling": {
            "solver": "dpmpp_2m",
            "steps": 6,
            "schedule": {"name": "edm", "sigma_min": 0.01, "sigma_max": 20.0},
        },
    }


@pytest.fixture(scope="session")
def seasonal(tmp_path_factory):
    """A CSV file of two seasonal columns."""
    return write_seasonal(tmp_path_factory.mktemp("seasonal") / "seasonal.csv")


@pytest.fixture(scope="session")
def tiny(seasonal, tmp_path_factory):
    """(model, dataset) of the seasonal file."""
    torch.manual_seed(0)
    run = api.train(tiny_recipe(seasonal), out=tmp_path_factory.mktemp("runs") / "tiny")
    return run.model, open_series(seasonal)

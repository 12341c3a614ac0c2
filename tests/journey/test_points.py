"""From a file of points to a model, new points in a file, and figures: by the command line alone."""

import json
from pathlib import Path

import numpy as np
import pytest

from perrin.cli import entry
from perrin.kinds.provenance import read_provenance

RADIUS, STD = 4.0, 0.25
SHORT = ("--set", "training.batch=128", "--set", "training.precision=float32", "--set", "net.width=64")


def eight_gaussians(count, seed):
    """Points [count, 2] of eight Gaussians on a circle, and which each belongs to."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 8, count)
    angle = label * np.pi / 4
    centre = RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return centre + STD * rng.normal(size=(count, 2)), label


def energy_distance(a, b):
    """2 E|A - B| - E|A - A'| - E|B - B'|, zero where the laws are one (Szekely and Rizzo 2013)."""

    def mean(x, y):
        return np.linalg.norm(x[:, None] - y[None], axis=-1).mean()

    return 2 * mean(a, b) - mean(a, a) - mean(b, b)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A model trained for some CPU-seconds on a csv file with a column of labels."""
    folder = tmp_path_factory.mktemp("points")
    points, label = eight_gaussians(3000, 0)
    names = np.array(["east", "ne", "north", "nw", "west", "sw", "south", "se"])[label]
    lines = [f"{x:.6f},{y:.6f},{name}" for (x, y), name in zip(points, names, strict=True)]
    (folder / "points.csv").write_text("x,y,label\n" + "\n".join(lines) + "\n")
    words = [
        "train",
        "arrays",
        str(folder / "points.csv"),
        *SHORT,
        "--steps",
        "1500",
        "--out",
        str(folder / "run"),
    ]
    assert entry.main(words) == 0
    return folder / "run"


def drawn(run, name, *options):
    """Points drawn by the command line, read from the file as anyone would."""
    path = run.parent / name
    assert entry.main(["sample", str(run), "-n", "1000", "--out", str(path), *options]) == 0
    lines = path.read_text().splitlines()
    assert lines[0] == "x,y,label"
    rows = [line.split(",") for line in lines[1:]]
    return np.array([[float(x), float(y)] for x, y, _ in rows]), [name for *_, name in rows]


def test_the_points_drawn_have_the_law_of_the_data(run):
    points, _ = drawn(run, "all.csv")
    real = eight_gaussians(1000, 2)[0]
    ceiling = np.median([energy_distance(eight_gaussians(1000, s)[0], real) for s in range(3, 8)])
    baseline = energy_distance(np.random.default_rng(0).normal(size=(1000, 2)) * real.std(0), real)
    assert energy_distance(points, real) < ceiling + 0.05 * baseline
    assert abs(np.linalg.norm(points, axis=1).mean() - RADIUS) < 0.1


def test_a_point_asked_for_by_name_lies_there(run):
    points, names = drawn(run, "north.csv", "--label", "north")
    assert set(names) == {"north"}
    assert (np.linalg.norm(points - [0, RADIUS], axis=1) < 4 * STD).mean() > 0.95
    assert np.linalg.norm(points.mean(0) - [0, RADIUS]) < 0.1


def test_the_file_says_how_each_point_was_made(run):
    drawn(run, "said.csv", "--seed", "4")
    items = read_provenance(run.parent / "said.csv")["items"]
    assert len(items) == 1000
    assert (items[3]["seed"], items[3]["index"], items[3]["class"]) == (4, 3, items[11]["class"])


def test_the_evaluation_puts_every_figure_beside_its_ceiling(run, capsys):
    assert entry.main(["evaluate", str(run), "-n", "400", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    folder = Path(figures.pop("folder"))
    assert folder == run / "evaluation-samples-400"  # other settings than the recipe's own never overwrite
    assert figures == json.loads((folder / "metrics.json").read_text())
    assert figures["class_accuracy"] > 0.95
    assert figures["class_accuracy_ceiling"] > 0.95
    assert figures["class_accuracy_control"] < 0.4
    assert figures["coverage"] > 0.8 * figures["coverage_ceiling"]
    assert figures["frechet_distance"] < 1.5 * figures["frechet_ceiling"]
    assert figures["train_seconds"] > 0
    report = (folder / "report.html").read_text()
    assert "Held-out data" in report
    assert 'src="http' not in report
    assert (folder / "samples.png").stat().st_size > 1000

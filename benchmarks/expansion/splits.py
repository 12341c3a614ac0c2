"""The parts of the brain-MRI slices: an unlabelled pool, few-shot draws from it, a control, two test sets.

The file's training split is cut once, stratified by class: 1,000 slices are the pool that the base model learns without a
label, 100 the control of the filters, 271 a test of the same kind; the file's own test split (100 slices, of other sources)
is the other test. A seed's few-shot set is so many slices a class of the pool, drawn by that seed. Every part is a folder
with the slices as they are in the file and a `metadata.jsonl`, which any reader of image folders takes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pyarrow import parquet
from sklearn.model_selection import train_test_split

POOL, CONTROL = 1_000, 100

Row = dict[str, Any]


def write_all(data: Path, out: Path, shots: int, seeds: int) -> None:
    """Every part of every seed, in folders `pool`, `control`, `near`, `test`, `few-S` of `out`."""
    rows: list[Row] = parquet.read_table(data).to_pylist()
    train = [row for row in rows if row["split"] == "train"]
    pool, rest = train_test_split(train, train_size=POOL, stratify=_labels(train), random_state=0)
    control, near = train_test_split(rest, train_size=CONTROL, stratify=_labels(rest), random_state=0)
    parts = {"pool": pool, "control": control, "near": near}
    parts["test"] = [row for row in rows if row["split"] == "test"]
    for name, part in parts.items():
        _write_images(part, out / name / "images")
        _list(out / name, range(len(part)), part)
    for seed in range(seeds):
        chosen = few(_labels(pool), shots, seed)
        _list(out / f"few-{seed}", chosen, pool)
        link = out / f"few-{seed}" / "images"
        if not link.exists():
            link.symlink_to(Path("..") / "pool" / "images", target_is_directory=True)


def few(labels: Sequence[int], shots: int, seed: int) -> list[int]:
    """`shots` positions of each class."""
    generator = np.random.default_rng(seed)
    of = np.asarray(labels)
    drawn = [generator.permutation(np.flatnonzero(of == label))[:shots] for label in np.unique(of)]
    return np.concatenate(drawn).tolist()


def _labels(rows: Sequence[Row]) -> list[int]:
    return [row["label"] for row in rows]


def _write_images(rows: Sequence[Row], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, row in enumerate(rows):
        with Image.open(io.BytesIO(row["image"])) as image:
            image.convert("L").save(folder / f"{index:04d}.png")


def _list(folder: Path, positions: Sequence[int], rows: Sequence[Row]) -> None:
    """The `metadata.jsonl` of a part."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {
            "file_name": f"images/{at:04d}.png",
            "label": rows[at]["label"],
            "label_name": rows[at]["label_name"],
        }
        for at in positions
    ]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

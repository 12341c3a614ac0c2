"""Arrays on their way out: `.npy`, `.npz` or `.csv`, with how they were made in a JSON file beside them."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image
from PIL.Image import open as open_image

from perrin.errors import PerrinError
from perrin.kinds.labels import class_name
from perrin.kinds.provenance import png_text, write_sidecar
from perrin.saving import replacing


def save_arrays(
    decoded: Sequence[np.ndarray],
    path: Path,
    provenance: Sequence[Mapping[str, Any]],
    classes: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> list[Path]:
    """Write all items to one file, and `{"items": provenance}` to `NAME.json`.

    Args:
        path: `.npy`, `.npz` (arrays `values` and `labels`), `.csv` or `.csv.gz` (vectors, a line each, with a
            column `label`); any other name is a folder for `samples.npy`.
        provenance: one each; `label` in it (an index or a name) becomes the item's label.

    Returns:
        The file and its sidecar.

    Raises:
        PerrinError: items of several axes in a csv file, or a file that cannot be written.
    """
    if len(decoded) != len(provenance):
        raise ValueError(f"{len(decoded)} arrays with {len(provenance)} provenances")
    if path.suffix == "" or path.is_dir():
        path = path / "samples.npy"
    labels = [class_name(made.get("label"), classes) for made in provenance]
    known = any(label is not None for label in labels)
    values = np.stack(list(decoded)) if len(decoded) else np.empty((0,))
    if path.name.lower().endswith((".csv", ".csv.gz")):
        _write_csv(values, labels if known else None, columns, path)
    elif path.suffix.lower() == ".npz":
        _write_npz(values, labels if known else None, path)
    elif path.suffix.lower() == ".npy":
        with replacing(path) as part, part.open("wb") as out:
            np.save(out, values, allow_pickle=False)
    else:
        raise PerrinError(f"arrays are saved as .npy, .npz, .csv or .csv.gz, not '{path}'")
    return [path, write_sidecar(path, {"items": [dict(made) for made in provenance]})]


def save_picture(picture: Image | None, path: Path, provenance: Sequence[Mapping[str, Any]]) -> Path:
    """Write the picture of all items, their provenance inside.

    Raises:
        PerrinError: items that have no picture, or a file that cannot be written.
    """
    if picture is None:
        raise PerrinError(f"items of this shape have no picture for '{path}'; write .npy or .npz")
    with replacing(path) as part:
        picture.save(part, format="PNG", pnginfo=png_text({"items": [dict(made) for made in provenance]}))
    return path


def _write_npz(values: np.ndarray, labels: list[str | None] | None, path: Path) -> None:
    held = {"values": values}
    if labels is not None:
        held["labels"] = np.array([label or "" for label in labels])
    with replacing(path) as part, part.open("wb") as out:
        np.savez(out, **held)  # type: ignore[arg-type]  # NumPy types the keywords as its own options


def _write_csv(
    values: np.ndarray, labels: list[str | None] | None, columns: Sequence[str] | None, path: Path
) -> None:
    if values.ndim > 2:
        raise PerrinError(
            f"items of shape {values.shape[1:]} do not fit into the lines of '{path}'; write .npy or .npz"
        )
    width = values.shape[-1]
    names = (
        list(columns) if columns is not None and len(columns) == width else [f"x{i}" for i in range(width)]
    )
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(names if labels is None else [*names, "label"])
    for place, row in enumerate(values.tolist()):
        writer.writerow(row if labels is None else [*row, labels[place] or ""])
    encoded = text.getvalue().encode()
    with replacing(path) as part:
        part.write_bytes(gzip.compress(encoded, mtime=0) if path.suffix == ".gz" else encoded)


def read_saved(path: Path) -> np.ndarray:
    """The values of a file that `save_arrays` wrote, `[N, *shape]`; the pixels of a picture."""
    if path.suffix.lower() == ".png":
        with open_image(path) as image:
            return np.asarray(image)
    if path.name.lower().endswith((".csv", ".csv.gz")):
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        return np.array([[float(v) for k, v in row.items() if k != "label"] for row in rows])
    held = np.load(path, allow_pickle=False)
    return held if isinstance(held, np.ndarray) else held["values"]

"""A path to a dataset of arrays: `.npy`, `.npz`, `.csv`, `.csv.gz`; or the name of a generated set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds import stacked
from perrin.kinds.arrays.table import Table, read_table
from perrin.kinds.arrays.toy import Toy, toy_points
from perrin.kinds.files import few
from perrin.kinds.labels import index_labels
from perrin.kinds.selection import Selection
from perrin.registry import unknown

Broken = Literal["refuse", "skip"]


@dataclass(frozen=True)
class ArrayRows:
    """Items along the first axis of an array; `lines` are their lines in a csv file, which name them."""

    values: np.ndarray
    labels: np.ndarray | None
    classes: list[str] | None
    lines: list[int] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def read(self, index: int) -> np.ndarray:
        """One item with at least one axis: a single number has shape [1]."""
        return np.atleast_1d(np.array(self.values[index]))

    def name(self, index: int) -> str:
        """Its row counted from 0, or its line in the csv file counted from 1."""
        return f"row {index}" if self.lines is None else f"line {self.lines[index]}"


def open_arrays(
    path: str | Path | None = None,
    *,
    toy: Toy | None = None,
    count: int | None = None,
    seed: int | None = None,
    broken: Broken = "refuse",
    key: str | None = None,
    columns: list[str] | None = None,
    header: bool | None = None,
    label: str | None = None,
    labels: bool = True,
) -> Selection:
    """Open an array file; items lie along its first axis and have any shape. Every value is checked once.

    Args:
        path: `.npy` (memory-mapped), `.npz`, `.csv` or `.csv.gz`; or none, and
        toy: points in the plane made by formula (`arrays.toy`); count: how many, 10,000 by default; seed: which.
        broken: what to do about items with NaN, infinity or text: "refuse" names their row and column, "skip"
            leaves them out and lists them in `skipped`.
        key: which array of an `.npz` file; needed when it holds several beside the labels.
        columns: which columns of a csv file, in this order; default: all but the label.
        header: whether the first line of a csv file names the columns; default: when it holds no number.
        label: the array or column of labels; default `label` or `labels` where there is one.
        labels: False ignores labels.

    Raises:
        PerrinError: no such file, key or column; not numbers; no items; broken items; a path and a toy set.
    """
    if path is None or toy is not None:
        return _of_toy(path, toy, 10_000 if count is None else count, seed or 0, labels)
    for name, number in (("count", count), ("seed", seed)):
        if number is not None:
            raise PerrinError(f"{name} is for toy sets, not for '{path}'")
    path = Path(path)
    if broken not in ("refuse", "skip"):
        raise PerrinError(f"broken: {broken!r} is not known; write 'refuse' or 'skip'")
    if not path.is_file():
        raise PerrinError(f"no file '{path}'; arrays are .npy, .npz, .csv or .csv.gz files")
    form = ".csv" if path.name.lower().endswith((".csv", ".csv.gz")) else path.suffix.lower()
    if form not in (".npy", ".npz", ".csv"):
        raise PerrinError(
            f"'{path}' is not a kind of file with arrays in it; write .npy, .npz, .csv or .csv.gz"
        )
    names: list[str] | None = None
    reasons: dict[int, str] = {}
    if form == ".csv":
        table = read_table(path, columns, label, header)
        rows, names, reasons = _of_table(table, labels, path), table.columns, table.text
    else:
        for option, given in (("columns", columns), ("header", header)):
            if given is not None:
                raise PerrinError(f"{option} is for csv files, not for '{path}'")
        rows = _of_npz(path, key, label, labels) if form == ".npz" else _of_npy(path, label)
    if form != ".npz" and key is not None:
        raise PerrinError(f"key {key!r} is for .npz files, not for '{path}'")
    _check_numbers(rows.values, path)
    reasons = {**dict(_not_finite(rows, names)), **reasons}
    facts = {
        "kind": "arrays",
        "path": str(path),
        "columns": names,
        "sha256": stacked.digest(rows.values, rows.labels),
    }
    return Selection(rows, *_decide(rows, reasons, broken, path, facts))


def _of_toy(path: str | Path | None, toy: str | None, count: int, seed: int, labels: bool) -> Selection:
    if path is not None or toy is None:
        what = "both" if toy is not None else "neither"
        raise PerrinError(f"data are a path or a toy set, and here are {what}: write path: FILE or toy: NAME")
    (values, part), facts = toy_points(toy, count, seed)
    found = index_labels([] if part is None or not labels else part.tolist(), f"parts of {toy!r}")
    return Selection(ArrayRows(values, *found), np.arange(count), facts, [])


def _decide(
    rows: ArrayRows, reasons: dict[int, str], broken: Broken, path: Path, facts: dict[str, Any]
) -> tuple[np.ndarray, dict[str, Any], list[str]]:
    """(indices of the good items, facts, names of the bad ones), or the refusal."""
    bad = sorted(reasons)
    if bad and (broken == "refuse" or len(bad) == len(rows)):
        raise PerrinError(
            f"{len(bad):,} of {len(rows):,} rows of '{path}' hold no finite number somewhere: "
            f"{few(reasons[i] for i in bad)}; repair them, or leave them out with broken: skip"
        )
    return np.setdiff1d(np.arange(len(rows)), bad), facts, [rows.name(i) for i in bad]


def _of_table(table: Table, labels: bool, path: Path) -> ArrayRows:
    raw: Sequence[Any] | None = table.labels if labels else None
    if raw is not None and all(label is None or (label.isascii() and label.isdigit()) for label in raw):
        raw = [None if label is None else int(label) for label in raw]
    return ArrayRows(table.values, *index_labels(raw or [], f"labels of '{path}'"), table.lines)


def _of_npy(path: Path, label: str | None) -> ArrayRows:
    if label is not None:
        raise PerrinError(
            f"'{path}' is one array without labels; write an .npz file with arrays values and labels"
        )
    return ArrayRows(stacked.open_npy(path), None, None)


def _of_npz(path: Path, key: str | None, label: str | None, labels: bool) -> ArrayRows:
    keys = stacked.npz_keys(path)
    for wanted in (key, label):
        if wanted is not None and wanted not in keys:
            raise unknown(f"array of '{path}'", wanted, keys)
    label = label or next((name for name in ("label", "labels") if name in keys and name != key), None)
    others = [name for name in keys if name != label]
    if key is None and len(others) != 1:
        raise PerrinError(
            f"'{path}' holds {', '.join(others) or 'no array of values'}; write which one as key: NAME"
        )
    values = stacked.open_npz(path, key or others[0])
    if label is None or not labels:
        return ArrayRows(values, None, None)
    found = stacked.open_npz(path, label)
    if found.shape != values.shape[:1]:
        raise PerrinError(f"'{path}' has {len(values):,} items and {label!r} of shape {found.shape}")
    return ArrayRows(values, *index_labels(found.tolist(), f"{label!r} of '{path}'"))


def _check_numbers(values: np.ndarray, path: Path) -> None:
    if values.dtype.kind not in "biuf":
        raise PerrinError(f"'{path}' holds {values.dtype}, not real numbers")
    if values.ndim == 0 or not values.size:
        raise PerrinError(f"'{path}' holds no items: its array has shape {values.shape}")


def _not_finite(rows: ArrayRows, columns: list[str] | None) -> Iterator[tuple[int, str]]:
    """(row, "row 3 column (0, 2) is nan") of the first bad value in each row that has one."""
    if rows.values.dtype.kind != "f":
        return
    start = 0
    for block in stacked.blocks(rows.values):
        flat = block.reshape(len(block), -1)
        finite = np.isfinite(flat)
        for row in np.flatnonzero(~finite.all(axis=1)).tolist():
            at = int(np.flatnonzero(~finite[row])[0])
            place = tuple(int(i) for i in np.unravel_index(at, block.shape[1:] or (1,)))
            column = repr(columns[at]) if columns else (place[0] if len(place) == 1 else place)
            yield start + row, f"{rows.name(start + row)} column {column} is {flat[row, at]}"
        start += len(block)

"""The forms that images and arrays lie in, each written as it is read: `layout_of(dataset, path, options)`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perrin.augmenting.layouts.arrays import Held, Lines
from perrin.augmenting.layouts.folders import Folder, Listed
from perrin.augmenting.layouts.made import Layout, Made
from perrin.augmenting.layouts.stacks import Stack
from perrin.augmenting.layouts.tables import Table
from perrin.kinds import stacked
from perrin.kinds.arrays.opening import ArrayRows
from perrin.kinds.arrays.table import read_table
from perrin.kinds.images.folder import METADATA, FolderFiles
from perrin.kinds.images.opening import ImageFiles
from perrin.kinds.images.stacks import ImageStack
from perrin.kinds.selection import Selection

__all__ = ["Layout", "Made", "layout_of"]


def layout_of(dataset: Selection, path: Path, options: dict[str, Any]) -> Layout:
    """The layout that a dataset was read from.

    Args:
        dataset: as its kind opened it; path, options: that it was opened with.

    Raises:
        TypeError: a source of another kind than images and arrays.
    """
    source = dataset.source
    if isinstance(source, ImageFiles) and isinstance(source.encoded, FolderFiles):
        listed = (source.encoded.root / METADATA).is_file()
        return Listed(source.encoded) if listed else Folder(source.encoded)
    if isinstance(source, ImageFiles):
        return Table(path, options)
    if isinstance(source, ImageStack):
        return Stack(source, path, options)
    if isinstance(source, ArrayRows):
        return _of_arrays(source, path, options)
    raise TypeError(f"no layout for {type(source).__name__}")


def _of_arrays(source: ArrayRows, path: Path, options: dict[str, Any]) -> Layout:
    label = options.get("label")
    if source.lines is not None:
        picked = [options.get(name) for name in ("columns", "label", "header")]
        table = read_table(path, *picked)
        named = label or ("label" if table.labels is not None else None)
        return Lines(source, path, table.columns, named)
    if path.suffix.lower() == ".npy":
        return Held(source, path)
    keys = stacked.npz_keys(path)
    key = options.get("key")
    label = label or next((name for name in ("label", "labels") if name in keys and name != key), None)
    return Held(source, path, key or next(name for name in keys if name != label), label)

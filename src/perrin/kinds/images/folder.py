"""A folder of image files: sub-folders as classes, or a `metadata.jsonl` that lists files and labels.

`metadata.jsonl` (the Hugging Face imagefolder convention): one JSON object a line, `file_name` relative to
the folder and, where there is one, `label` (a name, or an integer with an optional `label_name`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.files import few
from perrin.kinds.labels import index_labels

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm")
METADATA = "metadata.jsonl"


@dataclass(frozen=True)
class FolderFiles:
    """Encoded images of a folder, named by their path below it. `unused`: other files that lie there."""

    root: Path
    files: Sequence[Path]
    labels: np.ndarray | None
    classes: list[str] | None
    unused: int = 0

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        """Path below the folder, with forward slashes."""
        return self.files[index].relative_to(self.root).as_posix()

    def encoded(self, index: int) -> bytes:
        """The bytes of the file."""
        return self.files[index].read_bytes()


def read_folder(root: Path, labels: bool = True) -> FolderFiles:
    """List a folder. With `labels=False` sub-folders are searched for images but mean nothing.

    Raises:
        PerrinError: no image in it; images both beside and inside sub-folders; a `metadata.jsonl` that names
            missing files or has a bad line.
    """
    if (root / METADATA).is_file():
        found = _listed(root, labels)
    else:
        images, unused = _walk(root)
        if not images:
            held = f"it holds {unused:,} other files" if unused else "it is empty"
            raise PerrinError(f"no images in folder '{root}': {held}; images end in {' '.join(SUFFIXES)}")
        found = (
            _by_sub_folder(root, images, unused) if labels else FolderFiles(root, images, None, None, unused)
        )
    return found


def _walk(root: Path) -> tuple[list[Path], int]:
    images, unused = [], 0
    for folder, inner, names in os.walk(root, followlinks=True):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        visible = [name for name in names if not name.startswith(".")]
        chosen = [name for name in visible if name.lower().endswith(SUFFIXES)]
        images += [Path(folder, name) for name in chosen]
        unused += len(visible) - len(chosen)
    return sorted(images), unused


def _by_sub_folder(root: Path, images: list[Path], unused: int) -> FolderFiles:
    parts = [image.relative_to(root).parts for image in images]
    inside = [part[0] for part in parts if len(part) > 1]
    if inside and len(inside) < len(parts):
        raise PerrinError(
            f"'{root}' holds {len(parts) - len(inside):,} images beside the sub-folders "
            f"({few(sorted(set(inside)), 3)}) and {len(inside):,} inside them; "
            "move them into classes, or write labels: false"
        )
    indexed = index_labels(inside, "sub-folders")
    return FolderFiles(root, images, *indexed, unused)


def _listed(root: Path, labels: bool) -> FolderFiles:
    rows = _rows(root / METADATA)
    files = [root / row["file_name"] for row in rows]
    present = set(_walk(root)[0])
    missing = [row["file_name"] for row, file in zip(rows, files, strict=True) if file not in present]
    missing = [name for name in missing if not (root / name).is_file()]
    if missing:
        raise PerrinError(
            f"'{root / METADATA}' names {len(missing):,} images that are not there: {few(missing)}; "
            "add the files or remove their lines"
        )
    raw = [row.get("label") if labels else None for row in rows]
    indexed = index_labels(raw, f"labels of '{root / METADATA}'", [row.get("label_name") for row in rows])
    return FolderFiles(root, files, *indexed, len(present - set(files)))


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise PerrinError(f"'{path}' line {number} is not JSON: {error}") from error
            if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
                raise PerrinError(
                    f'\'{path}\' line {number} has no "file_name"; write {{"file_name": "a.png", ...}}'
                )
            name = row["file_name"]
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise PerrinError(f"'{path}' line {number}: {name!r} lies outside the folder")
            rows.append(row)
    if not rows:
        raise PerrinError(f"'{path}' lists no images")
    return rows

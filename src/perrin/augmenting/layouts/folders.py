"""A folder of pictures: sub-folders as classes, or a `metadata.jsonl` that lists files and labels. Out as PNG."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perrin.augmenting.layouts.made import Made, filling, png_bytes
from perrin.kinds.images.folder import METADATA, FolderFiles


@dataclass(frozen=True)
class Folder:
    """Pictures in a folder, in one sub-folder a class where there are classes."""

    real: FolderFiles
    suffix: str = ""
    form: str = "a folder"

    def write(self, target: Path, made: Made, with_real: bool) -> list[Path]:
        """`CLASS/synthetic-00012.png`, each with its provenance inside; real files as they are, under their names."""
        names = made.names
        with filling(target) as part:
            if with_real:
                _copy(self.real, part)
            files = _pictures(part, made, [""] * len(made) if names is None else names)
        return [target / file for file in files]


@dataclass(frozen=True)
class Listed:
    """Pictures that a `metadata.jsonl` lists."""

    real: FolderFiles
    suffix: str = ""
    form: str = "a folder"

    def write(self, target: Path, made: Made, with_real: bool) -> list[Path]:
        """Pictures, and a list with the keys of the real one: those that mean nothing here hold null."""
        rows = _rows(self.real.root)
        with filling(target) as part:
            if with_real:
                _copy(self.real, part)
            files = _pictures(part, made, ["images"] * len(made))
            new = _listing(rows, files, made)
            lines = [json.dumps(line, ensure_ascii=False) for line in (rows + new if with_real else new)]
            (part / METADATA).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return [target / file for file in files]


def _rows(root: Path) -> list[dict[str, Any]]:
    text = (root / METADATA).read_text(encoding="utf-8-sig")
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _listing(rows: list[dict[str, Any]], files: list[str], made: Made) -> list[dict[str, Any]]:
    """The lines of synthetic pictures, labelled by names or by numbers as the real ones are."""
    nothing = dict.fromkeys(key for row in rows for key in row)
    by_name = any(isinstance(row.get("label"), str) for row in rows)
    lines = []
    for index, file in enumerate(files):
        line: dict[str, Any] = {**nothing, "file_name": file}
        if made.labels is not None and made.names is not None:
            line["label"] = made.names[index] if by_name else int(made.labels[index])
            if "label_name" in nothing:
                line["label_name"] = made.names[index]
        lines.append(line)
    return lines


def _pictures(folder: Path, made: Made, below: list[str]) -> list[str]:
    """Write every picture into its sub-folder; their names below the folder."""
    files = []
    for value, inner, provenance in zip(made.values, below, made.provenance, strict=True):
        path = folder / inner / f"synthetic-{provenance['index']:05d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png_bytes(value, provenance))
        files.append(path.relative_to(folder).as_posix())
    return files


def _copy(real: FolderFiles, folder: Path) -> None:
    for index, file in enumerate(real.files):
        copy = folder / real.name(index)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)

"""Texts on their way out: plain files, JSON lines or parquet, each with how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.files import item_file, numbers
from perrin.kinds.labels import class_name
from perrin.kinds.provenance import dumps, write_sidecar
from perrin.kinds.text.page import read_page
from perrin.saving import replacing, write_text

BETWEEN = "\n\n" + "-" * 40 + "\n\n"  # texts that share a plain file


def save_texts(
    decoded: Sequence[str],
    path: Path,
    provenance: Sequence[Mapping[str, Any]],
    classes: Sequence[str] | None = None,
) -> list[Path]:
    """Write texts with their provenance.

    Args:
        path: `.txt`: all texts, a line of dashes between them, and `NAME.txt.json` beside; `.jsonl` and `.parquet`: a
            row each, with `text`, `label` where there are labels, and `provenance`. Any other name is a folder for
            `00000_label.txt`, ..., each with its JSON file beside.
        provenance: one each; `index` in it is the number in the file's name, `label` (an index or a name) the class.

    Returns:
        The files.

    Raises:
        PerrinError: another suffix, no pyarrow for parquet, or a file that cannot be written.
    """
    if len(decoded) != len(provenance):
        raise ValueError(f"{len(decoded)} texts with {len(provenance)} provenances")
    suffix = "" if path.is_dir() else path.suffix.lower()
    if suffix == "":
        return _folder(decoded, path, provenance, classes)
    if suffix == ".txt":
        write_text(path, BETWEEN.join(decoded))
        made = dict(provenance[0]) if len(decoded) == 1 else {"items": [dict(one) for one in provenance]}
        return [path, write_sidecar(path, made)]
    labels = [class_name(made.get("label"), classes) for made in provenance]
    rows: dict[str, list[Any]] = {"text": list(decoded)}
    if any(label is not None for label in labels):
        rows["label"] = labels
    if suffix == ".jsonl":
        rows["provenance"] = [dict(made) for made in provenance]
        lines = (dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True))
        write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    elif suffix == ".parquet":
        rows["provenance"] = [dumps(made, ensure_ascii=False) for made in provenance]
        _write_parquet(rows, path)
    else:
        raise PerrinError(f"texts are saved as .txt, .jsonl or .parquet, or into a folder, not '{path}'")
    return [path]


def _folder(
    decoded: Sequence[str], path: Path, provenance: Sequence[Mapping[str, Any]], classes: Sequence[str] | None
) -> list[Path]:
    written = []
    for number, text, made in zip(numbers(provenance), decoded, provenance, strict=True):
        file = path / item_file(number, class_name(made.get("label"), classes), ".txt")
        write_text(file, text)
        written += [file, write_sidecar(file, made)]
    return written


def _write_parquet(rows: Mapping[str, list[Any]], path: Path) -> None:
    if find_spec("pyarrow") is None:
        raise PerrinError(f"writing '{path}' needs pyarrow: pip install 'perrin[parquet]'")
    import pyarrow as pa
    from pyarrow import parquet

    with replacing(path) as part:
        parquet.write_table(pa.table(dict(rows)), part)


def read_saved(path: Path) -> np.ndarray:
    """The code points of all texts of a file that `save_texts` wrote, or of a page, one after another, uint32."""
    if path.suffix.lower() == ".html":
        return read_page(path)
    if path.suffix.lower() == ".jsonl":
        text = "".join(
            json.loads(line)["text"] for line in path.read_text(encoding="utf-8").split("\n") if line
        )
    elif path.suffix.lower() == ".parquet":
        from pyarrow import parquet

        text = "".join(parquet.read_table(path, columns=["text"]).column("text").to_pylist())
    else:
        text = path.read_bytes().decode()
    return np.frombuffer(text.encode("utf-32-le"), "<u4")

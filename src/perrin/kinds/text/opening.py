"""A path to a dataset of texts: a plain file, a folder of them, JSON lines or parquet."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.files import few
from perrin.kinds.parquet import read_column
from perrin.kinds.selection import Source
from perrin.kinds.text.documents import text_files, text_parts
from perrin.kinds.text.table_rows import ParquetTexts, json_lines
from perrin.kinds.text.tail import TextSelection

if TYPE_CHECKING:
    import pyarrow as pa

Broken = Literal["refuse", "skip"]
LINES = (".jsonl", ".ndjson", ".json")


def open_text(
    path: str | Path,
    *,
    column: str = "text",
    label_column: str | None = None,
    labels: bool = True,
    separator: str | None = None,
    subset: str | None = None,
    broken: Broken = "refuse",
) -> TextSelection:
    """Open texts by their path; every document is read once to see that it is whole. Line ends become `\\n`.

    Args:
        path: `.jsonl` (an object a line), `.parquet` or a folder of them, a folder of `.txt` files (sub-folders are
            classes), or any other file as one plain text in UTF-8.
        column: the key or column of the text; label_column: that of its class, default `label` where there is one.
        labels: False ignores labels and the meaning of sub-folders.
        separator: what stands between the documents of a plain file, such as "<|endoftext|>"; default: it is one.
        subset: keep the rows of parquet whose column `split` says so.
        broken: what to do about lines, rows and files without text or that cannot be read: "refuse" lists them,
            "skip" leaves them out and lists them in `skipped`.

    Raises:
        PerrinError: nothing there, another encoding, no such column, broken documents.
    """
    path = Path(path)
    if broken not in ("refuse", "skip"):
        raise PerrinError(f"broken: {broken!r} is not known; write 'refuse' or 'skip'")
    if not path.exists():
        raise PerrinError(
            f"no file or folder '{path}'; text is a plain, .jsonl or .parquet file, or a folder of .txt files"
        )
    rows = path.suffix.lower() == ".parquet" or (path.is_dir() and any(path.glob("*.parquet")))
    lines = path.suffix.lower() in LINES and path.is_file()
    plain = not rows and not lines
    for option, given, fits in (
        ("separator", separator, plain and path.is_file()),
        ("subset", subset, rows),
        ("label_column", label_column, rows or lines),
    ):
        if given is not None and not fits:
            raise PerrinError(f"{option} {given!r} does not apply to '{path}'")
    source: Source
    if rows:
        found = read_column(path, column, "column", _wrong_type, label_column, subset, labels)
        source = ParquetTexts(
            found.files, found.column, found.rows, found.starts, found.labels, found.classes
        )
    elif lines:
        source = json_lines(path, column, label_column, labels)
    else:
        source = text_files(path, labels) if path.is_dir() else text_parts(path, separator)
    return surveyed(source, path, broken, {"kind": "text", "path": str(path)})


def surveyed(source: Source, path: Path, broken: Broken, facts: dict[str, Any]) -> TextSelection:
    """The documents of a source that hold text, each read once; the others refused or left out.

    Raises:
        PerrinError: broken documents that are not to be left out, or no other ones.
    """
    digest, reasons, characters = hashlib.sha256(), dict[int, str](), 0
    for index in range(len(source)):
        try:
            text = source.read(index)
        except PerrinError as error:
            reasons[index] = str(error)
            continue
        if not text:
            reasons[index] = "empty"
        characters += len(text)
        digest.update(hashlib.sha256(text.encode()).digest())
    digest.update(b"" if source.labels is None else f"{source.labels.tolist()}{source.classes}".encode())
    if reasons and (broken == "refuse" or len(reasons) == len(source)):
        listed = few((f"{source.name(i)} ({reason})" for i, reason in reasons.items()), 3)
        raise PerrinError(
            f"{len(reasons):,} of {len(source):,} documents of '{path}' are broken: {listed}; repair them, or leave "
            "them out with broken: skip"
        )
    facts = {**facts, "characters": characters, "sha256": digest.hexdigest()}
    kept = np.setdiff1d(np.arange(len(source)), list(reasons))
    return TextSelection(source, kept, facts, [source.name(i) for i in reasons])


def _wrong_type(kind: pa.DataType) -> str | None:
    import pyarrow as pa

    return None if pa.types.is_string(kind) or pa.types.is_large_string(kind) else "strings"

"""A path to a dataset of molecules: a file with a SMILES a line, or a table with a column of them."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_args

from perrin.errors import PerrinError
from perrin.kinds.labels import Labels, index_labels
from perrin.kinds.molecules.library import need_rdkit
from perrin.kinds.selection import Selection
from perrin.kinds.smiles.rows import canonicals
from perrin.kinds.text.documents import TextsInMemory, read_bytes
from perrin.kinds.text.opening import Broken, surveyed
from perrin.kinds.text.utf8 import decoded
from perrin.registry import unknown

TABLES = {".csv": ",", ".tsv": "\t"}
LINES = (".smi", ".smiles", ".txt")


@dataclass(frozen=True)
class Molecules(TextsInMemory):
    """Canonical SMILES, named by file and line; `faults`: why a line is no molecule, by its index."""

    faults: Mapping[int, str]

    def read(self, index: int) -> str:
        """The canonical SMILES.

        Raises:
            PerrinError: the line is no molecule.
        """
        if index in self.faults:
            raise PerrinError(self.faults[index])
        return self.texts[index]


class Line(NamedTuple):
    """What a line of a file says, and which one it is, counted from 1."""

    number: int
    smiles: str
    label: str | None


def open_smiles(
    path: str | Path,
    *,
    column: str | None = None,
    label_column: str | None = None,
    labels: bool = True,
    broken: Broken = "refuse",
) -> Selection:
    """Open molecules by their path; each is read by RDKit once, and is then its canonical SMILES.

    Args:
        path: `.smi` (also `.txt`; a SMILES a line, and whatever follows a space is its name), `.csv` or `.tsv` with a
            head; each may be compressed (`.gz`).
        column: of a table, where the SMILES are; default `smiles`, in capitals or not.
        label_column: of a table, the column of classes; default `label` where there is one.
        labels: False ignores labels.
        broken: what to do about lines that are no molecule: "refuse" lists them, "skip" leaves them out and lists them
            in `skipped`.

    Raises:
        PerrinError: nothing there, no such column, broken lines: their numbers and reasons; RDKit is not installed.
    """
    need_rdkit("reading SMILES")
    path = Path(path)
    if broken not in get_args(Broken):
        raise unknown("broken", broken, get_args(Broken))
    if not path.is_file():
        raise PerrinError(f"no file '{path}'; molecules are a .smi or .csv file, or either as .gz")
    suffix = Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()
    if suffix not in (*TABLES, *LINES):
        raise PerrinError(f"'{path}' is no {', '.join((*LINES, *TABLES))} file, nor one of these as .gz")
    table = suffix in TABLES
    for option, given in (("column", column), ("label_column", label_column)):
        if given is not None and not table:
            raise PerrinError(f"{option} {given!r} is of a table, which '{path}' is not")
    text = _text(path)
    found = list(_of_table(text, path, TABLES[suffix], column, label_column) if table else _of_lines(text))
    if not found:
        raise PerrinError(f"'{path}' holds no molecule")
    known = (
        index_labels([line.label for line in found], f"labels of '{path}'") if labels else Labels(None, None)
    )
    texts, faults = canonicals([line.smiles for line in found])
    source = Molecules(texts, [f"{path.name} line {line.number}" for line in found], *known, faults)
    read = surveyed(source, path, broken, {"kind": "smiles", "path": str(path)})
    return Selection(read.source, read.indices, read.facts, read.skipped)


def _text(path: Path) -> str:
    raw = read_bytes(path)
    try:
        return decoded(gzip.decompress(raw) if path.suffix == ".gz" else raw, f"'{path}'")
    except (OSError, EOFError) as error:
        raise PerrinError(f"cannot read '{path}': {error}") from error


def _of_lines(text: str) -> Iterator[Line]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield Line(number, line.split()[0], None)


def _of_table(
    text: str, path: Path, separator: str, column: str | None, label_column: str | None
) -> Iterator[Line]:
    reader = csv.DictReader(text.splitlines(), delimiter=separator)
    heads = [head for head in reader.fieldnames or [] if head]
    wanted = column or next((head for head in heads if head.lower() == "smiles"), "smiles")
    label = label_column or ("label" if "label" in heads else None)
    for option, name in (("column", wanted), ("label_column", label)):
        if name is not None and name not in heads:
            raise PerrinError(f"'{path}' has no column {name!r} but {', '.join(heads)}; write {option}: NAME")
    for row in reader:
        yield Line(reader.line_num, (row[wanted] or "").strip(), (row[label] or None) if label else None)

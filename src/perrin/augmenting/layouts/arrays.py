"""Arrays in `.csv`, `.csv.gz`, `.npz` and `.npy` files. Out with the same columns, names and types."""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perrin.augmenting.layouts.made import Made
from perrin.kinds import stacked
from perrin.kinds.arrays.opening import ArrayRows
from perrin.kinds.provenance import write_sidecar
from perrin.saving import replacing, write_bytes


@dataclass(frozen=True)
class Lines:
    """A csv file.

    Args:
        real: as opened; path: of the file; columns: that were read; label: the column of labels, if there is one.
    """

    real: ArrayRows
    path: Path
    columns: list[str]
    label: str | None

    @property
    def suffix(self) -> str:
        """With or without compression, as the real one."""
        return ".csv.gz" if self.path.name.lower().endswith(".gz") else ".csv"

    @property
    def form(self) -> str:
        """What it is called."""
        return f"a {self.suffix} file"

    def write(self, target: Path, made: Made, with_real: bool) -> list[Path]:
        """Lines with the cells of the real ones; columns that were not read are empty."""
        first, text = self._first(), io.StringIO(newline="")
        header = first[0] < (self.real.lines or [first[0]])[0]
        names = [cell.strip() for cell in first[1]] if header else [str(i) for i in range(len(first[1]))]
        writer = csv.writer(text, lineterminator="\n")
        if with_real:
            kept = _text(self.path)
            text.write(kept if kept.endswith("\n") else kept + "\n")
        elif header:
            writer.writerow(first[1])
        places = [names.index(column) for column in self.columns]
        labels = made.names
        for index, value in enumerate(made.values):
            cells = [""] * len(names)
            for place, number in zip(places, np.atleast_1d(value).tolist(), strict=True):
                cells[place] = repr(number)
            if labels is not None and self.label is not None:
                cells[names.index(self.label)] = labels[index]
            writer.writerow(cells)
        encoded = text.getvalue().encode()
        write_bytes(target, gzip.compress(encoded, mtime=0) if self.suffix == ".csv.gz" else encoded)
        return _said(target, made, len(self.real) if with_real else 0)

    def _first(self) -> tuple[int, list[str]]:
        """The first line that is not empty: its number and cells."""
        reader = csv.reader(io.StringIO(_text(self.path), newline=""))
        return next((reader.line_num, cells) for cells in reader if cells)


@dataclass(frozen=True)
class Held:
    """An `.npz` or `.npy` file.

    Args:
        real: as opened; path: of the file; key, label: names of its arrays in an `.npz`.
    """

    real: ArrayRows
    path: Path
    key: str | None = None
    label: str | None = None

    @property
    def suffix(self) -> str:
        """As the real one's."""
        return self.path.suffix.lower()

    @property
    def form(self) -> str:
        """What it is called."""
        return f"an {self.suffix} file"

    def write(self, target: Path, made: Made, with_real: bool) -> list[Path]:
        """The array of values and that of labels, in their own types."""
        own = self.real.values
        values = np.stack(list(made.values)).reshape(len(made), *own.shape[1:]).astype(own.dtype)
        values = np.concatenate([own, values]) if with_real else values
        with replacing(target) as part, part.open("wb") as out:
            if self.suffix == ".npy":
                np.save(out, values, allow_pickle=False)
            else:
                held = {self.key or "values": values} | self._labels(made, with_real)
                np.savez(out, **held)  # type: ignore[arg-type]  # NumPy types the keywords as its own options
        return _said(target, made, len(self.real) if with_real else 0)

    def _labels(self, made: Made, with_real: bool) -> dict[str, np.ndarray]:
        if self.label is None or made.labels is None or made.names is None:
            return {}
        own = stacked.open_npz(self.path, self.label)
        whole = own.dtype.kind in "iu"
        new = np.array(made.labels, own.dtype) if whole else np.array(made.names)
        return {self.label: np.concatenate([own, new]) if with_real else new}


def _text(path: Path) -> str:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")


def _said(target: Path, made: Made, before: int) -> list[Path]:
    real_rows: dict[str, Any] = {"real_rows": before} if before else {}
    write_sidecar(target, {**real_rows, "items": [dict(one) for one in made.provenance]})
    return [target]

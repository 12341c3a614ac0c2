"""Paths on their way out: a CSV or parquet table with a row per path and time; how they were made in a JSON beside it."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.Image import open as open_image

from perrin.errors import PerrinError
from perrin.kinds.arrays.saving import save_picture
from perrin.kinds.provenance import write_sidecar
from perrin.kinds.series.fan_chart import fan_chart
from perrin.kinds.series.reading import need_pandas, read_table
from perrin.kinds.series.window import SeriesWindow
from perrin.saving import replacing

if TYPE_CHECKING:
    import pandas as pd


def save_windows(
    decoded: Sequence[SeriesWindow], path: Path, provenance: Sequence[Mapping[str, Any]]
) -> list[Path]:
    """Write windows to one file with its sidecar, or their fan chart to a `.png`.

    The table has columns `path` (0, 1, ...), `series` where they have names, `time` (or `row`), and the values' own. Of
    completed windows it holds the times at which something was drawn, given values among them as they are.

    Args:
        path: `.csv`, `.csv.gz`, `.parquet` or `.png`; another name is a folder for `paths.csv`.
        provenance: one each.

    Raises:
        PerrinError: another kind of file, or one that cannot be written.
    """
    if len(decoded) != len(provenance):
        raise ValueError(f"{len(decoded)} windows with {len(provenance)} provenances")
    made = {"items": [dict(one) for one in provenance]}
    if path.suffix.lower() == ".png":
        return [save_picture(fan_chart(decoded), path, provenance)]
    if path.suffix == "" or path.is_dir():
        path = path / "paths.csv"
    name, frame = path.name.lower(), table_of(decoded)
    if name.endswith((".csv", ".csv.gz")):
        text = frame.to_csv(index=False).encode()
        with replacing(path) as part:
            part.write_bytes(gzip.compress(text, mtime=0) if name.endswith(".gz") else text)
    elif name.endswith(".parquet"):
        with replacing(path) as part:
            frame.to_parquet(part, index=False)
    else:
        raise PerrinError(f"paths are saved as .csv, .csv.gz, .parquet or, drawn, as .png, not '{path}'")
    return [path, write_sidecar(path, made)]


def table_of(decoded: Sequence[SeriesWindow]) -> pd.DataFrame:
    """The rows of windows as one table; see `save_windows`."""
    need_pandas()
    import pandas as pd

    tables = []
    for number, window in enumerate(decoded):
        given = np.zeros(window.shape, bool) if window.given is None else window.given
        drawn = (~given & ~np.isnan(window.values)).any(0)
        columns: dict[str, Any] = {"path": number}
        if window.series:
            columns["series"] = window.series
        columns["time" if window.times.dtype.kind == "M" else "row"] = window.times[drawn]
        columns |= {name: window.values[c][drawn] for c, name in enumerate(window.names)}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"path": []})


def read_saved(path: Path) -> np.ndarray:
    """The values of a file that `save_windows` wrote, float64 [paths, C, times]; the pixels of a picture."""
    if path.suffix.lower() == ".png":
        with open_image(path) as image:
            return np.asarray(image)
    table = read_table(path)
    beside = ("path", "series", "time", "row", *(c for c in table.columns if c.startswith("log_density")))
    names = [c for c in table.columns if c not in beside]
    values = table[names].replace("", "nan").to_numpy().astype(np.float64)
    number = table["path"].to_numpy().astype(np.int64)
    return np.stack([values[number == i].T for i in range(number.max() + 1)])

"""Filled series on their way out: the whole table, what fills every gap with its interval, the paths, a picture.

filled.csv   time, columns                                    what was given to the bit, the median in the gaps
gaps.csv     time, column, median, low_80, high_80            a row for every gap
paths.csv    path, time, columns                              rows with a gap, as each path fills them
filled.png, summary.json
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perrin.errors import PerrinError
from perrin.forecasting.writing import FORMATS, free, time_name, write_table
from perrin.kinds.arrays.saving import save_picture
from perrin.saving import write_text

if TYPE_CHECKING:
    import pandas as pd

    from perrin.forecasting.imputing import Imputation

INTERVAL = (0.1, 0.5, 0.9)


def save_imputation(found: Sequence[Imputation], path: Path, format: str) -> list[Path]:
    """Write the series of one table to a folder; a picture of each.

    Raises:
        PerrinError: a file instead of a folder, an unknown format, or files that cannot be written.
    """
    if path.suffix and not path.is_dir():
        raise PerrinError(f"filled series are saved to a folder, not '{path}'")
    if format not in FORMATS:
        raise PerrinError(f"format {format!r} is not known; known: {', '.join(FORMATS)}")
    made = {"imputation": found[0].provenance}
    files = write_table(_joined(found, filled_table), path / f"filled.{format}", made)
    files += write_table(_joined(found, gap_table), path / f"gaps.{format}", made)
    files += write_table(_joined(found, paths_table), path / f"paths.{format}", made)
    for one in found:
        name = f"filled-{_plain(one.series.series)}.png" if len(found) > 1 else "filled.png"
        files.append(save_picture(one.picture(), path / name, [made]))
    summary = {"series": [summary_of(one) for one in found], "made": found[0].provenance}
    write_text(path / "summary.json", json.dumps(summary, indent=1) + "\n")
    return [*files, path / "summary.json"]


def filled_table(found: Imputation) -> pd.DataFrame:
    """The whole table: given values as they are, medians in the gaps."""
    return _wide(found, found.median(), np.arange(found.series.shape[1]), {})


def gap_table(found: Imputation) -> pd.DataFrame:
    """A row for every gap: time, column, median, low_80 and high_80, between which 80 % of the paths lie."""
    import pandas as pd

    low, median, high = found.quantiles(INTERVAL)
    columns: dict[str, Any] = _series(found, len(found.rows))
    columns |= {time_name(found.series.times): found.series.times[found.rows]}
    columns |= {"column": np.array(found.series.names, object)[found.columns], "median": median}
    return pd.DataFrame(columns | {"low_80": low, "high_80": high})


def paths_table(found: Imputation) -> pd.DataFrame:
    """The rows that have a gap, as every path fills them: the gaps of one path belong together."""
    import pandas as pd

    rows = np.unique(found.rows)
    return pd.concat(
        [_wide(found, found.path(i), rows, {"path": i}) for i in range(len(found))], ignore_index=True
    )


def summary_of(found: Imputation) -> dict[str, Any]:
    """JSON-able: how many gaps there were in each column, and how wide their 80 % intervals are on average."""
    low, _, high = found.quantiles(INTERVAL)
    facts: dict[str, Any] = {"name": found.series.series, "rows": found.series.shape[1], "paths": len(found)}
    facts["columns"] = {
        name: {
            "gaps": int((own := found.columns == c).sum()),
            "mean_width_80": float((high - low)[own].mean()) if own.any() else None,
        }
        for c, name in enumerate(found.series.names)
    }
    return {**facts, **found.about}


def _wide(found: Imputation, values: np.ndarray, rows: np.ndarray, first: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {name: [value] * len(rows) for name, value in first.items()}
    columns |= {**_series(found, len(rows)), time_name(found.series.times): found.series.times[rows]}
    taken = set(columns)
    columns |= {free(name, taken): values[c, rows] for c, name in enumerate(found.series.names)}
    return pd.DataFrame(columns)


def _joined(found: Sequence[Imputation], table: Callable[[Imputation], pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([table(one) for one in found], ignore_index=True)


def _series(found: Imputation, rows: int) -> dict[str, Any]:
    return {"series": [found.series.series] * rows} if found.series.series else {}


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)

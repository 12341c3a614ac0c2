"""A forecast on its way out: tables of paths and quantiles, a picture, a page, a summary; each says how it was made.

paths.csv      path, time, columns, log_density        a row for every path and step (or .parquet)
quantiles.csv  time, column, mean, q0.05 .. q0.95      a row for every step and column
fan.png, fan.html, summary.json
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.arrays.saving import save_picture
from perrin.kinds.provenance import write_sidecar
from perrin.saving import replacing, write_text

if TYPE_CHECKING:
    import pandas as pd

    from perrin.forecasting.futures import Forecast

LEVELS = (0.025, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.975)
"""Of the table of quantiles."""
SUMMARY = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of what is said of the last step."""
FORMATS = ("csv", "parquet")
TABLES = (".csv", ".csv.gz", ".parquet")


def save_forecast(found: Forecast, path: Path, format: str) -> list[Path]:
    """See `Forecast.save`."""
    name = path.name.lower()
    if name.endswith(TABLES):
        return write_table(paths_table(found), path, {"items": found.provenance})
    if name.endswith(".png"):
        return [_picture(found, path)]
    if name.endswith((".html", ".htm")):
        write_text(path, found.page())
        return [path]
    if path.suffix and not path.is_dir():
        raise PerrinError(
            f"a forecast is saved to a folder, .csv, .csv.gz, .parquet, .png or .html, not '{path}'"
        )
    if format not in FORMATS:
        raise PerrinError(f"format {format!r} is not known; known: {', '.join(FORMATS)}")
    files = write_table(paths_table(found), path / f"paths.{format}", {"items": found.provenance})
    files += write_table(quantile_table(found), path / f"quantiles.{format}", {"forecast": shared(found)})
    write_text(path / "fan.html", found.page())
    summary = json.dumps({**summary_of(found), "made": shared(found)}, indent=1)
    write_text(path / "summary.json", summary + "\n")
    return [*files, _picture(found, path / "fan.png"), path / "fan.html", path / "summary.json"]


def _picture(found: Forecast, path: Path) -> Path:
    """The fan chart; the histories of many columns are too long for what a PNG may say of itself."""
    small = len(json.dumps(found.provenance[0])) < 200_000
    return save_picture(found.picture(), path, found.provenance if small else [{"forecast": len(found)}])


def paths_table(found: Forecast) -> pd.DataFrame:
    """A row for every path and step: path, series if it has a name, time or row, the columns, log_density.

    Where there are log-densities by both methods their columns are log_density_bound and log_density_ode.
    """
    import pandas as pd

    n, _, steps = found.paths.shape
    columns: dict[str, Any] = {"path": np.repeat(np.arange(n), steps)}
    columns |= _series(found.history.series, n * steps)
    columns[time_name(found.times)] = np.tile(found.times, n)
    several = len(found.log_probs) > 1
    after = {
        f"log_density_{method}" if several else "log_density": np.repeat(result.value.cpu().numpy(), steps)
        for method, result in found.log_probs.items()
    }
    taken = {*columns, *after}
    for c, name in enumerate(found.names):
        columns[free(name, taken)] = found.paths[:, c].reshape(-1)
    return pd.DataFrame(columns | after)


def quantile_table(found: Forecast) -> pd.DataFrame:
    """A row for every column and step: time, column, mean, and the quantiles at `LEVELS`."""
    import pandas as pd

    size, steps = found.paths.shape[1:]
    columns: dict[str, Any] = _series(found.history.series, size * steps)
    columns |= {"column": np.repeat(found.names, steps), time_name(found.times): np.tile(found.times, size)}
    columns["mean"] = found.paths.mean(0).reshape(-1)
    for level, values in zip(LEVELS, found.quantiles(LEVELS), strict=True):
        columns[f"q{level:g}"] = values.reshape(-1)
    return pd.DataFrame(columns)


def summary_of(found: Forecast) -> dict[str, Any]:
    """JSON-able: the last step's quantiles, events with their errors, which paths to look at, and how long it took."""
    last = found.quantiles(SUMMARY)[:, :, -1]
    facts: dict[str, Any] = {
        "paths": len(found),
        "horizon": found.horizon,
        "columns": list(found.names),
        "from": str(found.times[0]),
        "to": str(found.times[-1]),
        "last_step": {
            name: {f"{level:g}": float(value) for level, value in zip(SUMMARY, last[:, c], strict=True)}
            for c, name in enumerate(found.names)
        },
        "events": [
            {"event": str(event), "probability": p, "stderr": error}
            for event, (p, error) in ((e, found.probability(e)) for e in found.events)
        ],
        "most_extreme_path": found.most_extreme(),
    }
    for method, result in found.log_probs.items():
        values = result.value.cpu().numpy()
        facts[f"log_density_{method}"] = {
            "mean": float(np.nanmean(values)),
            "largest_stderr": float(np.nanmax(result.stderr.cpu().numpy())),
            "not_converged": int((~result.converged).sum()),
        }
    if found.log_prob is not None:
        values = found.log_prob.value.cpu().numpy()
        for name, path in (("most_likely", found.most_likely()), ("least_likely", found.least_likely())):
            facts[name] = {"path": path, "log_density": float(values[path])}
    return {**facts, **found.about}


def shared(found: Forecast) -> dict[str, Any]:
    """How all the paths were made, without what tells them apart and without the history."""
    made = {k: v for k, v in found.provenance[0].items() if k != "index"}
    wanted = {k: v for k, v in made.pop("wanted", {}).items() if k != "history"}
    return {**made, **wanted, "paths": len(found)}


def write_table(table: pd.DataFrame, path: Path, made: Mapping[str, Any]) -> list[Path]:
    """A table as .csv, .csv.gz or .parquet, and its sidecar.

    Numbers are written with as many digits as they have, so that reading them gives the same to the bit.
    """
    name = path.name.lower()

    def write(part: Path) -> None:
        if name.endswith(".parquet"):
            table.to_parquet(part, index=False)
            return
        text = table.to_csv(index=False).encode()
        part.write_bytes(gzip.compress(text, mtime=0) if name.endswith(".gz") else text)

    _written(path, write)
    return [path, write_sidecar(path, made)]


def _written(path: Path, write: Callable[[Path], None]) -> None:
    try:
        with replacing(path) as part:
            write(part)
    except ImportError as error:
        raise PerrinError(f"writing '{path}' needs pyarrow: pip install 'perrin[parquet]'") from error


def time_name(times: np.ndarray) -> str:
    """What the column of times is called: `row` where they are numbers."""
    return "time" if times.dtype.kind == "M" else "row"


def free(name: str, taken: Sequence[str] | set[str]) -> str:
    """The name of a column of the data, changed where the table has a column of that name already."""
    return f"{name} (value)" if name in taken else name


def _series(name: str, rows: int) -> dict[str, Any]:
    return {"series": [name] * rows} if name else {}

"""How far a trained model is from the best there is: a series whose forecasts the Kalman filter knows exactly.

    python benchmarks/forecasting/kalman.py --out runs/kalman [--rows 4000] [--windows 40] [--paths 200]

The recipe `series` is trained on the first 80 % of a simulated series of two columns and asked 8 rows ahead of 24; the
filter is given the same 24 rows. A finished part leaves a file and is not repeated. See README.md.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from state_space import cycle_and_factor

import perrin
from perrin.kinds.series import SeriesWindow
from perrin.model import Model

TRUE = cycle_and_factor()
CONTEXT, HORIZON = 24, 8
NAMES = {
    "mean": "|mean - true mean| / true deviation, root mean square",
    "deviation": "deviation / true deviation - 1, mean",
    "deviation_rms": "likewise, root mean square",
    "ode": "log-density of the true path - the filter's, by the ODE, nats per value",
    "bound": "likewise, by the bound",
    "drawn": "log-density of the model's own paths under the filter - the true path's, nats per value",
}


def main() -> None:
    parser = argparse.ArgumentParser(description="A trained model beside the Kalman filter.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=4_000)
    parser.add_argument("--cpu-seconds", type=float, default=100)
    parser.add_argument("--windows", type=int, default=40)
    parser.add_argument("--paths", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    values = TRUE.simulated(given.rows, given.seed)
    model = trained(given, values)
    windows = held_out(values, given.windows)
    for name, measure in {"forecasts": forecasts, "ode": likelihood, "bound": likelihood}.items():
        file = given.out / f"{name}.json"
        if not file.exists():
            started = time.process_time()
            found = measure(model, windows, given.paths, name)
            found["cpu_seconds"] = time.process_time() - started
            file.write_text(json.dumps(found), encoding="utf-8")
    print(table(given.out))


def trained(given: argparse.Namespace, values: np.ndarray) -> Model:
    """The recipe's model of the series, which is written as a table of days."""
    run, file = given.out / "run", given.out / "series.csv"
    if not (run / "model.safetensors").exists():
        given.out.mkdir(parents=True, exist_ok=True)
        days = np.datetime64("2000-01-01") + np.arange(given.rows)
        rows = (f"{day},{a:.9f},{b:.9f}" for day, a, b in zip(days, *values, strict=True))
        file.write_text("\n".join(["date,a,b", *rows]) + "\n", encoding="utf-8")
        perrin.train(
            "series",
            out=run,
            overwrite=True,
            data={"path": str(file)},
            codec={"context": CONTEXT, "horizon": HORIZON},
            net={"patch": HORIZON},
            training={"cpu_seconds": given.cpu_seconds},
        )
    return perrin.load(run)


def held_out(values: np.ndarray, count: int) -> list[SeriesWindow]:
    """Windows whose horizons do not overlap, evenly spaced in the last fifth of the rows."""
    rows, size = values.shape[1], CONTEXT + HORIZON
    days = np.datetime64("2000-01-01") + np.arange(rows)
    starts = np.linspace(round(0.8 * rows), rows - size, count).round().astype(int)
    none = np.empty((0, size))
    return [
        SeriesWindow(
            ("a", "b"),
            days[s : s + size].astype("datetime64[us]"),
            values[:, s : s + size],
            values[:, s - 1],
            known=none,
        )
        for s in starts
    ]


def truth(window: SeriesWindow) -> tuple[np.ndarray, np.ndarray]:
    """The filter's forecast of the horizon: means and deviations [C, H]."""
    told = window.values.copy()
    told[:, CONTEXT:] = np.nan
    found = TRUE.filtered(told)
    deviation = np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2)).T
    return found.mean[:, CONTEXT:], deviation[:, CONTEXT:]


def log_density(window: SeriesWindow, horizon: np.ndarray) -> float:
    """Of a horizon [C, H] after the window's context, by the filter, in nats per value."""
    whole = np.concatenate([window.values[:, :CONTEXT], horizon], 1)
    return float(TRUE.filtered(whole).log_prob[CONTEXT:].sum()) / horizon.size


def forecasts(model: Model, windows: list[SeriesWindow], paths: int, _: str) -> dict[str, Any]:
    """Mean and deviation of the model's paths beside the filter's, one number a window."""
    found: dict[str, list[float]] = {"mean": [], "deviation": [], "deviation_rms": [], "drawn": []}
    for number, window in enumerate(windows):
        drawn = model.sample(paths, seed=number, history=window.rows(0, CONTEXT)).decoded
        ahead = np.stack([path.values[:, -HORIZON:] for path in drawn])
        mean, deviation = truth(window)
        # of the square of the gap chance makes a part, the paths' own variance over their number
        gap = ((ahead.mean(0) - mean) ** 2 - ahead.var(0, ddof=1) / paths) / deviation**2
        ratio = ahead.std(0, ddof=1) / deviation - 1
        found["mean"].append(float(gap.mean()))
        found["deviation"].append(float(ratio.mean()))
        found["deviation_rms"].append(float((ratio**2).mean() - 0.5 / paths))
        own = np.mean([log_density(window, path) for path in ahead[:20]])
        found["drawn"].append(float(own) - log_density(window, window.values[:, CONTEXT:]))
    return {"windows": found, "paths": paths}


def likelihood(model: Model, windows: list[SeriesWindow], _: int, method: Any) -> dict[str, Any]:
    """Log-densities of the true paths beside the filter's."""
    options = {"divergence": "exact"} if method == "ode" else {"samples": 512}
    result = model.log_prob(windows, method=method, **options)
    size = len(model.codec.names) * HORIZON
    right = [log_density(window, window.values[:, CONTEXT:]) for window in windows]
    gap = (result.value.numpy() / size - np.array(right)).tolist()
    return {"windows": {method: gap}, "stderr_of_an_item": float(result.stderr.mean()) / size}


def table(folder: Path) -> str:
    """A row for every figure, with its standard error over windows."""
    lines = [f"{'figure':<95}{'value':>9}{'error':>9}"]
    for name in ("forecasts", "ode", "bound"):
        read = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for figure, values in read["windows"].items():
            mean, error = np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))
            if figure in ("mean", "deviation_rms"):  # a root of a mean square, and its error
                root = np.sqrt(max(mean, 0.0))
                mean, error = root, error / (2 * max(root, np.sqrt(error)))
            lines.append(f"{NAMES[figure]:<95}{mean:>+9.4f}{error:>9.4f}")
        lines.append(f"  {name}: {read['cpu_seconds']:.1f} CPU-seconds")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

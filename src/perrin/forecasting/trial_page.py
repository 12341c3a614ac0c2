"""What is shown and kept of a trial: figures, the table of all methods, pictures, words on calibration, files."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perrin.errors import PerrinError
from perrin.evaluate.backtesting import FIGURES
from perrin.evaluate.report import write_report
from perrin.forecasting.calibration import Calibration, calibration, in_words
from perrin.forecasting.trial_charts import pit_chart, window_chart
from perrin.forecasting.trials import MODEL, Trial
from perrin.kinds.series.frequency import shown
from perrin.saving import write_json

if TYPE_CHECKING:
    from PIL.Image import Image

NAMES = {"loss": "quantile_loss", "energy": "energy_score", "variogram": "variogram_score"}
"""Figures of a backtest by their names in a report."""
RIGHT = {"coverage_80": 0.8, "coverage_50": 0.5}
VALUES, DENSITIES = "True values", "Log-densities of the truth"


def leader(trial: Trial) -> str:
    """The forecaster that a page is about: the model, or the best of the simple methods."""
    return MODEL if trial.modelled else trial.result.best()


def calibrations(trial: Trial) -> dict[str, Calibration]:
    """Histograms of transforms by their titles; none of a single window."""
    if len(trial.result.origins) < 2:
        return {}
    found = {VALUES: calibration(trial.pit(leader(trial)))}
    if trial.ranks is not None and (~np.isnan(trial.ranks)).sum() > 1:
        found[DENSITIES] = calibration(trial.ranks)
    return found


def words_of(trial: Trial) -> list[str]:
    """Calibration in words, a line for each histogram."""
    said = {VALUES: "values", DENSITIES: "densities"}
    return [f"{title}: {in_words(found, said[title])}" for title, found in calibrations(trial).items()]


def figures_of_trial(trial: Trial) -> dict[str, Any]:
    """JSON-able figures: those of the leader, beside the best simple method as `_baseline`; the table of all methods."""
    name, gain = leader(trial), trial.gain
    found: dict[str, Any] = {"methods": trial.result.rows(), "about": trial.about}
    rival = gain[0] if gain else None
    for figure in FIGURES:
        key = NAMES.get(figure, figure)
        value, stderr = trial.result.answers[name].figures[figure]
        found[key], found[f"{key}_stderr"] = value, _number(stderr)
        if rival is not None:
            found[f"{key}_baseline"] = trial.result.answers[rival].figures[figure].value
        if figure in RIGHT:
            found[f"{key}_ceiling"] = RIGHT[figure]
    if gain is not None:
        found["quantile_gain"], found["quantile_gain_stderr"] = gain[1].value, _number(gain[1].stderr)
    found["calibration"] = {title: own.facts() for title, own in calibrations(trial).items()}
    found["calibration_words"] = words_of(trial)
    origins = [shown(trial.window.times[o]) for o in trial.result.origins[[0, -1]]]
    return found | {
        "first_window": origins[0], "last_window": origins[1], "overlapping": trial.result.overlapping,
        "baseline": rival or "none", "features": "held-out windows",
        "columns": {"baseline": rival or "baseline", "ceiling": "right"},
        "note": _note(trial, name, rival),
    }  # fmt: skip


def _note(trial: Trial, name: str, rival: str | None) -> str:
    """What a report says of its figures."""
    count, horizon = len(trial.result.origins), trial.result.truth.shape[-1]
    text = f"Of {name}, over {count} windows of {horizon} steps after all that was learned; errors are over windows. "
    if rival:
        text += f"Beside it the simple method with the least loss, {rival}. "
    if trial.result.overlapping:
        text += "Windows overlap: they are not independent, and the true errors are larger. "
    return text + "Sizes are those of the columns: loss, CRPS and width are divided by the sum of |truth|."


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def pictures_of(trial: Trial) -> dict[str, Image | None]:
    """Heading -> picture."""
    found: dict[str, Image | None] = {
        "Held-out windows: what is forecast at some of the origins, and what came true": window_chart(
            trial, leader(trial)
        )
    }
    histograms = calibrations(trial)
    if histograms:
        found[f"Probability integral transforms: {'. '.join(words_of(trial))}"] = pit_chart(histograms)
    return found


def table_of_methods(trial: Trial) -> str:
    """The table of all methods as a piece of a page."""
    heads = "".join(f"<th>{escape(h)}</th>" for h in ("method", *FIGURES, "CPU-s/window"))
    answers = trial.result.answers
    lines = []
    for name in sorted(answers, key=lambda n: answers[n].figures["loss"].value):
        own = answers[name]
        cells = "".join(
            f'<td data-of="{figure}">{own.figures[figure].value:.4g} ± {own.figures[figure].stderr:.2g}</td>'
            for figure in FIGURES
        )
        lines.append(f"<tr><td>{escape(name)}</td>{cells}<td>{own.seconds:.3g}</td></tr>")
    head = f"<thead><tr>{heads}</tr></thead>"
    return f'<section><table class="figures">{head}<tbody>{"".join(lines)}</tbody></table></section>'


def save_trial(trial: Trial, folder: Path, settings: Mapping[str, Any] | None = None) -> list[Path]:
    """Write backtest.json, backtest.html and the pictures to a folder.

    Raises:
        PerrinError: a file instead of a folder.
    """
    if folder.is_file() or folder.suffix:
        raise PerrinError(f"'{folder}' is a file; a backtest is written to a folder")
    figures, pictures = figures_of_trial(trial), pictures_of(trial)
    write_json(folder / "backtest.json", figures)
    write_report(
        folder / "backtest.html",
        title=f"Backtest of {trial.about.get('data', 'a series')}",
        figures=figures,
        pictures=pictures,
        fragments={"All methods": table_of_methods(trial)},
        settings=settings or trial.about,
    )
    files = [folder / "backtest.html", folder / "backtest.json"]
    for name, picture in zip(("windows.png", "calibration.png"), pictures.values(), strict=False):
        if picture is not None:
            picture.save(folder / name)
            files.append(folder / name)
    return files

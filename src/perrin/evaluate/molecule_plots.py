"""Distributions of molecules side by side: properties, and the lengths of the most frequent bonds."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from perrin.evaluate.molecule_distances import LEAST, bond_lengths, bond_types, property_values
from perrin.evaluate.molecule_reading import PROPERTIES, Reading

if TYPE_CHECKING:
    from PIL.Image import Image

BINS = 30
TITLES = {
    "logp": "logP",
    "qed": "QED",
    "tpsa": "TPSA (\N{ANGSTROM SIGN}\N{SUPERSCRIPT TWO})",
    "weight": "weight (Da)",
    "heavy_atoms": "heavy atoms",
    "sa": "SA score",
}


def property_picture(sets: Mapping[str, Sequence[Reading]]) -> Image | None:
    """Histograms of the properties of each set, by its name; None where the first set has too few molecules."""
    tables = {name: property_values(readings) for name, readings in sets.items()}
    if len(next(iter(tables.values()))) < LEAST:
        return None
    laws = {
        TITLES[name]: {label: table[:, column] for label, table in tables.items()}
        for column, name in enumerate(PROPERTIES)
    }
    return _histograms(laws)


def length_picture(sets: Mapping[str, Sequence[Reading]], real: Sequence[Reading]) -> Image | None:
    """Histograms of bond lengths by type in each set; None where there are none."""
    laws = {}
    for name in bond_types(real):
        found = {label: bond_lengths(readings, name) for label, readings in sets.items()}
        laws[f"{name} (\N{ANGSTROM SIGN})"] = {
            label: np.concatenate(parts) if parts else np.zeros(0) for label, parts in found.items()
        }
    return _histograms(laws) if laws else None


def _histograms(laws: Mapping[str, Mapping[str, np.ndarray]], columns: int = 4) -> Image:
    """An axis a title, a line a set, each of area one; the middle 99 % of all values."""
    from matplotlib.figure import Figure
    from PIL import Image

    columns = min(columns, len(laws), 3 if len(laws) == 6 else columns)
    rows = math.ceil(len(laws) / columns)
    figure = Figure(figsize=(2.75 * columns, 2.1 * rows), layout="constrained")
    axes: list[Any] = list(np.atleast_1d(figure.subplots(rows, columns)).flat)
    for axis, (title, by_label) in zip(axes, laws.items(), strict=False):
        every = np.concatenate(list(by_label.values()))
        low, high = np.quantile(every, [0.005, 0.995]).tolist() if len(every) else (0.0, 1.0)
        whole = bool((every == every.round()).all()) and high - low < BINS
        edges = (
            np.arange(math.floor(low) - 0.5, high + 1.5)
            if whole
            else np.linspace(low, max(high, low + 1e-6), BINS + 1)
        )
        for label, values in by_label.items():
            if ((values >= edges[0]) & (values <= edges[-1])).any():  # or an area of one cannot be had
                axis.hist(values, edges, density=True, histtype="step", linewidth=1.3, label=label)
        axis.set_title(title, fontsize=9)
        axis.set_yticks([])
        axis.tick_params(labelsize=7)
    for axis in axes[len(laws) :]:
        axis.set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=8, frameon=False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    return Image.open(stream)

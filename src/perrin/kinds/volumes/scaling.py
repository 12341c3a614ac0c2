"""Values to states about [-1, 1]: a window of centre and width, or percentiles of the training data.

    x = 2 (v - low) / (high - low) - 1

A window clips to [-1, 1], as the screen of a workstation does: what is darker is black, what is brighter is white.
Percentiles clip nothing: their tails (fat, metal, noise) reach beyond 1 and come back as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from perrin.contracts import Dataset
from perrin.errors import PerrinError
from perrin.kinds.volumes.volume import Volume
from perrin.registry import unknown

WINDOWS = {
    "brain": (40.0, 80.0),
    "subdural": (75.0, 215.0),
    "stroke": (40.0, 40.0),
    "soft_tissue": (50.0, 400.0),
    "mediastinum": (50.0, 350.0),
    "liver": (60.0, 160.0),
    "angiography": (300.0, 600.0),
    "lung": (-600.0, 1500.0),
    "bone": (400.0, 1800.0),
    "full": (1000.0, 4000.0),
}
"""(centre, width) in HU: what radiologists look at CT with."""
_ITEMS, _VOXELS = 64, 1 << 16  # looked at for percentiles, evenly spread


class Scale(NamedTuple):
    """The values `low` and `high` that become -1 and 1, and whether what is beyond them is clipped."""

    low: float
    high: float
    clip: bool


def window_scale(window: str | tuple[float, float], first: Volume, name: str) -> Scale:
    """The scale of a window by its name, or of (centre, width).

    Raises:
        PerrinError: a name that is none, a width of nothing, or a window of HU for values that are none.
    """
    if isinstance(window, str):
        key = window.replace(" ", "_").replace("-", "_")
        if key not in WINDOWS:
            raise unknown("window", window, WINDOWS)
        _refuse_no_hu(window, first, name)
        centre, width = WINDOWS[key]
    else:
        centre, width = (float(number) for number in window)
    if not (np.isfinite(centre) and np.isfinite(width) and width > 0):
        raise PerrinError(
            f"window [{centre:g}, {width:g}] has no width; write [centre, width], such as [40, 80]"
        )
    return Scale(centre - width / 2, centre + width / 2, True)


def _refuse_no_hu(window: str, first: Volume, name: str) -> None:
    if first.units == "HU":
        return
    low, high = float(first.values.min()), float(first.values.max())
    if first.units == "" and first.modality == "" and low <= -200:
        return  # a CT as NIfTI, which does not say its units: air is there
    what = f"{first.modality or 'without units'}, from {low:g} to {high:g}"
    raise PerrinError(
        f"window {window!r} is in HU, and the values of {name} are not ({what}); write window: [centre, width] in their "
        "own units, or percentiles"
    )


def percentile_scale(dataset: Dataset, percentiles: Sequence[float]) -> Scale:
    """The scale between two percentiles of the training values.

    Raises:
        PerrinError: no two percentiles, or data of one value.
    """
    low, high = (float(p) for p in percentiles)
    if not 0 <= low < high <= 100:
        raise PerrinError(f"percentiles [{low:g}, {high:g}] must rise from 0 to 100, such as [0.5, 99.5]")
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), _ITEMS)).astype(int)).tolist()
    seen = []
    for index in chosen:
        values = bright_values(dataset[index]["value"]).reshape(-1)
        seen.append(values[:: max(1, len(values) // _VOXELS)])
    least, most = np.percentile(np.concatenate(seen), [low, high]).tolist()
    if most <= least:  # mostly background
        least, most = float(min(map(np.min, seen))), float(max(map(np.max, seen)))
    if most <= least:
        raise PerrinError(
            f"all voxels of the training data have the value {least:g}; there is nothing to learn"
        )
    return Scale(least, most, False)


def bright_values(value: Volume | np.ndarray) -> np.ndarray:
    """The values of a volume with high as bright, or of an array as they are."""
    return value.bright() if isinstance(value, Volume) else np.asarray(value)

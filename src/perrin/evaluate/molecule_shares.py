"""The shares of a set of molecules that are sound, stable, valid and whole, their strain, and the errors of these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from perrin.evaluate.conformer_coverage import median_error
from perrin.evaluate.molecule_reading import Reading
from perrin.metrics import ratio


def _counted(counts: Sequence[tuple[int, int] | None]) -> np.ndarray:
    return np.array([count for count in counts if count is not None], np.float64).reshape(-1, 2)


def shares(suffix: str, readings: Sequence[Reading]) -> dict[str, Any]:
    """The shares of a set, their names with the suffix; without those that its molecules do not say."""
    found: dict[str, Any] = {}
    if readings:
        found["sound_share"] = float(np.mean([reading.sound for reading in readings]))
        found["valid_share"] = float(np.mean([reading.smiles is not None for reading in readings]))
        found["connected_share"] = float(np.mean([reading.connected for reading in readings]))
    for name, counts in (
        ("stability", [r.stable for r in readings]),
        ("valence", [r.valent for r in readings]),
    ):
        good = _counted(counts)
        if len(good):
            found[f"atom_{name}"] = float(good[:, 0].sum() / good[:, 1].sum())
            found[f"molecule_{name}"] = float((good[:, 0] == good[:, 1]).mean())
    energies = [reading.strain for reading in readings if reading.strain is not None]
    if energies:
        found["strain_median"] = float(np.median(energies))
        low, high = np.quantile(energies, [0.25, 0.75]).tolist()
        without = Counter(reading.unstrained for reading in readings if reading.unstrained)
        found["strain"] = {"quartiles": [low, high], "molecules": len(energies), "without": dict(without)}
    return {f"{name}{suffix}": value for name, value in found.items()}


def errors(readings: Sequence[Reading], found: dict[str, Any]) -> dict[str, Any]:
    """The standard errors of the samples' figures; atoms of one molecule are not taken for independent."""
    made: dict[str, Any] = {}
    for name, counts in (
        ("stability", [r.stable for r in readings]),
        ("valence", [r.valent for r in readings]),
    ):
        good = _counted(counts)
        if len(good):
            made[f"atom_{name}_stderr"] = ratio(good[:, 0], good[:, 1])[1]
            made[f"molecule_{name}_stderr"] = _share_error(found[f"molecule_{name}"], len(good))
    connected = [str(reading.smiles) for reading in readings if reading.connected]
    sizes = {"novel_share": len(set(connected)), "identical_share": len(connected)}
    for name in ("sound_share", "valid_share", "connected_share", "novel_share", "identical_share"):
        if found.get(name) is not None:
            made[f"{name}_stderr"] = _share_error(found[name], sizes.get(name, len(readings)))
    energies = np.array([reading.strain for reading in readings if reading.strain is not None])
    if len(energies) > 1:
        made["strain_median_stderr"] = median_error(energies)
    return made


def _share_error(share: float, count: int) -> float:
    return float(np.sqrt(share * (1 - share) / count))

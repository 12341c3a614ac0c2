"""How far the laws of molecules' numbers are from those of held-out ones: bond lengths by type, and properties.

Each is a Wasserstein-1 distance in the number's own unit, beside that of as many training molecules: what two real
sets differ by. A property's is also given in standard deviations of the held-out molecules, so that properties compare.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from perrin.evaluate.molecule_reading import PROPERTIES, Reading
from perrin.metrics import wasserstein

TYPES = 8  # of bonds: the most frequent ones of held-out molecules
LEAST = 20  # bonds or molecules of a set: fewer have no law
DRAWS = 100  # of the bootstrap, for the samples' own distances


def property_values(readings: Sequence[Reading]) -> np.ndarray:
    """The properties of the valid molecules, float64 [molecules, 6]."""
    found = [reading.properties for reading in readings if reading.properties is not None]
    return np.array(found).reshape(len(found), len(PROPERTIES))


def bond_types(readings: Sequence[Reading], most: int = TYPES) -> list[str]:
    """The most frequent types of bonds, such as "C-H", of those that occur often enough."""
    counts = Counter[str]()
    for reading in readings:
        counts.update({name: len(lengths) for name, lengths in reading.lengths.items()})
    return [name for name, count in counts.most_common(most) if count >= LEAST]


def bond_lengths(readings: Sequence[Reading], name: str) -> list[np.ndarray]:
    """The lengths in angstrom of the bonds of a type, an array for each molecule that has any."""
    return [reading.lengths[name] for reading in readings if name in reading.lengths]


def property_distances(sets: Mapping[str, Sequence[Reading]], real: Sequence[Reading]) -> dict[str, Any]:
    """The distances of properties, JSON-able.

    Args:
        sets: suffix -> molecules: "" the samples, "_ceiling" as many training molecules, and others.
        real: held-out molecules.

    Returns:
        `{name}_distance` with each suffix, in standard deviations, of the samples with `_stderr`; and `properties`:
        by name the distances in the property's unit, and the mean and standard deviation of samples and real ones.
    """
    wanted = property_values(real)
    found: dict[str, Any] = {"properties": {}}
    if len(wanted) < LEAST:
        return found
    for column, name in enumerate(PROPERTIES):
        spread = float(wanted[:, column].std())
        raw: dict[str, Any] = {"mean_real": float(wanted[:, column].mean()), "std_real": spread}
        for suffix, readings in sets.items():
            own = property_values(readings)[:, column]
            if len(own) < LEAST:
                continue
            distance = wasserstein(own, wanted[:, column], draws=0 if suffix else DRAWS)
            raw |= {f"distance{suffix}": distance.value, f"mean{suffix}": float(own.mean())}
            raw[f"std{suffix}"] = float(own.std())
            if spread:
                found[f"{name}_distance{suffix}"] = distance.value / spread
                if distance.stderr is not None:
                    found[f"{name}_distance_stderr"] = distance.stderr / spread
        found["properties"][name] = raw
    return found


def length_distances(sets: Mapping[str, Sequence[Reading]], real: Sequence[Reading]) -> dict[str, Any]:
    """The distances of bond lengths in angstrom, JSON-able.

    Returns:
        `bond_length_distance` with each suffix, of the samples with `_stderr`: the mean over the types that the set
        has, weighted by how frequent they are in held-out molecules; and `bond_lengths`: each type's by suffix.
    """
    kinds = bond_types(real)
    weights = {name: sum(map(len, bond_lengths(real, name))) for name in kinds}
    found: dict[str, Any] = {"bond_lengths": {name: {"share": weights[name]} for name in kinds}}
    total = sum(weights.values())
    for row in found["bond_lengths"].values():
        row["share"] /= total
    for suffix, readings in sets.items():
        values, errors, counted = list[float](), list[float](), list[float]()
        for name in kinds:
            own = bond_lengths(readings, name)
            if sum(map(len, own)) < LEAST:
                continue
            distance = wasserstein(own, bond_lengths(real, name), draws=0 if suffix else DRAWS)
            found["bond_lengths"][name][f"distance{suffix}"] = distance.value
            values.append(distance.value)
            errors.append(distance.stderr or 0.0)
            counted.append(weights[name])
        if values:
            share = np.array(counted) / sum(counted)
            found[f"bond_length_distance{suffix}"] = float(share @ values)
            if not suffix:
                # no error is larger: as if the types of one molecule erred together
                found["bond_length_distance_stderr"] = float(share @ errors)
    return found

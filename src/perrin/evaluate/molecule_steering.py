"""Whether molecules have the properties that they were asked for: samples for one deviation above and one below the mean.

    moved = (mean of those asked to be high - mean of those asked to be low) / (high - low),   1: as asked, 0: not at all

Control: samples of as many atoms each, of which nothing is asked, since the number of atoms is chosen by the property
and may do most of the work. Ceiling of stability: the samples of which nothing is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from perrin.errors import PerrinError
from perrin.evaluate.case import Case
from perrin.evaluate.molecule_reading import Value, rdkit_of, read_all
from perrin.evaluate.molecule_shares import shares
from perrin.kinds.molecules.codec import MoleculeCodec
from perrin.kinds.molecules.describing import COMPUTED, describe
from perrin.kinds.molecules.targets import Property
from perrin.samples import Samples

EACH = 100  # samples asked to be high, and low
MOST = 3  # properties that are tried
LEAST = 5  # molecules that have a property: fewer have no mean


def steering_figures(case: Case) -> dict[str, Any]:
    """The figures of a model that was told properties which RDKit computes; none of another, JSON-able.

    Returns:
        `{name}_moved`, with `_stderr` and `_control`, None where too few samples are molecules; `steered_stability`: of
        the atoms of all that were asked for something; `steered`: targets, means and how many were molecules.
    """
    codec = case.model.codec
    if not isinstance(codec, MoleculeCodec):
        return {}
    found: dict[str, Any] = {"steered": {}}
    stable = list[float]()
    for one in [one for one in codec.targets.properties if one.name in COMPUTED][:MOST]:
        ends = _ends(one)
        asked = [_asked(case, one.name, target) for target in ends]
        free = [_of_sizes(case, one.name, samples) for samples in asked]
        high, low = (_values(samples.decoded, one.name) for samples in asked)
        plain = [_values(samples.decoded, one.name) for samples in free]
        apart = ends[0] - ends[1]
        found[f"{one.name}_moved"], found[f"{one.name}_moved_stderr"] = _moved(high, low, apart)
        found[f"{one.name}_moved_control"] = _moved(plain[0], plain[1], apart)[0]
        found[f"{one.name}_moved_ceiling"] = 1.0
        found["steered"][one.name] = {
            "targets": list(ends),
            "means": [float(values.mean()) if len(values) else None for values in (high, low)],
            "molecules": [len(high), len(low)],
            "std_training": one.std,
        }
        read = [reading for samples in asked for reading in read_all(samples.decoded)]
        stable.append(shares("", read).get("atom_stability", float("nan")))
    if stable and np.isfinite(stable).all():
        found["steered_stability"] = float(np.mean(stable))
    return found if stable else {}


def _ends(one: Property) -> tuple[float, float]:
    """One deviation above the mean and one below, within what training molecules have."""
    return min(one.mean + one.std, one.most), max(one.mean - one.std, one.least)


def _asked(case: Case, name: str, target: float) -> Samples:
    return case.sample(min(EACH, case.count), f"sampling {name}={target:.3g}", **{name: target})


def _of_sizes(case: Case, name: str, samples: Samples) -> Samples:
    sizes = [int(made["wanted"]["length"]) for made in samples.provenance]
    return case.sample(len(sizes), f"sampling as large, {name} left open", length=sizes)


def _values(values: Sequence[Value], name: str) -> np.ndarray:
    """The property of the valid molecules in one piece."""
    from rdkit import Chem

    found = list[float]()
    for value in values:
        try:
            mol = rdkit_of(value)
        except PerrinError:
            continue
        if len(Chem.GetMolFrags(mol)) == 1:
            found.append(describe(mol, [name])[name])
    return np.array(found)


def _moved(high: np.ndarray, low: np.ndarray, apart: float) -> tuple[float | None, float | None]:
    if min(len(high), len(low)) < LEAST:
        return None, None
    error = np.sqrt(high.var(ddof=1) / len(high) + low.var(ddof=1) / len(low))
    return float((high.mean() - low.mean()) / apart), float(error / apart)

"""Molecules against real ones: sound, new, and of the right lengths, properties and energies.

All go the same way, samples and real ones alike: bonds that a model does not give are perceived from positions.
`ceiling`: held-out molecules (of distances between laws and of different molecules: as many training molecules).
`baseline`, `control`: training molecules with normal noise of .1 and of .05 angstrom on every coordinate, which look
like molecules and hardly ever are; of SMILES, symbols drawn on their own, and from n-grams.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from perrin.contracts import Dataset
from perrin.errors import PerrinError
from perrin.evaluate.case import Progress
from perrin.evaluate.molecule_copies import Known, known_molecules, newness, unique_share
from perrin.evaluate.molecule_distances import length_distances, property_distances
from perrin.evaluate.molecule_reading import Reading, Value, read_all
from perrin.evaluate.molecule_shares import errors, shares
from perrin.kinds.molecules.molecule import Molecule

MOST = 10_000  # samples that are read
MOST_REAL = 2_000  # held-out and training molecules: an even choice of more
LEAST_JITTERED, MOST_JITTERED = 200, 1_000
STRAINED = 200  # molecules of each set whose strain is computed, at most
JITTERS = {"_baseline": 0.1, "_control": 0.05}  # angstrom, of every coordinate
PROBLEMS = 8  # reasons of RDKit that are listed

NOTE = (
    "Ceiling: held-out molecules; of distances, and of different ones among all, as many training molecules. Jitter: "
    "training molecules with normal noise of so many angstrom on every coordinate. Bonds that do not come with a molecule "
    "are perceived from its positions, of samples and of real ones alike; atoms are stable by the lengths of their "
    "bonds alone. Symbols: drawn on their own by how often they occur, or by n-grams. Stereo is left out where "
    "molecules are compared."
)


@dataclass(frozen=True)
class Sets:
    """The readings of samples, of held-out and of training molecules, and of trivial ones by suffix, with their names."""

    samples: list[Reading]
    real: list[Reading]
    training: list[Reading]
    trivial: dict[str, list[Reading]]
    known: Known
    names: dict[str, str]


def molecule_figures(
    generated: Sequence[Value],
    train: Sequence[Dataset],
    test: Dataset,
    *,
    trivial: Mapping[str, tuple[str, Sequence[Value]]] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], Sets]:
    """All figures of sampled molecules beside those of real ones, JSON-able; and what they were taken from.

    Args:
        generated: molecules as the codec decodes them, or SMILES.
        train: what the model was trained beside; test: molecules that it never met.
        trivial: what samples without positions are read beside, suffix -> (its name, molecules).
        seed: of the jitter.

    Returns:
        With `_ceiling`, `_baseline` and `_control`, and most with `_stderr` of the samples' own:
        - `sound_share`: connected, no electron unpaired, every atom stable (by its bonds where they come with it);
        - `atom_stability`, `molecule_stability` by distances, `atom_valence`, `molecule_valence` by given bonds;
        - `valid_share`: RDKit sanitises; `connected_share`: and it is one piece;
        - `unique_share`, `novel_share`, `identical_share`, `nearest_similarity` of `molecule_copies`;
        - `bond_length_distance` and the distances of properties of `molecule_distances`;
        - `strain_median` in kcal/mol, and `strain`: quartiles, and how many had none, by reason;
        - `problems`: why RDKit refused, by reason; `bonds`: how they were found.

    Raises:
        PerrinError: no molecules, or RDKit is not installed.
    """
    if not generated:
        raise PerrinError("there are no molecules to judge")
    sets = _sets(generated, train, test, trivial or {}, seed, progress or (lambda *_: None))
    found = shares("", sets.samples) | newness(sets.samples, sets.known)
    found |= errors(sets.samples, found)
    for suffix, readings in {"_ceiling": sets.real, **sets.trivial}.items():
        found |= shares(suffix, readings)
    found |= {f"{name}_ceiling": value for name, value in newness(sets.real, sets.known).items()}
    found["unique_share"] = unique_share(sets.samples)
    found["unique_share_ceiling"] = unique_share(sets.training)
    beside = {"": sets.samples, "_ceiling": sets.training, **sets.trivial}
    found |= length_distances(beside, sets.real) | property_distances(beside, sets.real)
    return found | _said(sets), sets


def _sets(
    generated: Sequence[Value],
    train: Sequence[Dataset],
    test: Dataset,
    trivial: Mapping[str, tuple[str, Sequence[Value]]],
    seed: int,
    told: Progress,
) -> Sets:
    spatial = [v for v in generated[:MOST] if isinstance(v, Molecule) and v.positions is not None]
    perceived = any(molecule.bonds is None for molecule in spatial)
    flat = not spatial
    seen = [(part, index) for part in train for index in range(len(part))]
    chosen = [seen[i] for i in _evenly(len(seen), min(MOST_REAL, len(generated)))]
    held_out = [(test, i) for i in _evenly(len(test), MOST_REAL)]

    def reading(what: str, count: int) -> Callable[[int], None]:
        told(what, 0, count)
        return lambda done: told(what, done, count)

    def read(what: str, values: Iterable[Value], count: int) -> list[Reading]:
        return read_all(values, -(-count // STRAINED), reading(what, count))

    own = generated[:MOST]
    samples = read("reading samples", own, len(own))
    real = read("reading held-out molecules", _real(held_out, perceived, flat), len(held_out))
    training = read("reading training molecules", _real(chosen, perceived, flat), len(chosen))
    beside = dict[str, tuple[str, Iterable[Value], int]]()
    if flat:
        beside = {suffix: (name, values, len(values)) for suffix, (name, values) in trivial.items()}
    else:
        count = min(MOST_JITTERED, max(LEAST_JITTERED, len(generated)))
        noisy = [seen[i] for i in _evenly(len(seen), count)]
        for suffix, std in JITTERS.items():
            beside[suffix] = f"jitter {std:g} \N{ANGSTROM SIGN}", _jittered(noisy, std, seed), len(noisy)
    read_beside = {
        suffix: read(f"reading {name}", values, count) for suffix, (name, values, count) in beside.items()
    }
    known = known_molecules(_real(seen, False, False), reading("looking for copies", len(seen)))
    names = {suffix: name for suffix, (name, _, _) in beside.items()}
    return Sets(samples, real, training, read_beside, known, names)


def _evenly(count: int, most: int) -> list[int]:
    chosen: list[int] = np.linspace(0, count - 1, min(most, count)).astype(int).tolist()
    return chosen


def _real(places: Sequence[tuple[Dataset, int]], perceived: bool, flat: bool) -> Iterator[Value]:
    """Real molecules one at a time, without what the samples lack: bonds where `perceived`, positions where `flat`."""
    for part, index in places:
        value = part[index]["value"]
        if isinstance(value, Molecule) and value.positions is not None:
            if perceived:
                value = replace(value, bonds=None)
            if flat and value.bonds is not None:
                value = replace(value, positions=None)
        yield value


def _jittered(places: Sequence[tuple[Dataset, int]], std: float, seed: int) -> Iterator[Value]:
    """Real molecules with noise on their positions; what bonds they have is to be perceived again."""
    generator = np.random.default_rng(seed)
    for part, index in places:
        value = part[index]["value"]
        if isinstance(value, Molecule) and value.positions is not None:
            noise = std * generator.normal(size=value.positions.shape)
            yield replace(value, positions=value.positions + noise, bonds=None, smiles=None)


def _said(sets: Sets) -> dict[str, Any]:
    problems = Counter(reading.problem for reading in sets.samples if reading.problem)
    return {
        "problems": dict(problems.most_common(PROBLEMS)),
        "bonds": dict(Counter(reading.bonds for reading in sets.samples if reading.bonds)),
        "counts": {
            "generated": len(sets.samples),
            "training": len(sets.known.smiles),
            "held out": len(sets.real),
        },
        "columns": {suffix[1:]: name for suffix, name in sets.names.items()},
        "features": "RDKit",
        "baseline": "; ".join(sets.names.values()) or "none",
        "note": NOTE,
    }

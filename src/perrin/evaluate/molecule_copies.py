r"""Which molecules are new, and how near the others are to what the model was trained on.

Molecules are the same whose canonical SMILES without stereo are. How alike two are is Tanimoto's share of the common
bits of their Morgan fingerprints (radius 2),  T(a, b) = |a & b| / |a | b|,  1 for the same environments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from perrin.errors import PerrinError
from perrin.evaluate.molecule_reading import BITS, Reading, Value, rdkit_of
from perrin.kinds.molecules.molecule import Molecule

if TYPE_CHECKING:
    from rdkit.DataStructs import ExplicitBitVect

MOST = 50_000  # known molecules whose fingerprints are kept: the first ones
MOST_COMPARED = 1_000  # molecules whose nearest known one is looked for


class Nearest(NamedTuple):
    """Which readings, the known molecule nearest to each, and how alike they are: arrays of one length."""

    places: np.ndarray
    indices: np.ndarray
    similarity: np.ndarray


@dataclass
class Known:
    """The molecules that a model was trained on: the SMILES of all, in their order, and fingerprints of the first."""

    smiles: list[str] = field(default_factory=list)
    fingerprints: list[ExplicitBitVect] = field(default_factory=list)
    distinct: set[str] = field(default_factory=set)

    def add(self, value: Value) -> None:
        """One more molecule; one that RDKit refuses is passed over."""
        from rdkit import Chem, rdBase
        from rdkit.Chem import rdFingerprintGenerator

        written = value.smiles if isinstance(value, Molecule) else None
        try:
            mol = rdkit_of(written or value)  # a SMILES is read ten times faster than positions
        except PerrinError:
            return
        with rdBase.BlockLogs():
            plain = Chem.RemoveHs(mol)
            self.smiles.append(Chem.MolToSmiles(plain, isomericSmiles=False))
            if len(self.fingerprints) < MOST:
                generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=BITS)
                self.fingerprints.append(generator.GetFingerprint(plain))
        self.distinct.add(self.smiles[-1])


def known_molecules(values: Iterable[Value], told: Callable[[int], None] = lambda _: None) -> Known:
    """What is known of the molecules that a model was trained on; `told` is called with how many are read."""
    found = Known()
    for count, value in enumerate(values, 1):
        found.add(value)
        told(count)
    return found


def unique_share(readings: Sequence[Reading]) -> float | None:
    """Different molecules among all valid ones in one piece; None of none. It falls with their number."""
    found = [reading.smiles for reading in readings if reading.connected]
    return len(set(found)) / len(found) if found else None


def newness(readings: Sequence[Reading], known: Known) -> dict[str, float | None]:
    """Of the valid molecules in one piece (None: there are none), JSON-able.

    Returns:
        - `novel_share`: those that are not known among the different ones;
        - `identical_share`: known ones among all;
        - `nearest_similarity`: to the nearest known one, the median of at most 1,000.
    """
    connected = [reading for reading in readings if reading.connected]
    if not connected:
        return dict.fromkeys(("novel_share", "identical_share", "nearest_similarity"))
    different = {str(reading.smiles) for reading in connected}
    nearest = nearest_known(connected, known).similarity
    return {
        "novel_share": len(different - known.distinct) / len(different),
        "identical_share": float(np.mean([reading.smiles in known.distinct for reading in connected])),
        "nearest_similarity": float(np.median(nearest)) if len(nearest) else None,
    }


def nearest_known(readings: Sequence[Reading], known: Known, most: int = MOST_COMPARED) -> Nearest:
    """The nearest known molecule of at most so many valid ones, evenly chosen."""
    from rdkit import DataStructs

    valid = [i for i, reading in enumerate(readings) if reading.fingerprint is not None]
    if not valid or not known.fingerprints:
        return Nearest(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    places = [valid[int(i)] for i in np.linspace(0, len(valid) - 1, min(most, len(valid)))]
    indices, similarities = list[int](), list[float]()
    for place in places:
        one = readings[place].fingerprint
        assert one is not None
        row = np.asarray(DataStructs.BulkTanimotoSimilarity(one, known.fingerprints))
        indices.append(int(row.argmax()))
        similarities.append(float(row.max()))
    return Nearest(np.array(places), np.array(indices), np.array(similarities))

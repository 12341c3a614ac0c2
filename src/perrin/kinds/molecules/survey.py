"""Every molecule of a file read once: which are broken and why, how large they are; and positions for those without.

Both are kept in the cache, since RDKit takes a millisecond to read a molecule and thirty to give it positions.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds import files
from perrin.kinds.molecules.describing import COMPUTED
from perrin.kinds.molecules.embedding import METHOD, embedded
from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.molecules.records import Record
from perrin.kinds.molecules.source import Molecules
from perrin.registry import unknown
from perrin.saving import cache_folder, replacing, write_text

_FORM = 1  # of what is kept; another number finds nothing old


@dataclass(frozen=True)
class Survey:
    """What reading all molecules found.

    Args:
        reasons: of each broken molecule, what is wrong.
        sizes: atoms of each molecule, 0 of a broken one.
        flat: the molecules that have no positions.
        labels: the label of each, None where it has none; None where no molecule has any.
        values: the properties of each, NaN where it has none.
    """

    reasons: dict[int, str]
    sizes: list[int]
    flat: list[int]
    labels: list[Any] | None
    values: list[list[float]]
    sha256: str

    @property
    def spatial(self) -> bool:
        """Whether all molecules have positions."""
        return not self.flat


def surveyed(source: Molecules, label_column: str | None, labels: bool) -> Survey:
    """Read all molecules, or what was found when they were read before.

    Raises:
        UnknownName: no such property or label column.
    """
    kept = cache_folder("molecules", _key(source, label_column, labels) + ".json")
    if kept.is_file():
        found = json.loads(kept.read_text(encoding="utf-8"))
        return Survey(**{**found, "reasons": {int(i): why for i, why in found["reasons"].items()}})
    made = _read_all(source, label_column, labels)
    write_text(kept, json.dumps(asdict(made)))
    return made


def _key(source: Molecules, *facts: object) -> str:
    options = (_FORM, source.hydrogens, tuple(source.properties), len(source), *facts)
    # a record's own reading differs between files of one name: SMILES of another column
    return files.fingerprint(source.records.files, *options, getattr(source.records, "column", None))


def _read_all(source: Molecules, label_column: str | None, labels: bool) -> Survey:
    count = len(source)
    reasons, sizes, flat, named = dict[int, str](), [0] * count, list[int](), list[Any]([None] * count)
    values, fields = [[math.nan] * len(source.properties) for _ in range(count)], dict[str, None]()
    digest = hashlib.sha256()
    for index in range(count):
        try:
            record = source.records.read(index)
            molecule, values[index] = source.made(record), source.described(record)
        except PerrinError as error:
            reasons[index] = str(error)
            continue
        sizes[index] = len(molecule)
        named[index] = _label(record, label_column) if labels else None
        fields |= dict.fromkeys(record.fields)
        flat += [index] if molecule.positions is None else []
        digest.update(_content(molecule) + repr((values[index], named[index])).encode())
    if len(reasons) < count:
        _refuse_unknown(source, values, fields, label_column if labels else None)
    given = None if all(label is None for label in named) else named
    return Survey(reasons, sizes, flat, given, values, digest.hexdigest())


def _refuse_unknown(
    source: Molecules, values: list[list[float]], fields: Iterable[str], label_column: str | None
) -> None:
    if label_column is not None and label_column not in fields:
        raise unknown("label column", label_column, fields)
    for column, name in enumerate(source.properties):
        if all(math.isnan(row[column]) for row in values):
            if name in COMPUTED or name in fields:
                raise PerrinError(f"no molecule has a property {name!r}")
            raise unknown("property", name, [*fields, *COMPUTED])


def _label(record: Record, column: str | None) -> str | int | None:
    value = record.fields.get("label" if column is None else column)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.strip().isdigit():
        return int(value)
    if value is None or value == "":
        return None
    return value if isinstance(value, str | int) else str(value)


def _content(molecule: Molecule) -> bytes:
    places = b"" if molecule.positions is None else np.ascontiguousarray(molecule.positions).tobytes()
    facts = (molecule.elements, molecule.charges, molecule.bonds, molecule.smiles)
    return hashlib.sha256(repr(facts).encode() + places).digest()


def placed(source: Molecules, found: Survey) -> tuple[Mapping[int, np.ndarray], dict[int, str]]:
    """Positions of the molecules without, by index, and all reasons, also of those that no places are found for."""
    kept = cache_folder("molecules", _key(source, METHOD) + ".npz")
    if not kept.is_file():
        _place_all(source, found, kept)
    with np.load(kept, allow_pickle=False) as held:
        positions, edges, indices = held["positions"], held["edges"], held["indices"]
        failed = json.loads(str(held["failed"]))
    places = {int(index): positions[edges[k] : edges[k + 1]] for k, index in enumerate(indices)}
    return places, {**found.reasons, **{int(index): why for index, why in failed.items()}}


def _place_all(source: Molecules, found: Survey, kept: Path) -> None:
    positions, indices, failed = [np.empty((0, 3))], list[int](), dict[int, str]()
    for index in found.flat:
        try:
            places = embedded(source.read(index)).positions
        except PerrinError as error:
            failed[index] = str(error)
            continue
        assert places is not None
        positions.append(places)
        indices.append(index)
    edges = np.cumsum([0, *(len(places) for places in positions[1:])])
    with replacing(kept) as part, part.open("wb") as out:
        np.savez(
            out, positions=np.concatenate(positions), edges=edges, indices=np.array(indices, np.int64),
            failed=np.array(json.dumps(failed)),
        )  # fmt: skip

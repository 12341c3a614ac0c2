"""The judge of molecules: their figures, drawings, distributions and a view to turn, and the survivors of a filter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perrin.errors import PerrinError
from perrin.evaluate.case import Case, Judged
from perrin.evaluate.molecule_copies import nearest_known
from perrin.evaluate.molecule_filter import Filter, Kept
from perrin.evaluate.molecule_plots import length_picture, property_picture
from perrin.evaluate.molecule_reading import Value
from perrin.evaluate.molecule_steering import steering_figures
from perrin.evaluate.molecules import MOST_JITTERED, Sets, molecule_figures
from perrin.evaluate.symbol_chains import ngram_texts
from perrin.kinds.molecules.chemistry import from_smiles
from perrin.kinds.molecules.depict import sheet
from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.molecules.saving import write_sdf
from perrin.kinds.molecules.view import fragment
from perrin.kinds.text.whole import WholeTextCodec

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN = 24  # molecules that are drawn
TURNED = 12  # molecules to turn
ORDER = 5  # of the n-grams that SMILES are read beside
PAIRS = 8  # samples beside their nearest training molecules
SURVIVORS = "survivors.sdf"


def judged(case: Case, *, filter: Filter | None = None) -> Judged:
    """The figures of a model of molecules, and what a report shows of them.

    Args:
        filter: rules; the samples that pass are written to `survivors.sdf`, the most drug-like first.

    Raises:
        PerrinError: RDKit is not installed.
    """
    values: list[Value] = case.drawn.decoded
    found, sets = molecule_figures(
        values,
        case.seen,
        case.test,
        trivial=_symbols(case),
        seed=case.options["seed"],
        progress=case.progress,
    )
    found |= steering_figures(case)
    if "steered_stability" in found:
        found["steered_stability_ceiling"] = found.get("atom_stability")
    kept = None if filter is None else filter.keep(_followed(values, case))
    if filter is not None and kept is not None:
        found |= filter_figures(filter, kept)
    spatial = any(isinstance(value, Molecule) and value.positions is not None for value in values)

    def write(folder: Path) -> None:
        (folder / SURVIVORS).unlink(missing_ok=True)  # those of an earlier filter
        if kept is not None and kept.indices:
            write_survivors(folder / SURVIVORS, values, case.drawn.provenance, kept)

    return Judged(
        case.drawn,
        found,
        ".sdf" if spatial else ".smi",
        pictures(values, sets, kept),
        fragments={"In three dimensions": fragment(_molecules(values[:TURNED]))} if spatial else {},
        write=write,
    )


def _symbols(case: Case) -> dict[str, tuple[str, list[Value]]]:
    """What a model of SMILES is read beside: its symbols on their own, and from n-grams."""
    codec, count, seed = case.model.codec, min(MOST_JITTERED, len(case.drawn)), case.options["seed"]
    if not isinstance(codec, WholeTextCodec):
        return {}
    return {
        suffix: (name, list[Value](ngram_texts(codec, case.data.train, count, seed, order)))
        for suffix, name, order in (("_baseline", "symbols", 1), ("_control", f"{ORDER}-grams", ORDER))
    }


def _followed(values: Sequence[Value], case: Case) -> Iterator[Value]:
    for done, value in enumerate(values):
        yield value
        case.told("filtering", done + 1, len(values))


def pictures(values: Sequence[Value], sets: Sets, kept: Kept | None = None) -> dict[str, Image | None]:
    """Headings and pictures of a report."""
    drawn = _molecules(values[:SHOWN])
    shown: dict[str, Image | None] = {"Samples": sheet(drawn, 4) if drawn else None}
    if kept is not None and kept.indices:
        best = [
            (values[index], properties)
            for index, properties in zip(kept.indices[:SHOWN], kept.properties, strict=False)
        ]
        named = [
            replace(one, properties={"qed": p["qed"], "sa": p["sa"]})
            for v, p in best
            for one in _molecules([v])
        ]
        shown[f"Survivors of the filter: the most drug-like of {len(kept.indices)}"] = sheet(named, 4)
    shown["Nearest training molecules: sample left, nearest right"] = _pairs(sets)
    laws = {"samples": sets.samples, "held out": sets.real}
    laws |= {name: sets.trivial[suffix] for suffix, name in sets.names.items() if suffix == "_baseline"}
    shown["Properties"] = property_picture(laws)
    shown["Bond lengths"] = length_picture(laws, sets.real)
    return shown


def _pairs(sets: Sets) -> Image | None:
    connected = [reading for reading in sets.samples if reading.connected]
    if not connected or not sets.known.fingerprints:
        return None
    shown = list[Molecule]()
    for place, near, alike in zip(*nearest_known(connected, sets.known, PAIRS), strict=True):
        shown += _molecules([str(connected[int(place)].smiles)])
        shown += [
            replace(one, properties={"similarity": float(alike)})
            for one in _molecules([sets.known.smiles[int(near)]])
        ]
    return sheet(shown, 4)


def filter_figures(rules: Filter, kept: Kept) -> dict[str, Any]:
    """The share that passes, and how many pass each rule."""
    share = len(kept.indices) / kept.count
    return {
        "filter_share": share,
        "filter_share_stderr": (share * (1 - share) / kept.count) ** 0.5,
        "filter": {
            "rules": rules.rules,
            "survivors": len(kept.indices),
            "read": kept.read,
            "passed": kept.passed,
        },
    }


def write_survivors(
    path: Path, values: Sequence[Value], provenance: Sequence[dict[str, Any]], kept: Kept
) -> Path:
    """The molecules that passed, the most drug-like first, with their numbers as fields.

    Raises:
        PerrinError: a file that cannot be written.
    """

    def survivors() -> Iterator[Molecule]:
        for index, properties in zip(kept.indices, kept.properties, strict=True):
            value = values[index]
            molecule = from_smiles(value, hydrogens=False) if isinstance(value, str) else value
            yield replace(molecule, properties={**molecule.properties, **properties})

    return write_sdf(survivors(), path, (provenance[index] for index in kept.indices))


def _molecules(values: Sequence[Value]) -> list[Molecule]:
    """Those that can be drawn: SMILES that do not parse have no drawing."""
    found = list[Molecule]()
    for value in values:
        try:
            found.append(from_smiles(value, hydrogens=False) if isinstance(value, str) else value)
        except PerrinError:
            continue
    return found

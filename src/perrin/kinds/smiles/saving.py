"""Molecules on their way out: lines, a table, and by way of `kinds/molecules` structure files and drawings."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perrin.errors import PerrinError
from perrin.kinds.labels import class_name
from perrin.kinds.molecules.chemistry import from_smiles
from perrin.kinds.molecules.depict import sheet
from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.molecules.saving import save_molecules
from perrin.kinds.provenance import write_sidecar
from perrin.saving import write_text

if TYPE_CHECKING:
    from PIL.Image import Image

STRUCTURES = ("", ".sdf", ".png")


def save_smiles(
    decoded: Sequence[str],
    path: Path,
    provenance: Sequence[Mapping[str, Any]],
    classes: Sequence[str] | None = None,
) -> list[Path]:
    """Write molecules, given as SMILES, with their provenance.

    Args:
        path: `.smi`: a SMILES a line, its number as its name; `.csv`: columns `index`, `smiles` and, where there are
            labels, `label`; both with `NAME.json` beside. `.sdf`: records with 2-D coordinates, each with its own
            provenance; `.png`: a sheet of drawings; any other name is a folder for `00000_label.sdf`, ...; from these
            what is no molecule is left out.
        provenance: one each; `index` in it is the molecule's number, `label` (an index or a name) its class.

    Returns:
        The files.

    Raises:
        PerrinError: another suffix, no molecule where there must be some, or a file that cannot be written.
    """
    if len(decoded) != len(provenance):
        raise ValueError(f"{len(decoded)} molecules with {len(provenance)} provenances")
    suffix = "" if path.is_dir() else path.suffix.lower()
    if suffix in STRUCTURES:
        sound = [(one, made) for one, made in zip(molecules_of(decoded), provenance, strict=True) if one]
        if not sound:
            raise PerrinError(
                f"none of these {len(decoded):,} texts is a molecule, so '{path}' has nothing to show"
            )
        return save_molecules([one for one, _ in sound], path, [made for _, made in sound], classes)
    if suffix not in (".smi", ".csv"):
        raise PerrinError(f"molecules are saved as .smi, .csv, .sdf or .png, or into a folder, not '{path}'")
    numbers = [int(one.get("index", i)) for i, one in enumerate(provenance)]
    if suffix == ".smi":
        write_text(path, "".join(f"{text} {number}\n" for text, number in zip(decoded, numbers, strict=True)))
    else:
        labels = [class_name(one.get("label"), classes) for one in provenance]
        write_text(path, _table(decoded, numbers, labels))
    made = dict(provenance[0]) if len(decoded) == 1 else {"items": [dict(one) for one in provenance]}
    return [path, write_sidecar(path, made)]


def drawings(decoded: Sequence[str], columns: int | None = None) -> Image | None:
    """A sheet of those that are molecules; None where there are none."""
    sound = [one for one in molecules_of(decoded) if one]
    return sheet(sound, columns) if sound else None


def molecules_of(decoded: Sequence[str]) -> list[Molecule | None]:
    """SMILES as molecules with 2-D structure, None for what is no molecule."""
    found = list[Molecule | None]()
    for text in decoded:
        try:
            found.append(from_smiles(text, hydrogens=False))
        except PerrinError:
            found.append(None)
    return found


def _table(decoded: Sequence[str], numbers: Sequence[int], labels: Sequence[str | None]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    known = any(label is not None for label in labels)
    writer.writerow(["index", "smiles", *(["label"] if known else [])])
    for number, text, label in zip(numbers, decoded, labels, strict=True):
        writer.writerow([number, text, *([label] if known else [])])
    return out.getvalue()

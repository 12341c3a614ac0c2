"""Volumes on their way out: NIfTI, a DICOM series or pictures, with how they were made inside and no identifier.

What was left behind stands in the provenance as `stripped`: names of attributes, and warnings of what no attribute's
removal helps, such as text in the pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds import provenance
from perrin.kinds.files import few, item_file, numbers
from perrin.kinds.images.gallery import IN_GRID, read_png, save_images
from perrin.kinds.labels import class_name
from perrin.kinds.volumes.dicom_series import read_series
from perrin.kinds.volumes.dicom_writing import dicom_files
from perrin.kinds.volumes.identifiers import Stripped, stripped
from perrin.kinds.volumes.nifti import is_nifti, nifti_bytes, read_nifti
from perrin.kinds.volumes.volume import Volume
from perrin.saving import write_bytes


def export(
    volume: Volume, path: str | Path, made: Mapping[str, Any] | None = None
) -> tuple[list[Path], Stripped]:
    """Write one volume, and say what was left behind.

    Args:
        path: `.nii`, `.nii.gz`, or `.dcm`: a single slice is that file, a volume a folder of that name without the
            suffix, of one file for each slice.
        made: JSON-able, how it was made.

    Raises:
        PerrinError: another suffix, a dose or a segmentation as DICOM, a folder with other slices in it, or a file that
            cannot be written.
    """
    path, left = Path(path), stripped([volume])
    said = {"stripped": left._asdict()} if left.removed or left.warnings else {}
    text = provenance.dumps({**(made or {}), **said}, ensure_ascii=False)
    if is_nifti(path):
        write_bytes(path, nifti_bytes(volume, text, path.suffix.lower() == ".gz"))
        return [path], left
    if path.suffix.lower() != ".dcm":
        raise PerrinError(f"volumes are saved as .nii.gz, .nii or .dcm, not '{path}'")
    contents = dicom_files(volume, text)
    names = [path] if volume.flat else [path.with_suffix("") / f"{i:04d}.dcm" for i in range(len(contents))]
    if not volume.flat:
        _refuse_strangers(names)
    for name, content in zip(names, contents, strict=True):
        write_bytes(name, content)
    return names, left


def _refuse_strangers(names: Sequence[Path]) -> None:
    """A folder is one series: slices of another would be taken for slices of this one."""
    folder = names[0].parent
    others = sorted(path.name for path in folder.glob("*.dcm") if path not in names)
    if others:
        raise PerrinError(
            f"'{folder}' holds other DICOM files already ({few(others, 3)}); give a series a new folder"
        )


def save_volumes(
    decoded: Sequence[Volume],
    tiles: Sequence[np.ndarray],
    path: Path,
    made: Sequence[Mapping[str, Any]],
    classes: Sequence[str] | None = None,
) -> list[Path]:
    """Write volumes and return the files.

    Args:
        tiles: a picture of each, for `.png` and for the folder's `grid.png`.
        path: `.png` for pictures; `.nii`, `.nii.gz` and `.dcm` for one volume, see `export`; several as `NAME.dcm` are
            folders below NAME. Any other name is a folder for `00000_label.nii.gz`, ... and `grid.png`.
        made: how each was made.

    Raises:
        PerrinError: several volumes for one `.nii.gz`, or a file that cannot be written.
    """
    if len(decoded) != len(made):
        raise ValueError(f"{len(decoded)} volumes with {len(made)} provenances")
    suffix = path.suffix.lower()
    if suffix == ".png":
        return save_images(tiles, path, made)
    if len(decoded) == 1 and (is_nifti(path) or suffix == ".dcm"):
        return export(decoded[0], path, made[0])[0]
    if is_nifti(path):
        raise PerrinError(
            f"{len(decoded)} volumes do not fit into '{path}'; give a folder, which gets a file for each"
        )
    if suffix not in ("", ".dcm") and not path.is_dir():
        raise PerrinError(f"volumes are saved as .nii.gz, .nii, .dcm, .png or into a folder, not '{path}'")
    folder, ending = (path.with_suffix(""), ".dcm") if suffix == ".dcm" else (path, ".nii.gz")
    written: list[Path] = []
    for number, volume, one in zip(numbers(made), decoded, made, strict=True):
        name = item_file(number, class_name(one.get("label"), classes), ending)
        written += export(volume, folder / name, one)[0]
    if len(decoded) > 1:
        written += save_images(tiles[:IN_GRID], folder / "grid.png", made[:IN_GRID])
    return written


def read_saved(path: Path) -> np.ndarray:
    """The values of a file that `save_volumes` wrote; the pixels of a picture."""
    if path.suffix.lower() == ".png":
        return read_png(path)
    volume = read_nifti(path) if is_nifti(path) else read_series([path])
    return volume.values

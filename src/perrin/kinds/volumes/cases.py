"""Which files make a case: a NIfTI file, a DICOM file, or a folder of DICOM files, which is one series.

A folder of cases is searched to its bottom. Sub-folders that hold several cases are classes, as those of images are;
sub-folders with one case each (patients) are none.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.files import few
from perrin.kinds.labels import index_labels
from perrin.kinds.volumes.dicom_frames import is_dicom
from perrin.kinds.volumes.dicom_series import read_series
from perrin.kinds.volumes.nifti import is_nifti, read_nifti
from perrin.kinds.volumes.volume import Volume

Each = Literal["series", "file"]


@dataclass(frozen=True)
class VolumeCase:
    """The files of one case; `name`: below the folder that was opened."""

    name: str
    files: tuple[Path, ...]

    def load(self, volume: int | None = None, missing: float | None = None) -> Volume:
        """Its volume, read anew."""
        if is_nifti(self.files[0]):
            return read_nifti(self.files[0], volume, missing)
        return read_series(self.files)


@dataclass(frozen=True)
class Found:
    """Cases of a path; `labels` int64 [n], and `classes`, None without. `unused`: other files that lie there."""

    cases: list[VolumeCase]
    labels: np.ndarray | None
    classes: list[str] | None
    unused: int


def find_cases(path: Path, each: Each = "series", labels: bool = True) -> Found:
    """The cases of a file or a folder.

    Args:
        each: "series" takes the DICOM files of a folder as one series, "file" every one as an image of its own.

    Raises:
        PerrinError: nothing there, no such files, cases both beside and inside classes.
    """
    if not path.exists():
        raise PerrinError(
            f"no file or folder '{path}'; volumes are .nii, .nii.gz, or DICOM files and folders"
        )
    if path.is_file():
        if not is_nifti(path) and not is_dicom(path):
            raise PerrinError(f"'{path}' is neither NIfTI (.nii, .nii.gz) nor DICOM; a volume is one of them")
        return Found([VolumeCase(path.name, (path,))], None, None, 0)
    cases, unused = _walk(path, each)
    if not cases:
        held = f"it holds {unused:,} other files" if unused else "it is empty"
        raise PerrinError(f"no volumes in folder '{path}': {held}; volumes are .nii, .nii.gz or DICOM files")
    found, classes = _classes(path, cases, labels)
    return Found(cases, found, classes, unused)


def _walk(root: Path, each: Each) -> tuple[list[VolumeCase], int]:
    cases, unused = [], 0
    for folder, inner, names in os.walk(root, followlinks=True):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        files = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        scans = [file for file in files if is_nifti(file)]
        slices = [file for file in files if not is_nifti(file) and file.name != "DICOMDIR" and is_dicom(file)]
        unused += len(files) - len(scans) - len(slices)
        cases += [VolumeCase(file.relative_to(root).as_posix(), (file,)) for file in scans]
        if each == "file":
            cases += [VolumeCase(file.relative_to(root).as_posix(), (file,)) for file in slices]
        elif slices:
            name = slices[0].parent.relative_to(root).as_posix()
            cases.append(VolumeCase(root.name if name == "." else name, tuple(slices)))
    return cases, unused


def _classes(
    root: Path, cases: Sequence[VolumeCase], labels: bool
) -> tuple[np.ndarray | None, list[str] | None]:
    parts = [_parts(root, case) for case in cases]
    tops = [part[0] for part in parts if len(part) > 1]
    if not labels or not tops or max(Counter(tops).values()) == 1:
        return None, None
    if len(tops) < len(parts):
        raise PerrinError(
            f"'{root}' holds {len(parts) - len(tops):,} cases beside the sub-folders ({few(sorted(set(tops)), 3)}) and "
            f"{len(tops):,} inside them; move them into classes, or write labels: false"
        )
    found = index_labels(tops, "sub-folders")
    return found.of_item, found.classes


def _parts(root: Path, case: VolumeCase) -> tuple[str, ...]:
    """The folders above a case, and the case itself: a folder is its own where it is a series."""
    at = case.files[0] if case.name.endswith(case.files[0].name) else case.files[0].parent
    return at.relative_to(root).parts

"""A path to a dataset of volumes; every case is read once before it is used, and held or mapped from the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds import files
from perrin.kinds.images.survey import Broken
from perrin.kinds.volumes.cases import Each, VolumeCase, find_cases
from perrin.kinds.volumes.dicom_frames import read_dicom
from perrin.kinds.volumes.nifti import is_nifti
from perrin.kinds.volumes.splitting import CaseFiles, VolumeData
from perrin.kinds.volumes.volume import Volume
from perrin.registry import unknown
from perrin.saving import cache_folder, replacing

Progress = Callable[[int, int], None]


def open_volumes(
    path: str | Path,
    *,
    each: Each = "series",
    volume: int | None = None,
    part: tuple[float, float] | None = None,
    missing: float | None = None,
    labels: bool = True,
    broken: Broken = "refuse",
    progress: Progress | None = None,
) -> VolumeData:
    """Open volumes by their path; every one is read once to see that it is whole.

    Args:
        path: a NIfTI file, a DICOM file, a folder of the files of one series, or a folder of such cases (sub-folders of
            several cases are classes).
        each: "series" takes the DICOM files of a folder as one volume, "file" every one as an image of its own.
        volume: which one of 4-D NIfTI files, counted from 0.
        part: the slices of every volume between two shares of its height, from the feet: [0, 0.667] are the lower two
            thirds. Single slices stay.
        missing: the value of voxels that hold NaN.
        labels: False ignores the meaning of sub-folders.
        broken: what to do about cases that are no volumes: "refuse" lists them with the reason, "skip" leaves them out.
        progress: called with (cases read, cases in all).

    Raises:
        PerrinError: nothing there, nothing readable, cases that are refused.
    """
    for option, given, known in (("each", each, ("series", "file")), ("broken", broken, ("refuse", "skip"))):
        if given not in known:
            raise unknown(option, given, known)
    if part is not None and not 0 <= part[0] < part[1] <= 1:
        raise PerrinError(f"part {list(part)} must rise between 0 (feet) and 1 (head), such as [0, 0.667]")
    path = Path(path)
    found = find_cases(path, each, labels)
    volumes, reasons = _read_all(found.cases, volume, missing, progress)
    listed = [f"{found.cases[i].name} ({reason})" for i, reason in reasons.items()]
    if listed and (broken == "refuse" or len(listed) == len(found.cases)):
        if len(found.cases) == 1:
            raise PerrinError(reasons[0])
        skip = "" if len(listed) == len(found.cases) else "; repair them, or leave them out with broken: skip"
        raise PerrinError(
            f"{len(listed):,} of {len(found.cases):,} cases of '{path}' are refused: {files.few(listed)}{skip}"
        )
    whole = np.array([i for i in range(len(found.cases)) if i not in reasons], np.int64)
    source = CaseFiles(
        found.cases, volumes, found.labels, found.classes, _patients(found.cases, reasons), part
    )
    facts = _facts(path, source, whole, found.unused)
    return VolumeData(source, whole, facts, [found.cases[i].name for i in reasons])


def _read_all(
    cases: list[VolumeCase], volume: int | None, missing: float | None, progress: Progress | None
) -> tuple[list[Volume | None], dict[int, str]]:
    volumes: list[Volume | None] = []
    reasons: dict[int, str] = {}
    held = 0
    for index, case in enumerate(cases):
        try:
            loaded = case.load(volume, missing)
            held += loaded.values.nbytes
            volumes.append(loaded if held <= files.MEMORY_LIMIT else _mapped(case, loaded, volume, missing))
        except PerrinError as error:
            if "pip install" in str(error):  # of no single file
                raise
            volumes.append(None)
            reasons[index] = str(error)
        if progress is not None:
            progress(index + 1, len(cases))
    return volumes, reasons


def _mapped(case: VolumeCase, loaded: Volume, volume: int | None, missing: float | None) -> Volume:
    """The volume with its values in the cache, from where they are mapped."""
    place = cache_folder("volumes", files.fingerprint(case.files, "volumes 1", volume, missing) + ".npy")
    if not place.exists():
        with replacing(place) as part, part.open("wb") as out:
            np.save(out, loaded.values, allow_pickle=False)
    return replace(loaded, values=np.load(place, mmap_mode="r", allow_pickle=False))


def _patients(cases: list[VolumeCase], reasons: dict[int, str]) -> list[str]:
    """A key of every case's patient; empty where the files do not say."""
    found = []
    for index, case in enumerate(cases):
        patient = ""
        if index not in reasons and not is_nifti(case.files[0]):
            patient = str(read_dicom(case.files[0]).get("PatientID") or "")
        found.append(hashlib.sha256(patient.encode()).hexdigest() if patient else f"case {index}")
    return found


def _facts(path: Path, source: CaseFiles, whole: np.ndarray, unused: int) -> dict[str, Any]:
    digest = hashlib.sha256()
    volumes = [source.read(i) for i in whole.tolist()]
    for index, volume in zip(whole.tolist(), volumes, strict=True):
        said = [source.name(index), volume.shape, volume.affine.tolist(), volume.units, volume.photometric]
        digest.update(json.dumps(said).encode())
        digest.update(np.ascontiguousarray(volume.values).tobytes())
    if source.labels is not None:
        digest.update(source.labels.tobytes())
    return {
        "kind": "volumes",
        "path": str(path),
        "part": None if source.part is None else list(source.part),
        "modality": sorted({v.modality or "unknown" for v in volumes}),
        "units": sorted({v.units or "unknown" for v in volumes}),
        "orientation": sorted({v.orientation if v.placed else "unknown" for v in volumes}),
        "withheld": sorted({name for v in volumes for name in v.withheld}),
        "unused_files": unused,
        "sha256": digest.hexdigest(),
    }

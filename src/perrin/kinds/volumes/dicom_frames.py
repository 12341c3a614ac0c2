"""Headers of DICOM files: whether there is an image in them, and where each of its frames lies (DICOM PS3.3).

Old objects say it at their top (C.7.6.2), enhanced multi-frame ones in functional groups (C.7.6.16), dose grids by
offsets (C.8.8.3). Positions and directions are in DICOM's own world: x to the left, y to the back, z to the head.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.volumes.needs import need

if TYPE_CHECKING:
    from pydicom import Dataset

NO_IMAGE = {
    "SR": "a structured report: findings in words and numbers",
    "KO": "a list of key images",
    "PR": "a presentation state: how another image is to be shown",
    "RTSTRUCT": "a radiotherapy structure set: contours drawn on another scan",
    "RTPLAN": "a radiotherapy plan",
    "RTRECORD": "a radiotherapy treatment record",
    "REG": "a registration between two scans",
    "ECG": "an electrocardiogram",
    "DOC": "a document",
}
MOMENTS = (
    "AcquisitionNumber", "EchoTime", "EchoNumbers", "TemporalPositionIdentifier", "TriggerTime", "DiffusionBValue",
    "InversionTime", "ContentTime", "AcquisitionTime",
)  # fmt: skip
"""What differs between images that lie at one place."""


class Frame(NamedTuple):
    """One image of a file: its place [3] and directions [2, 3] (along a row, down a column), None where it has none.

    `spacing`: millimetres (between rows, between columns); `thickness`: to the next slice, as the file has it.
    """

    path: Path
    number: int
    place: np.ndarray | None
    directions: np.ndarray | None
    spacing: tuple[float, float] | None
    thickness: float | None
    slope: float
    intercept: float


def read_dicom(path: Path, pixels: bool = False) -> Dataset:
    """The content of a DICOM file, by default up to its pixels.

    Raises:
        PerrinError: no DICOM file, or a damaged one.
    """
    need("pydicom")
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd values of single attributes; what matters is checked
            found = pydicom.dcmread(path, stop_before_pixels=not pixels, force=True)
            found.get("SOPClassUID")
    except Exception as error:  # the reader raises whatever its parsing meets
        raise PerrinError(f"'{path.name}' is no readable DICOM file: {first_line(error)}") from error
    if "SOPClassUID" not in found:
        raise PerrinError(f"'{path.name}' is not a DICOM file: it does not say what it holds (SOP class)")
    return found


def refuse_no_image(header: Dataset, path: Path) -> None:
    """Refuse what has no pixels.

    Raises:
        PerrinError: saying what the file is instead.
    """
    if "Rows" in header and "Columns" in header:
        return
    modality = str(header.get("Modality", ""))
    what = NO_IMAGE.get(modality, f"{header.SOPClassUID.name} ({modality or 'no modality'})")
    raise PerrinError(f"'{path.name}' holds no image but {what}")


def is_dicom(path: Path) -> bool:
    """Whether a file has DICOM's preamble, or its suffix says so."""
    if path.suffix.lower() in (".dcm", ".dicom", ".ima"):
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def frames_of(header: Dataset, path: Path) -> list[Frame]:
    """Every frame of a file, in the order of its pixels."""
    count = int(header.get("NumberOfFrames") or 1)
    shared = _first(header, "SharedFunctionalGroupsSequence")
    own = header.get("PerFrameFunctionalGroupsSequence") or []
    found = [
        _frame(header, path, number, [own[number]] if number < len(own) else [], shared)
        for number in range(count)
    ]
    offsets = header.get("GridFrameOffsetVector")
    if offsets is not None and len(offsets) == count and found[0].place is not None:
        found = _by_offsets(found, np.array(offsets, float))
    return found


def _frame(header: Dataset, path: Path, number: int, own: list[Any], shared: Any) -> Frame:
    groups = [*own, *([] if shared is None else [shared])]

    def said(sequence: str, keyword: str) -> Any:
        for group in groups:
            inner = _first(group, sequence)
            if inner is not None and inner.get(keyword) is not None:
                return inner.get(keyword)
        return header.get(keyword)

    place = said("PlanePositionSequence", "ImagePositionPatient")
    directions = said("PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = said("PixelMeasuresSequence", "PixelSpacing") or header.get("ImagerPixelSpacing")
    thickness = said("PixelMeasuresSequence", "SpacingBetweenSlices") or said(
        "PixelMeasuresSequence", "SliceThickness"
    )
    slope = said("PixelValueTransformationSequence", "RescaleSlope") or header.get("DoseGridScaling")
    intercept = said("PixelValueTransformationSequence", "RescaleIntercept")
    return Frame(
        path,
        number,
        _numbers(place, 3),
        None if _numbers(directions, 6) is None else np.array(directions, float).reshape(2, 3),
        None if _numbers(spacing, 2) is None else (float(spacing[0]), float(spacing[1])),
        None if thickness is None or not float(thickness) else abs(float(thickness)),
        1.0 if slope is None or not float(slope) else float(slope),
        0.0 if intercept is None else float(intercept),
    )


def _by_offsets(frames: list[Frame], offsets: np.ndarray) -> list[Frame]:
    """A dose grid: frames lie at offsets along the normal, from the first one's place or from zero."""
    first = frames[0]
    if first.place is None or first.directions is None:
        return frames
    normal = np.cross(*first.directions)
    along = offsets if offsets[0] == 0 else offsets - float(first.place @ normal)
    return [f._replace(place=first.place + o * normal) for f, o in zip(frames, along, strict=True)]


def _first(held: Any, sequence: str) -> Any:
    found = held.get(sequence)
    return found[0] if found else None


def _numbers(value: Any, count: int) -> np.ndarray | None:
    try:
        found = np.array(value, float)
    except (TypeError, ValueError):
        return None
    return found if found.shape == (count,) and np.isfinite(found).all() else None


def first_line(error: BaseException) -> str:
    """What a library's error says, on one line."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__

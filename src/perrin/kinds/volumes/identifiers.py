"""What of a DICOM header goes with a volume, by a list of what is allowed; all else is named and left behind.

The basic profile of PS3.15 annex E lists what must go: names, numbers, dates, institutions, operators, devices, free
text, private attributes, unique identifiers. What is kept here is far less than what that profile would leave: how the
image was taken and how its pixels are to be read. Nothing else enters a volume, so nothing else can leave with one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from perrin.kinds.volumes.volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

TECHNIQUE = (
    "Modality", "BodyPartExamined", "ViewPosition", "Laterality", "ImageLaterality", "PatientPosition", "KVP",
    "Exposure", "XRayTubeCurrent", "ExposureTime", "ConvolutionKernel", "SliceThickness", "SpacingBetweenSlices",
    "ScanningSequence", "SequenceVariant", "ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime",
    "InversionTime", "EchoTrainLength", "FlipAngle", "MagneticFieldStrength", "ImagedNucleus", "NumberOfAverages",
    "WindowCenter", "WindowWidth",
)  # fmt: skip
"""Attributes that a volume keeps and an export writes again: numbers and coded strings of the acquisition."""
FORM = (
    "SOPClassUID", "SpecificCharacterSet", "ImageType", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "ImagePositionPatient", "ImageOrientationPatient", "SliceLocation",
    "ImagerPixelSpacing", "GridFrameOffsetVector", "DoseGridScaling", "BurnedInAnnotation", "TriggerTime",
    "FrameIncrementPointer", "PatientIdentityRemoved", "DimensionOrganizationType", "SegmentationType",
    "InstanceNumber", "AcquisitionNumber", "DataSetTrailingPadding", "DoseUnits", "DoseType", "Units",
)  # fmt: skip
"""Attributes of the form alone, which are read or made anew; so is the group of the pixels (0028, 7FE0)."""
BURNT = ("CR", "DX", "MG", "US", "XA", "RF", "OT", "SC", "ES", "XC", "GM", "PX", "DG", "IVUS", "OP", "NM")


class Stripped(NamedTuple):
    """What an export left behind, and what it could not see.

    `removed`: names of attributes (never their values). `warnings`: of what may identify in the voxels.
    """

    removed: list[str]
    warnings: list[str]

    @property
    def text(self) -> str:
        """For people to read."""
        gone = f"removed: {', '.join(self.removed)}" if self.removed else "nothing to remove"
        return "\n".join([gone, *(f"look at it: {warning}" for warning in self.warnings)])


def stripped(volumes: Iterable[Volume]) -> Stripped:
    """What is left behind when these volumes are written."""
    held = list(volumes)
    removed = sorted({name for volume in held for name in volume.withheld})
    return Stripped(removed, sorted({warning for volume in held for warning in volume.warnings}))


def kept(header: Dataset, places: Sequence[np.ndarray | None] | None) -> dict[str, Any]:
    """JSON-able: the technique, the class of the object and the exact places of the slices."""
    found: dict[str, Any] = {"class": str(header.SOPClassUID)}
    for name in TECHNIQUE:
        value = header.get(name)
        if value is None or value == "":
            continue
        several = not isinstance(value, str | bytes) and hasattr(value, "__iter__")
        found[name] = [_plain(one) for one in value] if several else _plain(value)
    if places is not None:
        found["places"] = [None if place is None else place.tolist() for place in places]
    return found


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, str) else float(value)


def withheld(header: Dataset) -> set[str]:
    """Names of the attributes with a value that are neither kept nor of the form."""
    found = set()
    for element in header:
        group = element.tag.group
        if group in (0x0002, 0x0028, 0x7FE0) and not element.tag.is_private:
            continue
        name = f"private group {group:04X}" if element.tag.is_private else element.keyword or str(element.tag)
        if name not in TECHNIQUE and name not in FORM and not element.is_empty:
            found.add(name)
    return found


def pixel_warnings(header: Dataset, flat: bool) -> tuple[str, ...]:
    """What may identify the patient in the pixels, which no attribute's removal helps."""
    found = []
    burnt, modality = str(header.get("BurnedInAnnotation") or ""), str(header.get("Modality", ""))
    if burnt == "YES":
        found.append("the file says that text is burned into its pixels (BurnedInAnnotation)")
    elif burnt != "NO" and modality in BURNT:
        found.append(f"{modality} images often have text, such as the patient's name, burned into the pixels")
    if not flat and modality in ("CT", "MR", "PT"):
        found.append("of a head, the face can be made out of the voxels")
    return tuple(found)

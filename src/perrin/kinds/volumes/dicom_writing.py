"""Volumes to a new DICOM series of single images, marked as derived or synthetic; nothing of the patient is in it.

Unique identifiers are made from what is written, so the same volume gives the same series. CT and MR images keep their
class; all else is a secondary capture (DICOM PS3.3 A.8). How it was made stands in a private attribute (0071,1001).
"""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np

import perrin
from perrin.errors import PerrinError
from perrin.kinds.volumes import geometry
from perrin.kinds.volumes.dicom_frames import read_dicom
from perrin.kinds.volumes.identifiers import TECHNIQUE
from perrin.kinds.volumes.needs import need
from perrin.kinds.volumes.volume import Stored, Volume

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom import Dataset

CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
GROUP, CREATOR = 0x0071, "PERRIN"
SYNTHETIC = "drawn by a diffusion model; not an image of a patient"
DERIVED = "computed from another image; not for diagnosis"
NOT_AS_IMAGES = {
    "RTDOSE": "a dose",
    "SEG": "a segmentation",
}


def dicom_files(volume: Volume, text: str) -> list[bytes]:
    """One file's content per slice, `text` in each.

    Raises:
        PerrinError: a dose or a segmentation, which are not to be mistaken for ones that a clinic made.
    """
    need("pydicom")
    if volume.modality in NOT_AS_IMAGES:
        raise PerrinError(
            f"{NOT_AS_IMAGES[volume.modality]} is not written as DICOM, where planning systems would take it for a real "
            "one; write .nii.gz"
        )
    stored = in_16_bits(volume)
    numbers = stored.numbers(volume.stack)
    said = f"{stored} {volume.affine.tolist()} {text}"
    digest = hashlib.sha256(numbers.tobytes() + said.encode()).hexdigest()
    return [_file(volume, stored, numbers, index, digest, text) for index in range(numbers.shape[1])]


def in_16_bits(volume: Volume) -> Stored:
    """How a volume is stored where numbers have 16 bits at most: as it was, HU by ones, else in 65,535 steps."""
    if volume.stored.dtype in ("uint8", "int16", "uint16", "int8") and volume.photometric != "RGB":
        return volume.stored
    if volume.photometric == "RGB":
        return Stored("uint8")
    low, high = float(volume.values.min()), float(volume.values.max())
    if volume.units == "HU" and low >= -32768 and high <= 32767:
        return Stored("int16")
    return Stored("uint16", (max(high - low, 1e-12) / 65535,), (low,))


def _file(volume: Volume, stored: Stored, numbers: np.ndarray, index: int, digest: str, text: str) -> bytes:
    import pydicom
    from pydicom.dataset import FileMetaDataset

    found = pydicom.Dataset()
    _say_what(found, volume, text)
    _say_where(found, volume, index)
    _put_pixels(found, volume, stored, numbers[:, index], index)
    for keyword, role in (
        ("StudyInstanceUID", "study"),
        ("SeriesInstanceUID", "series"),
        ("FrameOfReferenceUID", "frame"),
        ("SOPInstanceUID", f"image {index}"),
    ):
        setattr(found, keyword, _uid(digest, role))
    found.SeriesNumber, found.InstanceNumber, found.AcquisitionNumber = 1, index + 1, 1
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    out = io.BytesIO()
    pydicom.dcmwrite(out, found, enforce_file_format=True)
    return out.getvalue()


def _uid(digest: str, role: str) -> str:
    """A unique identifier of PS3.5 B.2: a 128-bit number under 2.25."""
    return f"2.25.{int(hashlib.sha256(f'{digest} {role}'.encode()).hexdigest()[:32], 16)}"


def _say_what(found: Dataset, volume: Volume, text: str) -> None:
    synthetic = bool(volume.header.get("synthetic"))
    held = volume.header.get("dicom", {})
    found.SpecificCharacterSet = "ISO_IR 192"
    found.SOPClassUID = CLASSES.get(volume.modality, CAPTURE)
    for name in TECHNIQUE:
        if name in held and name not in ("SliceThickness", "SpacingBetweenSlices"):
            setattr(found, name, held[name])
    found.Modality = volume.modality or "OT"
    if volume.modality == "MR":
        found.ScanningSequence = held.get("ScanningSequence", "RM")
        found.SequenceVariant = held.get("SequenceVariant", "NONE")
    found.ImageType = ["DERIVED", "SECONDARY", "OTHER", "SYNTHETIC" if synthetic else "PROCESSED"]
    found.SeriesDescription = f"Perrin {'synthetic' if synthetic else 'derived'}"
    found.DerivationDescription = SYNTHETIC if synthetic else DERIVED
    found.Manufacturer, found.SoftwareVersions = "Perrin", perrin.__version__
    found.PatientName = found.PatientID = "SYNTHETIC" if synthetic else "REMOVED"
    for empty in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"):
        setattr(found, empty, "")
    found.ReferringPhysicianName = ""
    found.PatientIdentityRemoved = "YES"
    found.DeidentificationMethod = "only technique and geometry written; see (0071,1001)"
    if not volume.warnings:
        found.BurnedInAnnotation = "NO"
    found.private_block(GROUP, CREATOR, create=True).add_new(0x01, "UT", text)


def _say_where(found: Dataset, volume: Volume, index: int) -> None:
    from pydicom.valuerep import format_number_as_ds

    def digits(numbers: Any) -> list[str]:
        return [format_number_as_ds(round(float(n), 10)) for n in numbers]

    affine = geometry.RAS_OF_LPS @ volume.affine
    depth, rows, columns = volume.spacing
    found.PixelSpacing = digits([rows, columns])
    found.SliceThickness = digits([depth])[0]
    if not volume.placed:
        return
    found.SpacingBetweenSlices = digits([depth])[0]
    found.ImageOrientationPatient = digits([*(affine[:3, 2] / columns), *(affine[:3, 1] / rows)])
    place = affine[:3, 0] * index + affine[:3, 3]
    exact = volume.header.get("dicom", {}).get("places")
    if exact is not None and len(exact) == volume.stack.shape[1] and _near(exact, affine):
        place = exact[index]  # as the scanner rounded it
    found.ImagePositionPatient = digits(place)
    found.PositionReferenceIndicator = ""


def _near(places: Any, affine: np.ndarray) -> bool:
    along = np.arange(len(places))[:, None] * affine[:3, 0] + affine[:3, 3]
    return bool(np.abs(np.array(places, float) - along).max() < 0.1)


def _put_pixels(found: Dataset, volume: Volume, stored: Stored, numbers: np.ndarray, index: int) -> None:
    from pydicom.valuerep import format_number_as_ds

    kind = np.dtype(stored.dtype)
    found.Rows, found.Columns = numbers.shape[1:]
    found.SamplesPerPixel = len(numbers)
    found.PhotometricInterpretation = volume.photometric
    if len(numbers) == 3:
        found.PlanarConfiguration = 0
    found.BitsAllocated = 8 * kind.itemsize
    found.BitsStored = stored.bits or found.BitsAllocated
    found.HighBit = found.BitsStored - 1
    found.PixelRepresentation = int(kind.kind == "i")
    if len(numbers) == 1:
        of_slice = [
            numbers[0] if len(numbers) == 1 else numbers[index]
            for numbers in (stored.slope, stored.intercept)
        ]
        found.RescaleSlope, found.RescaleIntercept = (format_number_as_ds(float(n)) for n in of_slice)
        found.RescaleType = volume.units if volume.units == "HU" else "US"
    pixels = np.ascontiguousarray(numbers.transpose(1, 2, 0), kind.newbyteorder("<")).tobytes()
    found.PixelData = pixels + b"\0" * (len(pixels) % 2)
    found["PixelData"].VR = "OB" if kind.itemsize == 1 else "OW"


def dicom_text(path: Path) -> str | None:
    """How a file that Perrin wrote was made."""
    element = read_dicom(path).get((GROUP, 0x1001))
    return None if element is None else str(element.value)

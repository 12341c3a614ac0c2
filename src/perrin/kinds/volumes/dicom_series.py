"""A DICOM series to a volume: slices in the order of their places along the normal, and every reason why they are none.

A slice's place is `ImagePositionPatient . normal`, the normal the cross product of the directions along a row and down
a column (DICOM PS3.3 C.7.6.2.1.1). File names and instance numbers are not looked at: they need not follow the body.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.volumes import geometry
from perrin.kinds.volumes.dicom_frames import Frame, frames_of, read_dicom, refuse_no_image
from perrin.kinds.volumes.dicom_pixels import pixels_of, stored_as
from perrin.kinds.volumes.dicom_refusals import (
    refuse_bent,
    refuse_directions,
    refuse_mixed,
    refuse_places,
    refuse_segments,
)
from perrin.kinds.volumes.identifiers import kept, pixel_warnings, withheld
from perrin.kinds.volumes.volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset


def read_series(paths: Sequence[Path]) -> Volume:
    """The volume of the files of one series, or the slice of a single image.

    Raises:
        PerrinError: no image, mixed series, sizes or directions, missing slices, two at one place, unreadable pixels.
    """
    headers = [read_dicom(path) for path in paths]
    for header, path in zip(headers, paths, strict=True):
        refuse_no_image(header, path)
    refuse_mixed(headers, paths)
    frames = [frame for header, path in zip(headers, paths, strict=True) for frame in frames_of(header, path)]
    refuse_segments(headers[0], paths[0])
    order, affine, placed = _arranged(frames, dict(zip(paths, headers, strict=True)))
    numbers = _numbers([frames[i] for i in order])
    content = headers[0]
    stored = stored_as(
        content, numbers, [frames[i].slope for i in order], [frames[i].intercept for i in order]
    )
    values = stored.values(numbers.transpose(3, 0, 1, 2))
    colours = numbers.shape[-1] == 3
    modality = str(content.get("Modality", ""))
    grey = "MONOCHROME1" if content.PhotometricInterpretation == "MONOCHROME1" else "MONOCHROME2"
    flat = len(order) == 1
    left = {name for header in headers for name in withheld(header)}
    return Volume(
        values[:, 0] if flat else values,
        affine,
        stored._replace(bits=0) if colours else stored,
        _units(content, modality),
        modality,
        "RGB" if colours else grey,
        placed,
        {"dicom": kept(content, [frames[i].place for i in order] if placed else None)},
        tuple(sorted(left)),
        pixel_warnings(content, flat),
    )


def _units(header: Dataset, modality: str) -> str:
    if modality == "CT":
        return "HU" if str(header.get("RescaleType") or "HU") == "HU" else ""
    if modality == "RTDOSE":
        return "Gy" if header.get("DoseUnits") == "GY" else ""
    return {"SEG": "label", "PT": str(header.get("Units") or "")}.get(modality, "")


def _arranged(frames: list[Frame], headers: dict[Path, Any]) -> tuple[list[int], np.ndarray, bool]:
    """(order of the frames, affine of the volume, whether the files say where it lies)."""
    first = frames[0]
    spacing = first.spacing or (1.0, 1.0)
    if any(f.place is None or f.directions is None for f in frames):
        files = {f.path for f in frames}
        if len(files) > 1:
            lost = next(f for f in frames if f.place is None or f.directions is None)
            raise PerrinError(
                f"'{lost.path.name}' does not say where it lies in the patient (ImagePositionPatient), so the "
                f"{len(frames)} slices cannot be put in order; export the original series, or write each: file"
            )
        affine = geometry.standard([first.thickness or 1.0, *spacing])
        return list(range(len(frames))), affine, False
    places = np.array([f.place for f in frames])
    directions = np.array([f.directions for f in frames])
    assert first.directions is not None  # said above
    refuse_directions(frames, directions)
    normal = np.cross(*first.directions)
    along = places @ normal
    order = np.argsort(along, kind="stable").tolist()
    step = normal * (first.thickness or 1.0)
    if len(frames) > 1:
        refuse_places([frames[i] for i in order], along[order], headers)
        step = (places[order[-1]] - places[order[0]]) / (len(frames) - 1)
        refuse_bent([frames[i] for i in order], places[order], step)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 3] = step, places[order[0]]
    affine[:3, 1], affine[:3, 2] = first.directions[1] * spacing[0], first.directions[0] * spacing[1]
    return order, geometry.RAS_OF_LPS @ affine, True


def _numbers(frames: Sequence[Frame]) -> np.ndarray:
    """Stored numbers [D, H, W, C] in the order of the frames; every file is decoded once."""
    decoded: dict[Path, np.ndarray] = {}
    found = []
    for frame in frames:
        if frame.path not in decoded:
            decoded[frame.path] = pixels_of(read_dicom(frame.path, pixels=True), frame.path)
        found.append(decoded[frame.path][frame.number])
    types = {one.dtype for one in found}
    return np.stack([one.astype(np.result_type(*types)) for one in found])

"""The pixels of a DICOM file: native, RLE, JPEG 2000 and what else there is a decoder for; colours as RGB.

Decoders are pydicom's own (RLE) and Pillow's (JPEG, JPEG 2000); others come with packages that a message names.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.volumes.dicom_frames import first_line
from perrin.kinds.volumes.volume import Stored

if TYPE_CHECKING:
    from pydicom import Dataset


def pixels_of(content: Dataset, path: Path) -> np.ndarray:
    """Stored numbers [frames, H, W, C], C = 1, or 3 for colours.

    Raises:
        PerrinError: no pixels, a compression without a decoder here, a file cut short.
    """
    from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

    if not any(name in content for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise PerrinError(f"'{path.name}' says how large its image is and holds no pixels: it is cut short")
    _refuse_undecodable(content, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = np.asarray(pixel_array(content))
            if content.PhotometricInterpretation == "PALETTE COLOR":
                found = apply_color_lut(found, content)
            elif "ModalityLUTSequence" in content:
                found = apply_modality_lut(found, content)
    except Exception as error:  # decoders raise what their libraries raise
        raise PerrinError(
            f"the pixels of '{path.name}' are cut short or damaged: {first_line(error)}"
        ) from error
    if found.dtype == np.uint16 and content.PhotometricInterpretation == "PALETTE COLOR":
        found = (found >> 8).astype(np.uint8)
    frames = int(content.get("NumberOfFrames") or 1)
    return found.astype(found.dtype.newbyteorder("=")).reshape(frames, content.Rows, content.Columns, -1)


def _refuse_undecodable(content: Dataset, path: Path) -> None:
    from pydicom.pixels import get_decoder

    syntax = content.file_meta.get("TransferSyntaxUID") if hasattr(content, "file_meta") else None
    if syntax is None or not syntax.is_compressed:
        return
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise PerrinError(
            f"'{path.name}' is compressed as {syntax.name}, which is no single image; save it uncompressed"
        ) from error
    if not decoder.is_available:
        needed = "; or ".join(decoder.missing_dependencies)
        raise PerrinError(
            f"'{path.name}' is compressed as {syntax.name}, for which a package is missing ({needed}); install one, or "
            "save the images uncompressed"
        )


def stored_as(content: Dataset, numbers: np.ndarray, slope: list[float], intercept: list[float]) -> Stored:
    """How these numbers become values: one scale where all slices share it."""
    if numbers.shape[-1] == 3 or "ModalityLUTSequence" in content:
        slope, intercept = [1.0], [0.0]
    bits = int(content.get("BitsStored") or 0)
    return Stored(numbers.dtype.name, _shared(slope), _shared(intercept), bits)


def _shared(numbers: list[float]) -> tuple[float, ...]:
    return tuple(numbers[:1] if len(set(numbers)) == 1 else numbers)

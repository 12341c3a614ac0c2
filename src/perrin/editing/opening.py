"""A path to the form that a model's kind of data has there."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from perrin.contracts import Codec
from perrin.editing.form import Form
from perrin.editing.lengthy import lengthened
from perrin.editing.numerals import open_numbers, scaled
from perrin.editing.picture import open_picture
from perrin.editing.sound import SUFFIXES as SOUNDS
from perrin.editing.sound import open_sound
from perrin.errors import PerrinError
from perrin.kinds.images.codec import ImageCodec
from perrin.kinds.volumes.codec import VolumesCodec
from perrin.kinds.volumes.dicom_frames import is_dicom
from perrin.kinds.volumes.nifti import is_nifti
from perrin.process.state import single
from perrin.restoration.problem import scale_of

NUMBERS = (".npy", ".npz", ".csv")


def open_form(
    path: str | Path, codec: Codec, volume: int | None = None, scale: float | Literal["auto"] | None = None
) -> Form:
    """The file for a model with this codec.

    Args:
        volume: which one of a 4-D NIfTI file. scale: of arrays and recordings, see `numerals.scaled`.

    Raises:
        PerrinError: nothing there, what does not go with the model's kind, what cannot be read.
    """
    path = Path(path)
    scale_of(codec)  # refuses texts, molecules, ...
    if not path.exists():
        raise PerrinError(f"no file '{path}'")
    shape, suffix = single(codec.shape), path.suffix.lower()
    sound = suffix in SOUNDS and codec.kind == "arrays"
    if suffix in NUMBERS or sound:
        numbers = open_sound(path, shape) if sound else open_numbers(path, shape)
        if scale is not None:
            numbers = scaled(numbers, scale, abs(scale_of(codec)[1]) * codec.sigma_data)
        return lengthened(numbers) if codec.kind == "arrays" else numbers
    if scale is not None:
        raise PerrinError(f"--scale is for arrays and recordings; '{path.name}' has the scale of its kind")
    scan = path.is_dir() or is_nifti(path) or (suffix not in SOUNDS and is_dicom(path))
    if isinstance(codec, VolumesCodec):
        if not scan:
            raise PerrinError(
                f"'{path.name}' has no units; a model of volumes takes NIfTI, DICOM, or arrays (.npy) in its units"
            )
        from perrin.editing.scan import open_scan

        return open_scan(path, codec, volume)
    if scan:
        raise PerrinError(
            f"'{path.name}' is {'a folder' if path.is_dir() else 'a medical scan'}, and this is a model of {codec.kind}; "
            "scans are for models of volumes, trained on NIfTI or DICOM"
        )
    if isinstance(codec, ImageCodec):
        return open_picture(path, codec)
    raise PerrinError(
        f"'{path.name}' is not for a model of {codec.kind}; give .npy, .npz, .csv, or a recording such as .wav"
    )

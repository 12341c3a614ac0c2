"""NIfTI files (.nii, .nii.gz) <-> volumes; the geometry's own fields of the header are kept to the bit.

value = scl_slope * number + scl_inter. The affine is that of the sform where its code is above 0, else of the qform,
else a guess from the voxels' size (NIfTI-1, R. Cox et al. 2004). What a file is made of besides (`descrip`, `db_name`,
`aux_file`, `intent_name`, extensions) may name the patient; it is never read further than to see that it is there.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.volumes.needs import need
from perrin.kinds.volumes.volume import Stored, Volume

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

SUFFIXES = (".nii", ".nii.gz")
TEXTS = ("descrip", "db_name", "aux_file", "intent_name", "data_type")
PLACE = (
    "pixdim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
    "srow_x", "srow_y", "srow_z", "xyzt_units",
)  # fmt: skip
COMMENT = 6
"""The code of an extension of plain text."""


def is_nifti(path: Path) -> bool:
    """Whether the name is that of a NIfTI file."""
    return path.name.lower().endswith(SUFFIXES)


def open_nifti(path: Path) -> Nifti1Image:
    """The image of a file, its values not yet read.

    Raises:
        PerrinError: no NIfTI file, or one whose beginning is damaged.
    """
    need("nibabel")
    import nibabel

    try:
        image: Nifti1Image = nibabel.load(path)
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, ValueError) as error:
        raise PerrinError(f"'{path.name}' is no readable NIfTI file: {_line(error)}") from error
    if not isinstance(image, nibabel.Nifti1Image):
        raise PerrinError(f"'{path.name}' is {type(image).__name__}, not NIfTI; convert it to .nii.gz")
    return image


def read_nifti(path: Path, volume: int | None = None, missing: float | None = None) -> Volume:
    """The volume of a file.

    Args:
        volume: which one of a file that holds several, counted from 0.
        missing: the value for voxels that hold NaN.

    Raises:
        PerrinError: a damaged file, several volumes without a choice, complex numbers, NaN, units that are no lengths.
    """
    image = open_nifti(path)
    header = image.header
    numbers, channels = _numbers(image, path, volume)
    kind = numbers.dtype.newbyteorder("=").name
    stored = Stored(kind, (float(image.dataobj.slope),), (float(image.dataobj.inter),))
    values = stored.values(numbers)
    gaps = ~np.isfinite(values)
    if gaps.any():
        if missing is None:
            raise PerrinError(
                f"'{path.name}' holds {int(gaps.sum()):,} voxels without a number (NaN); write missing: 0 (or another "
                "value) to fill them"
            )
        values[gaps] = missing
    placed = int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0
    return Volume(
        values,
        _affine(image, path)[:, [2, 1, 0, 3]],
        stored,
        photometric="RGB" if channels else "MONOCHROME2",
        placed=placed,
        header={"nifti": {name: np.asarray(header[name]).tolist() for name in PLACE}},
        withheld=_withheld(image),
    )


def _numbers(image: Nifti1Image, path: Path, volume: int | None) -> tuple[np.ndarray, bool]:
    """(numbers [C, D, H, W] as stored, whether they are colours)."""
    shape = [*image.shape, *[1] * (5 - len(image.shape))]
    times = shape[3]
    if len(shape) > 5 and max(shape[5:]) > 1:
        raise PerrinError(
            f"'{path.name}' has {len(image.shape)} dimensions {image.shape}; a volume has three"
        )
    if volume is not None and not 0 <= volume < times:
        raise PerrinError(f"volume: {volume} of '{path.name}', which holds {times}; write 0 to {times - 1}")
    if times > 1 and volume is None:
        raise PerrinError(
            f"'{path.name}' is 4-D: it holds {times} volumes of {'x'.join(map(str, shape[:3]))}; choose one with "
            f"volume: 0 (to {times - 1})"
        )
    if shape[4] not in (1, 3):
        raise PerrinError(f"'{path.name}' holds vectors of {shape[4]} numbers; a volume has 1 or 3 (colours)")
    try:
        raw = np.asarray(image.dataobj.get_unscaled())
    except (OSError, EOFError, ValueError) as error:
        raise PerrinError(f"'{path.name}' is cut short or damaged: {_line(error)}") from error
    if raw.dtype.names:  # RGB24: three bytes a voxel
        if raw.dtype.names != ("R", "G", "B"):
            raise PerrinError(f"'{path.name}' holds colours with transparency; save it as RGB or grey")
        raw = np.stack([raw[name] for name in "RGB"], -1).reshape(*shape[:4], 3)
    if raw.dtype.kind not in "iuf":
        raise PerrinError(
            f"'{path.name}' holds {raw.dtype} numbers; save their magnitude (or real and imaginary parts) as volumes"
        )
    raw = raw.reshape(*shape[:4], -1)[:, :, :, volume or 0]
    return raw.transpose(3, 2, 1, 0), raw.shape[-1] == 3


def _affine(image: Nifti1Image, path: Path) -> np.ndarray:
    affine = np.array(image.affine, np.float64)
    unit = image.header.get_xyzt_units()[0]
    factors = {"mm": 1.0, "unknown": 1.0, "micron": 1e-3, "meter": 1e3}
    if unit not in factors:
        raise PerrinError(f"'{path.name}' measures voxels in {unit!r}, which is no unit of length")
    affine[:3] *= factors[unit]
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise PerrinError(
            f"'{path.name}' has an affine that maps its voxels onto a plane or to no place at all: its geometry is "
            "damaged; convert the scan again"
        )
    return affine


def _withheld(image: Nifti1Image) -> tuple[str, ...]:
    texts = [name for name in TEXTS if image.header[name].item().strip(b"\0 ")]
    return (*texts, *(f"extension ({one.get_code()})" for one in image.header.extensions))


def nifti_bytes(volume: Volume, text: str, packed: bool) -> bytes:
    """A volume as the content of a `.nii`, or packed of a `.nii.gz`, with `text` in an extension."""
    need("nibabel")
    import nibabel

    stored = volume.stored if _one_scale(volume.stored) else Stored()
    numbers = stored.numbers(volume.stack).transpose(3, 2, 1, 0)[:, :, :, None]
    affine = volume.affine[:, [2, 1, 0, 3]]
    header = nibabel.Nifti1Header()
    kept = volume.header.get("nifti")
    if kept is not None:
        for name, value in kept.items():
            header[name] = value
    if kept is None or not np.allclose(header.get_best_affine(), affine, rtol=0, atol=1e-9):
        header = nibabel.Nifti1Header()
        header.set_sform(affine, 1)
        header.set_qform(affine, 1)
        header.set_xyzt_units("mm")
    header.set_data_dtype(np.dtype(stored.dtype))
    content = numbers[..., 0, 0] if volume.channels == 1 else numbers
    image = nibabel.Nifti1Image(content, None, header)
    extension = nibabel.nifti1.Nifti1Extension(COMMENT, text.encode())
    image.header.extensions.append(extension)
    image.header.set_slope_inter(stored.slope[0], stored.intercept[0])
    made: bytes = image.to_bytes()
    return gzip.compress(made, 6, mtime=0) if packed else made


def _one_scale(stored: Stored) -> bool:
    return len(stored.slope) == 1 and len(stored.intercept) == 1


def nifti_text(path: Path) -> str | None:
    """The text of the first extension of a file that Perrin wrote."""
    for one in open_nifti(path).header.extensions:
        if one.get_code() == COMMENT:
            content = one.get_content()
            text = content.decode() if isinstance(content, bytes) else str(content)
            return text.rstrip("\0")
    return None


def _line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__

"""A volume or a slice with what is needed to write it back: where it lies, how it was stored, what was left behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np

from perrin.kinds.volumes import geometry
from perrin.kinds.volumes.geometry import Axis


class Stored(NamedTuple):
    """How a file holds values: `value = slope * number + intercept`, numbers of a NumPy type.

    `slope`, `intercept`: one number, or one for every slice. `bits`: how many of the type are used.
    """

    dtype: str = "float32"
    slope: tuple[float, ...] = (1.0,)
    intercept: tuple[float, ...] = (0.0,)
    bits: int = 0

    def numbers(self, values: np.ndarray) -> np.ndarray:
        """Values [C, D, H, W] as the file holds them: rounded, and clipped to what the type holds."""
        kind = np.dtype(self.dtype)
        exact = (values.astype(np.float64) - _along(self.intercept)) / _along(self.slope)
        if kind.kind == "f":
            return exact.astype(kind)
        info = np.iinfo(kind)
        return np.clip(np.rint(exact), info.min, info.max).astype(kind)

    def values(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers [C, D, H, W] as values, float32."""
        if self.slope == (1.0,) and self.intercept == (0.0,):
            return numbers.astype(np.float32)
        return (numbers.astype(np.float64) * _along(self.slope) + _along(self.intercept)).astype(np.float32)


def _along(numbers: tuple[float, ...]) -> np.ndarray:
    return np.array(numbers).reshape(-1, 1, 1)


AS_FLOATS = Stored()


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels in the units of the scan, and where they lie.

    Attributes:
        values: float32 [C, D, H, W], or [C, H, W] of a single slice; C = 1, or 3 for colours.
        affine: float64 [4, 4], of indices (d, h, w) to millimetres to the patient's right, front and head.
        stored: how its file holds it.
        units: of the values: "HU", "Gy", "label", "" where the file does not say.
        modality: as in DICOM ("CT", "MR", "US", ...), "" where the file does not say.
        photometric: "MONOCHROME2" (high is bright), "MONOCHROME1" (high is dark) or "RGB".
        placed: whether its file says where it lies; without, the affine is a guess.
        header: JSON-able, of the acquisition and the file's form, nothing of the patient.
        withheld: names of what the file says beside that, which is never read further: identifiers among it.
        warnings: of what may identify the patient in the voxels themselves.
    """

    values: np.ndarray
    affine: np.ndarray = field(default_factory=lambda: geometry.STANDARD.copy())
    stored: Stored = AS_FLOATS
    units: str = ""
    modality: str = ""
    photometric: str = "MONOCHROME2"
    placed: bool = True
    header: Mapping[str, Any] = field(default_factory=dict)
    withheld: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the values."""
        found: tuple[int, ...] = self.values.shape
        return found

    @property
    def flat(self) -> bool:
        """Whether it is a single slice [C, H, W]."""
        return self.values.ndim == 3

    @property
    def channels(self) -> int:
        """1, or 3 for colours."""
        return int(self.values.shape[0])

    @property
    def stack(self) -> np.ndarray:
        """The values as [C, D, H, W], D = 1 of a single slice."""
        return self.values[:, None] if self.flat else self.values

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxels along d, h, w."""
        d, h, w = geometry.spacing_of(self.affine).tolist()
        return (d, h, w)

    @property
    def orientation(self) -> str:
        """Where w, h, d run to: "LPS" (left, back, head) is the standard orientation."""
        return geometry.orientation(self.affine)

    @property
    def positions(self) -> np.ndarray:
        """Millimetres of every slice along the normal of the slices, [D]."""
        normal = np.cross(self.affine[:3, 2], self.affine[:3, 1])
        normal /= max(float(np.linalg.norm(normal)), 1e-12)
        along = np.arange(self.stack.shape[1])[:, None] * self.affine[:3, 0] + self.affine[:3, 3]
        found: np.ndarray = along @ normal
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype, copy=copy)

    def turned(self, order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Self:
        """Its axes exchanged, then flipped; no value changes."""
        if order == (0, 1, 2) and not any(flips):
            return self
        moved = self.stack.transpose(0, *(1 + i for i in order))
        moved = np.flip(moved, tuple(1 + i for i, flipped in enumerate(flips) if flipped))
        affine = geometry.turned(self.affine, self.stack.shape[1:], order, flips)
        whole = len(self.stored.slope) == 1 and len(self.stored.intercept) == 1
        return replace(self, values=moved, affine=affine, stored=self.stored if whole else Stored())

    def standard(self, axis: Axis = "axial") -> Self:
        """In the standard orientation, or seen along another axis of the body: slices of that plane are [:, d]."""
        return self.turned(*geometry.to_standard(self.affine)).turned(*geometry.PLANES[axis])

    def slices(self, start: int, stop: int) -> Self:
        """Slices `start` to `stop` - 1."""

        def some(numbers: tuple[float, ...]) -> tuple[float, ...]:
            return numbers if len(numbers) == 1 else numbers[start:stop]

        stored = self.stored._replace(slope=some(self.stored.slope), intercept=some(self.stored.intercept))
        affine = geometry.stepped(self.affine, (start, 0, 0), (1, 1, 1))
        return replace(self, values=self.stack[:, start:stop], affine=affine, stored=stored)

    def bright(self) -> np.ndarray:
        """The values, of a MONOCHROME1 image turned round within what its file can hold: high is bright."""
        return turned_round(self.values, self.stored) if self.photometric == "MONOCHROME1" else self.values


def turned_round(values: np.ndarray, stored: Stored) -> np.ndarray:
    """Values [C, D, H, W] or [C, H, W] of which the least that a file can hold becomes the most; its own inverse."""
    kind = np.dtype(stored.dtype)
    if kind.kind == "f":
        return -values
    bits = stored.bits or 8 * kind.itemsize
    ends = (0, 2**bits - 1) if kind.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    middle = np.array(stored.slope) * sum(ends) + 2 * np.array(stored.intercept)
    return (middle.reshape(-1, 1, 1)[0 if values.ndim == 3 else slice(None)] - values).astype(np.float32)

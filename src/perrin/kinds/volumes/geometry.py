"""Where voxels lie in the patient: affines of voxel indices (d, h, w) to millimetres, and axes of the body.

    (x, y, z, 1) = affine (d, h, w, 1),   x to the patient's right -> left... in RAS: x to the right, y to the front,
                                          z to the head, the world of NIfTI; DICOM's own (LPS) has -x and -y

The standard orientation of this package is the radiologist's: w runs to the patient's left, h to the back, d to the
head, so that an axial slice [h, w] lies as it does on a light box. Any orientation becomes that one by exchanging and
flipping axes alone, so that no value changes.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Axis = Literal["axial", "coronal", "sagittal"]

RAS_OF_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
STANDARD = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
"""The affine of the standard orientation with voxels of 1 mm: d to the head, h to the back, w to the left."""
PLANES: dict[Axis, tuple[tuple[int, int, int], tuple[bool, bool, bool]]] = {
    "axial": ((0, 1, 2), (False, False, False)),
    "coronal": ((1, 0, 2), (False, True, False)),
    "sagittal": ((2, 0, 1), (False, True, False)),
}
"""Of each plane: which axes of the standard orientation run through, down and across, and which of these backwards."""

_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))


def spacing_of(affine: np.ndarray) -> np.ndarray:
    """Millimetres between voxels along d, h, w."""
    return np.sqrt((affine[:3, :3] ** 2).sum(0))


def directions(affine: np.ndarray) -> list[tuple[int, bool]]:
    """Of d, h, w: the axis of the patient (0 right, 1 front, 2 head) that each is nearest to, and whether it rises.

    Every axis of the patient is taken once, the clearest first, so that oblique slices have an answer too.
    """
    cosines = affine[:3, :3] / np.maximum(spacing_of(affine), 1e-12)
    found: dict[int, tuple[int, bool]] = {}
    left = np.abs(cosines)
    for _ in range(3):
        world, voxel = np.unravel_index(int(np.argmax(left)), (3, 3))
        found[int(voxel)] = (int(world), bool(cosines[world, voxel] >= 0))
        left[world, :], left[:, voxel] = -1, -1
    return [found[i] for i in range(3)]


def orientation(affine: np.ndarray) -> str:
    """Where w, h and d run to, as letters: "LPS" is the standard orientation, "RAS" that of most NIfTI files."""
    return "".join(_LETTERS[axis][rises] for axis, rises in reversed(directions(affine)))


def to_standard(affine: np.ndarray) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """(order, flips): which of d, h, w become the standard d, h, w, and which of those are then turned round."""
    of_voxel = directions(affine)
    wanted = ((2, True), (1, False), (0, False))  # to the head, to the back, to the left
    order = [next(i for i in range(3) if of_voxel[i][0] == world) for world, _ in wanted]
    flips = [of_voxel[i][1] != rises for i, (_, rises) in zip(order, wanted, strict=True)]
    return (order[0], order[1], order[2]), (flips[0], flips[1], flips[2])


def turned(
    affine: np.ndarray,
    shape: tuple[int, ...],
    order: tuple[int, int, int],
    flips: tuple[bool, bool, bool],
) -> np.ndarray:
    """The affine after `values.transpose(order)` and flips of the new axes; `shape` is that before."""
    moved = affine[:, [*order, 3]].copy()
    for axis, flipped in enumerate(flips):
        if flipped:
            moved[:, 3] += moved[:, axis] * (shape[order[axis]] - 1)
            moved[:, axis] *= -1
    return moved + 0.0  # no negative zeros


def undone(
    order: tuple[int, int, int], flips: tuple[bool, bool, bool]
) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """The order and the flips that take those back."""
    back = [order.index(i) for i in range(3)]
    return (back[0], back[1], back[2]), (flips[back[0]], flips[back[1]], flips[back[2]])


def stepped(affine: np.ndarray, starts: tuple[float, ...], steps: tuple[float, ...]) -> np.ndarray:
    """The affine of voxels that lie at `starts + steps * index` of the old ones."""
    found = affine.copy()
    found[:, 3] = affine @ np.array([*starts, 1.0])
    found[:, :3] = affine[:, :3] * np.array(steps)
    return found


def standard(spacing: tuple[float, ...] | list[float], axis: Axis = "axial") -> np.ndarray:
    """The affine of voxels of this size [d, h, w] in the plane's own orientation, beginning at the origin."""
    order, flips = PLANES[axis]
    found = turned(STANDARD, (1, 1, 1), order, flips)
    found[:, :3] = found[:, :3] * np.array(spacing)
    return found

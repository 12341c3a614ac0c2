"""What of volumes is a state: whole volumes, slices of a plane with their neighbours, or patches; cut lazily.

All are taken from the standard orientation, so an axial slice lies the same way whatever way its file was written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, NoReturn, Self

import numpy as np

from perrin.contracts import Dataset, Item
from perrin.errors import PerrinError
from perrin.kinds.volumes.geometry import PLANES, Axis
from perrin.kinds.volumes.patching import patch_places
from perrin.kinds.volumes.resampling import Grid, resampled
from perrin.kinds.volumes.volume import Volume
from perrin.registry import unknown


@dataclass(frozen=True)
class View:
    """How volumes are looked at.

    Attributes:
        axis: slices of this plane; None: volumes or patches.
        neighbours: slices on either side that come along as channels (2.5-D).
        patch: voxels [d, h, w] of a patch, whose neighbours cover the share `overlap` of it; None: whole volumes.
        spacing: millimetres [d, h, w] between voxels, None along an axis that stays as it is.
    """

    axis: Axis | None = None
    neighbours: int = 0
    patch: tuple[int, int, int] | None = None
    overlap: float = 0.5
    spacing: tuple[float | None, float | None, float | None] = (None, None, None)

    @classmethod
    def of(
        cls,
        axis: Axis | None,
        neighbours: int,
        patch: int | tuple[int, int, int] | None,
        overlap: float,
        spacing: float | tuple[float, float, float] | None,
    ) -> Self:
        """The view of a codec's options; see `VolumesCodec.fit`.

        Raises:
            PerrinError: options that exclude one another, or no such axis, share or size.
        """
        if axis is not None and axis not in PLANES:
            raise unknown("axis", axis, PLANES)
        if axis is not None and patch is not None:
            raise PerrinError("axis is for slices and patch for pieces of volumes; give one of them")
        if neighbours < 0 or (neighbours and axis is None):
            raise PerrinError(
                f"neighbours: {neighbours} needs slices; write axis: axial too, and a number of at least 0"
            )
        if not 0 <= overlap < 1:
            raise PerrinError(f"overlap {overlap} must be at least 0 and below 1")
        sides = (patch, patch, patch) if isinstance(patch, int) else patch
        if sides is not None and min(sides) < 1:
            raise PerrinError(
                f"patch {patch!r} is no size; write a number of voxels, or [depth, height, width]"
            )
        return cls(axis, neighbours, sides, overlap, full_spacing(spacing, axis))

    def config(self) -> dict[str, Any]:
        """JSON-able."""
        patch = None if self.patch is None else list(self.patch)
        return {**asdict(self), "patch": patch, "spacing": list(self.spacing)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The view of a `config()`."""
        patch = None if config["patch"] is None else tuple(config["patch"])
        return cls(**{**config, "patch": patch, "spacing": tuple(config["spacing"])})

    @property
    def whole(self) -> bool:
        """Whether items stay in one piece."""
        return self.axis is None and self.patch is None

    def seen(self, volume: Volume) -> tuple[Volume, Grid]:
        """The volume turned to the view, and the grid of its voxels at the view's spacing."""
        turned = volume if volume.flat else volume.standard(self.axis or "axial")
        return turned, Grid.spaced(turned, (None, *self.spacing[1:]) if volume.flat else self.spacing)

    def places(self, volume: Volume, name: str) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """(begin, size) of the pieces of a volume, in voxels of the view's grid.

        Raises:
            PerrinError: fewer slices than neighbours, or a patch that does not fit.
        """
        _, grid = self.seen(volume)
        if self.whole or volume.flat:
            return [((0, 0, 0), grid.counts)]
        if self.axis is None:
            assert self.patch is not None  # else it is whole
            try:
                return [(at, self.patch) for at in patch_places(grid.counts, self.patch, self.overlap)]
            except PerrinError as error:
                raise PerrinError(f"{name}: {error}") from error
        thick = 2 * self.neighbours + 1
        if grid.counts[0] < thick:
            raise PerrinError(
                f"{name} has {grid.counts[0]} {self.axis} slices, too few for {self.neighbours} neighbours on either side"
            )
        return [((d, 0, 0), (thick, *grid.counts[1:])) for d in range(grid.counts[0] - thick + 1)]

    def piece(self, volume: Volume, begin: Sequence[int], size: Sequence[int]) -> Volume:
        """One piece of a volume; a single slice [C, H, W] where it has no neighbours."""
        turned, grid = self.seen(volume)
        found = resampled(turned, grid.part(begin, size))
        flat = volume.flat or (self.axis is not None and not self.neighbours)
        return replace(found, values=found.values[:, 0]) if flat else found


class Place(NamedTuple):
    """A piece of a case."""

    case: int
    begin: tuple[int, ...]
    size: tuple[int, ...]


@dataclass(frozen=True)
class Pieces:
    """Pieces of a dataset's volumes as items (`contracts.Dataset`)."""

    data: Dataset
    view: View
    places: list[Place]
    left_out: int = 0

    @property
    def classes(self) -> list[str] | None:
        """Those of the volumes."""
        return self.data.classes

    @property
    def description(self) -> dict[str, Any]:
        """That of the volumes, with the number of pieces."""
        return {
            **self.data.description,
            "count": len(self),
            "cases": len(self.data),
            "empty_pieces_left_out": self.left_out,
        }

    @property
    def skipped(self) -> list[str]:
        """Those of the volumes."""
        return self.data.skipped

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Item:
        place = self.places[index]
        item = self.data[place.case]
        name = item["name"]
        if not item["value"].flat:
            what = "patch at " + ",".join(map(str, place.begin)) if self.view.axis is None else self.view.axis
            middle = place.begin[0] + self.view.neighbours
            name += f" {what}" if self.view.axis is None else f" {what} slice {middle}"
        return {**item, "value": self.view.piece(item["value"], place.begin, place.size), "name": name}

    def split(self, held_out: float | int, seed: int) -> NoReturn:
        """Refused: pieces of one volume are alike, so that what is held out would be learned.

        Raises:
            PerrinError: always.
        """
        raise PerrinError("pieces of one volume are alike: split the cases before they are cut")


def cut_volumes(dataset: Dataset, view: View, holds: Callable[[np.ndarray], bool] | None = None) -> Dataset:
    """The pieces of all volumes; those that `holds` finds empty are left out.

    Raises:
        PerrinError: volumes without a piece that holds something.
    """
    if isinstance(dataset, Pieces) or view.whole:
        return dataset
    places, left_out = [], 0
    for case in range(len(dataset)):
        item = dataset[case]
        value = item["value"]
        for begin, size in view.places(value, item["name"]):
            if holds is None or holds(view.piece(value, begin, size).bright()):
                places.append(Place(case, begin, size))
            else:
                left_out += 1
    if not places:
        raise PerrinError(
            f"all {left_out:,} pieces of the data are emptier than asked for; lower codec.filled"
        )
    return Pieces(dataset, view, places, left_out)


def full_spacing(
    spacing: float | Sequence[float] | None, axis: Axis | None
) -> tuple[float | None, float | None, float | None]:
    """The option as [d, h, w]: one number is the plane of slices, or all axes of volumes.

    Raises:
        PerrinError: no positive lengths.
    """
    if spacing is None:
        return (None, None, None)
    wanted = [float(spacing)] * 3 if isinstance(spacing, int | float) else [float(s) for s in spacing]
    if len(wanted) != 3 or min(wanted) <= 0:
        raise PerrinError(f"spacing {spacing!r} must be millimetres: one number, or [depth, height, width]")
    through = None if axis is not None and isinstance(spacing, int | float) else wanted[0]
    return (through, wanted[1], wanted[2])

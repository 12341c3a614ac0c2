"""A medical scan (NIfTI, DICOM) for a model of volumes: all its slices, and back to where they lie in the body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perrin.contracts import Dataset
from perrin.editing.masks import sizes
from perrin.errors import PerrinError
from perrin.guide.operators import Operator
from perrin.kinds.volumes.codec import VolumesCodec
from perrin.kinds.volumes.geometry import PLANES, stepped, to_standard, undone
from perrin.kinds.volumes.identifiers import stripped
from perrin.kinds.volumes.nifti import is_nifti
from perrin.kinds.volumes.opening import open_volumes
from perrin.kinds.volumes.patching import joined_patches
from perrin.kinds.volumes.rebuilding import assembled
from perrin.kinds.volumes.resampling import Grid
from perrin.kinds.volumes.saving import export
from perrin.kinds.volumes.scaling import Scale
from perrin.kinds.volumes.views import cut_volumes
from perrin.kinds.volumes.volume import Stored, Volume, turned_round


@dataclass(frozen=True, eq=False)
class Scan:
    """A form (`form.Form`) of one volume or one slice; its file is never named in what is written of it."""

    volume: Volume
    pieces: Dataset
    codec: VolumesCodec
    suffix: str
    where: str = "the scan"
    notes: list[str] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, ...]:
        """(H, W) of its slices as the model sees them, [D, H, W] of volumes."""
        found: tuple[int, ...] = self.pieces[0]["value"].stack.shape[1:]
        return found[1:] if self.codec.flat else found

    def values(self) -> Tensor:
        """Every slice or patch in the units of the scan, [n, *shape]."""
        if self._resized:
            have, want = self.size, self.codec.shape[1:]
            self.notes.append(
                f"slices of {sizes(have)} are resampled to the model's {sizes(want)}; results lie at the same place of the "
                "body, in voxels of that size"
            )
        low, high = self.codec.scale.low, self.codec.scale.high
        state: Tensor = self.codec.encode([self.pieces[i] for i in range(len(self.pieces))]).state
        return low + (state.double() + 1) * ((high - low) / 2)

    def measured(self, operator: Operator) -> Tensor:
        """Refused: a scan is an image.

        Raises:
            PerrinError: always, with what to give.
        """
        kind = "complex k-space" if operator.complex_valued else "measurements"
        raise PerrinError(
            f"{self.where} is an image, and this task restores from {kind} of shape {operator.measured}: give .npy or "
            ".npz, or --simulate to have a clean scan measured"
        )

    def filled(self, hole: np.ndarray) -> Tensor:
        """Where anything of a hole in every slice is, resampled as slices are."""
        frame = self.codec.shape[1:]
        marks = Volume(hole.astype(np.float32).reshape(1, *[1] * (3 - hole.ndim), *hole.shape))
        plain = replace(
            self.codec,
            scale=Scale(0.0, 1.0, False),
            shape=(1, *frame),
            view=replace(self.codec.view, neighbours=0),
        )
        value = replace(marks, values=marks.values[:, 0]) if self.codec.flat else marks
        state: Tensor = plain.encode([{"value": value, "label": None, "name": "the mask"}]).state
        return state[0, 0] >= -1 + 1e-6

    def write(self, name: str, values: Tensor, folder: Path, made: Mapping[str, Any]) -> list[Path]:
        """NAME.nii.gz of floats; of a DICOM scan DICOM as it was stored, but for deviations and bounds."""
        volume = self.placed(values)
        if self.suffix == ".dcm" and name not in ("std", "low", "high"):
            return export(volume, folder / f"{name}.dcm", made)[0]
        return export(replace(volume, stored=Stored()), folder / f"{name}.nii.gz", made)[0]

    def stripped(self) -> dict[str, Any]:
        """What of the files is not written again."""
        return stripped([self.volume])._asdict()

    @property
    def _resized(self) -> bool:
        view = self.codec.view
        return (
            view.places(self.volume, self.where)[0][1][-len(self.codec.shape) + 1 :] != self.codec.shape[1:]
        )

    def placed(self, values: Tensor) -> Volume:
        """Values [n, *shape] of all pieces in the scan's own geometry, or where states are coarser, at its place."""
        view, original = self.codec.view, self.volume
        pieces = values.numpy().astype(np.float32)
        pieces = (
            pieces[:, None] if view.neighbours or (len(self.codec.shape) == 3 and self.codec.flat) else pieces
        )
        pieces = pieces if view.neighbours or not self.codec.flat else pieces.swapaxes(1, 2)
        if not self._resized:
            return assembled(original, pieces, view)
        turned, grid = view.seen(original)
        places = view.places(original, self.where)
        fine = Grid.covering(places[0][1], self.codec.shape[1:])
        counts = (grid.counts[0], *fine.counts[1:]) if self.codec.flat else fine.counts
        whole = joined_patches(
            torch.from_numpy(pieces), [(begin[0], 0, 0) for begin, _ in places], counts
        ).numpy()
        starts = [g + s * f for g, s, f in zip(grid.starts, grid.steps, fine.starts, strict=True)]
        steps = [s * f for s, f in zip(grid.steps, fine.steps, strict=True)]
        affine = stepped(turned.affine, tuple(starts), tuple(steps))
        made = replace(turned, values=whole[:, 0] if original.flat else whole, affine=affine)
        if made.photometric == "MONOCHROME1":
            made = replace(made, values=turned_round(made.values, made.stored))
        if original.flat:
            return made
        of_plane, of_body = PLANES[view.axis or "axial"], to_standard(original.affine)
        return made.turned(*undone(*of_plane)).turned(*undone(*of_body))


def open_scan(path: Path, codec: VolumesCodec, volume: int | None = None) -> Scan:
    """The one scan of a NIfTI file, a DICOM file, or a folder of a series.

    Raises:
        PerrinError: what is no single scan, with the reason.
    """
    data = open_volumes(path, volume=volume, labels=False)
    if len(data) != 1:
        raise PerrinError(
            f"'{path.name}' holds {len(data)} scans; give one file, or the folder of one series"
        )
    found = data[0]["value"]
    if codec.units != found.units and "" not in (codec.units, found.units):
        raise PerrinError(f"the scan is in {found.units}, and the model learned {codec.units}")
    suffix = ".nii.gz" if any(is_nifti(file) for file in _files(path)) else ".dcm"
    return Scan(found, cut_volumes(data, codec.view), codec, suffix)


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else list(path.rglob("*"))

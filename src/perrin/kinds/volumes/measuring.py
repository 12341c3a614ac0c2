"""What `VolumesCodec.fit` reads from the data: channels, sizes, the size of voxels, units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from perrin.contracts import Dataset
from perrin.errors import PerrinError
from perrin.kinds.volumes.resampling import Grid
from perrin.kinds.volumes.scaling import Scale, percentile_scale, window_scale
from perrin.kinds.volumes.views import View
from perrin.kinds.volumes.volume import Volume

LARGEST = 2**21  # voxels of a whole volume as one state: 128 x 128 x 128


@dataclass(frozen=True)
class Survey:
    """Of the training pieces: spatial sizes with a case that has each, voxels [d, h, w] in mm, and of what they are."""

    sizes: dict[tuple[int, ...], str]
    spacing: list[float]
    flat: bool
    channels: int
    units: str
    modality: str


def looked_at(dataset: Dataset, view: View) -> Survey:
    """The pieces of every volume under a view.

    Raises:
        PerrinError: an empty dataset, grey and colours mixed, slices and volumes mixed, units mixed.
    """
    if not len(dataset):
        raise PerrinError("the dataset is empty")
    sizes: dict[tuple[int, ...], str] = {}
    spacings, kinds = [], dict[tuple[int, bool], str]()
    units, modalities = dict[str, str](), dict[str, str]()
    for index in range(len(dataset)):
        item = dataset[index]
        volume, name = item["value"], item["name"]
        flat = volume.flat or (view.axis is not None and not view.neighbours)
        kinds.setdefault((volume.channels, flat), name)
        units.setdefault(volume.units, name)
        modalities.setdefault(volume.modality, name)
        turned, grid = view.seen(volume)
        size = view.places(volume, name)[0][1]
        sizes.setdefault(size[1:] if flat else size, name)
        spacings.append([s * step for s, step in zip(turned.spacing, grid.steps, strict=True)])
    _refuse_several(kinds, units)
    (channels, flat), _ = next(iter(kinds.items()))
    modality = next(iter(modalities)) if len(modalities) == 1 else ""
    return Survey(sizes, np.median(spacings, 0).tolist(), flat, channels, next(iter(units)), modality)


def _refuse_several(kinds: dict[tuple[int, bool], str], units: dict[str, str]) -> None:
    if len({flat for _, flat in kinds}) > 1:
        names = {flat: name for (_, flat), name in kinds.items()}
        raise PerrinError(
            f"'{names[True]}' is a single slice and '{names[False]}' a volume; keep one kind, or write axis: axial to "
            "learn slices of both"
        )
    if len(kinds) > 1:
        names_of = {channels: name for (channels, _), name in kinds.items()}
        raise PerrinError(f"'{names_of[1]}' is grey and '{names_of[3]}' is in colour; keep one kind of image")
    if len(units) > 1:
        listed = ", ".join(f"{unit or 'none'} ('{name}')" for unit, name in units.items())
        raise PerrinError(f"the volumes have several units: {listed}; keep scans of one kind")


def spatial_size(found: Survey, size: int | Sequence[int] | None, view: View) -> tuple[int, ...]:
    """The voxels of a state along its axes.

    Raises:
        PerrinError: several sizes or huge volumes without a decision, or a size of other axes.
    """
    axes = 2 if found.flat or view.axis is not None else 3
    sizes = {s[-axes:]: name for s, name in found.sizes.items()}
    if size is not None:
        wanted = [size] * axes if isinstance(size, int) else list(size)
        if len(wanted) != axes or min(wanted) < 1:
            names = "[height, width]" if axes == 2 else "[depth, height, width]"
            raise PerrinError(f"size {size!r} is not a size of these states; write one number, or {names}")
        return tuple(int(n) for n in wanted)
    if len(sizes) > 1:
        ordered = sorted(sizes, key=prod)
        first, last = ordered[0], ordered[-1]
        raise PerrinError(
            f"the data have {len(sizes)} sizes, from {_by(first)} ('{sizes[first]}') to {_by(last)} ('{sizes[last]}'); "
            "write the one to resize and crop them to, such as size: 64"
            + ("" if axes == 2 else ", or patch: 32")
        )
    only = next(iter(sizes))
    if axes == 3 and prod(only) > LARGEST:
        raise PerrinError(
            f"volumes of {_by(only)} are too large for one state; write axis: axial for slices, patch: 32 for patches, or "
            "size: 64"
        )
    return only


def voxel_size(found: Survey, size: tuple[int, ...]) -> list[float]:
    """Millimetres [d, h, w] between the voxels of a state."""
    old = next(iter(found.sizes))[-len(size) :]
    steps = Grid.covering(old, size).steps if old != size else (1.0,) * len(size)
    steps = (1.0,) * (3 - len(steps)) + tuple(steps)
    return [s * step for s, step in zip(found.spacing, steps, strict=True)]


def chosen_scale(
    dataset: Dataset,
    found: Survey,
    window: str | tuple[float, float] | None,
    percentiles: Sequence[float],
) -> Scale:
    """The window that is asked for; colours as they are, from 0 to 255; else percentiles."""
    if window is not None:
        first = dataset[0]
        return window_scale(window, first["value"], first["name"])
    if found.channels == 3:
        return Scale(0.0, 255.0, True)
    return percentile_scale(dataset, percentiles)


def as_volume(value: Volume | np.ndarray, shape: tuple[int, ...], name: str) -> Volume:
    """A volume as it is; a plain array [H, W], [D, H, W] or with channels before, as one without a place.

    Raises:
        PerrinError: an array of another number of axes, or values that are no finite numbers.
    """
    if not isinstance(value, Volume):
        array = np.asarray(value)
        array = array[None] if array.ndim == len(shape) - 1 else array
        if array.dtype.kind not in "buif" or array.ndim not in (3, 4):
            raise PerrinError(
                f"{name}: values of type {array.dtype} and shape {list(np.shape(value))}; numbers "
                f"{'[height, width]' if len(shape) == 3 else '[depth, height, width]'} are needed"
            )
        value = Volume(array.astype(np.float32), placed=False)
    if not np.isfinite(value.values).all():
        raise PerrinError(f"{name} holds NaN or infinity")
    return value


def _by(size: Sequence[int]) -> str:
    return "x".join(str(n) for n in size)

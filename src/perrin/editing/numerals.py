"""Arrays (.npy, .npz, .csv): k-space, sinograms, signals, images in the units of the model's data."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from perrin.editing.writing import save_array
from perrin.errors import PerrinError
from perrin.guide.operators import Operator
from perrin.kinds import stacked

NAMES = ("measurement", "kspace", "sinogram", "values", "image", "signal")
"""Arrays of an .npz that are taken for the measurement, the first that is there."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """A form (`form.Form`) of an array; `beside`: the other arrays of an .npz, such as `mask` and `coils`.

    `array` is `scale` times that of the file, and results are divided by it again.
    """

    array: np.ndarray
    where: str
    shape: tuple[int, ...]
    suffix: str = ".npy"
    beside: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    scale: float = 1.0

    @property
    def size(self) -> tuple[int, ...]:
        """The last axes of a state: (H, W) of planes, (T,) of signals."""
        return self.shape[-1:] if len(self.shape) < 3 else self.shape[1:]

    @property
    def missing(self) -> np.ndarray | None:
        """bool, of a state's last axes: where the array holds NaN for every item alike; None: nowhere."""
        if self.array.dtype.kind != "f" or not np.isnan(self.array).any():
            return None
        gaps = np.isnan(self._as_states()).reshape(-1, *self.size)
        if (gaps != gaps[:1]).any():
            raise PerrinError(
                f"'{self.where}' misses values at different places of its items; give one at a time"
            )
        found: np.ndarray = gaps[0]
        return found

    def values(self) -> Tensor:
        """[n, *shape] float64.

        Raises:
            PerrinError: complex numbers, or another shape.
        """
        if self.array.dtype.kind == "c":
            raise PerrinError(
                f"'{self.where}' holds complex numbers, and this model and task are of real ones; give the magnitude, or "
                "--task mri for k-space"
            )
        states = self._as_states().astype(np.float64)
        return torch.from_numpy(np.where(np.isnan(states), 0.0, states))  # `missing` says where

    def _as_states(self) -> np.ndarray:
        """[n, *shape]; of one channel the axis may be left out, and colours may come last."""
        shape, array = self.shape, self.array
        for tail in (shape, shape[1:] if shape[0] == 1 and len(shape) > 1 else shape):
            if array.shape == tail or array.shape[1:] == tail:
                return array.reshape(-1, *shape)
        last = (*shape[1:], shape[0])
        if len(shape) == 3 and last in (array.shape, array.shape[1:]):
            return np.moveaxis(array.reshape(-1, *last), -1, 1)
        raise PerrinError(
            f"'{self.where}' has shape {array.shape}; this model takes {shape}, or several of them, (n, "
            f"{', '.join(map(str, shape))})"
        )

    def measured(self, operator: Operator) -> Tensor:
        """The array as measurements; `restoration.problem` refuses what does not fit.

        Raises:
            PerrinError: real numbers for k-space, NaN.
        """
        if operator.complex_valued and self.array.dtype.kind != "c":
            raise PerrinError(
                f"'{self.where}' holds {self.array.dtype} numbers; k-space is complex, {operator.measured} with its zero "
                "frequency in the middle"
            )
        return torch.from_numpy(np.array(self.array))

    def filled(self, hole: np.ndarray) -> Tensor:
        """The hole."""
        return torch.from_numpy(hole)

    def write(self, name: str, values: Tensor, folder: Path, made: Mapping[str, Any]) -> list[Path]:
        """NAME.npy, or NAME.csv of signals that came as a table; one item without its axis."""
        values = (values[0] if len(values) == 1 else values) / self.scale
        if self.suffix != ".csv":
            return [save_array(values, folder / f"{name}.npy", made)]
        rows = values.reshape(-1, values.shape[-1]).T
        path = folder / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([[f"{number:.9g}" for number in row] for row in rows.tolist()])
        return [path]

    def stripped(self) -> None:
        """Nothing but numbers is read."""
        return


def scaled(form: Numbers, scale: float | Literal["auto"], spread: float) -> Numbers:
    """The form in other units, which a model learned: `scale` times the file's.

    Args:
        scale: "auto" gives real numbers the standard deviation `spread` of the model's data.

    Raises:
        PerrinError: a scale that is none, or auto of k-space or constant numbers.
    """
    if scale == "auto":
        deviation = 0.0 if form.array.dtype.kind == "c" else float(np.nanstd(form.array.astype(np.float64)))
        if not deviation > 0:
            raise PerrinError(
                f"the scale of '{form.where}' cannot be told: it is complex or constant; give a number"
            )
        scale = spread / deviation
        form.notes.append(
            f"'{form.where}' is taken times {scale:.4g}, so that it varies as the model's data do"
        )
    if not 0 < scale < np.inf:
        raise PerrinError(f"scale = {scale} must be a number above 0")
    return replace(form, array=form.array * scale, scale=float(scale))


def open_numbers(path: Path, shape: tuple[int, ...]) -> Numbers:
    """The array of a file.

    Raises:
        PerrinError: no numbers, or an .npz in which no array is known by its name.
    """
    suffix = path.suffix.lower()
    beside: dict[str, np.ndarray] = {}
    if suffix == ".npz":
        beside = {key: np.array(stacked.open_npz(path, key)) for key in stacked.npz_keys(path)}
        name = next((name for name in NAMES if name in beside), None)
        if name is None:
            raise PerrinError(
                f"'{path.name}' holds {', '.join(beside) or 'nothing'}; call the array to restore 'measurement', and what "
                "goes with it 'mask', 'coils' or 'angles'"
            )
        array = beside.pop(name)
    else:
        array = _table(path) if suffix == ".csv" else np.array(stacked.open_npy(path))
    if array.dtype.kind not in "biufc" or not array.size:
        raise PerrinError(f"'{path.name}' holds {array.dtype} of shape {array.shape}, not numbers")
    if not np.isfinite(array).any():
        raise PerrinError(f"'{path.name}' holds no finite number")
    return Numbers(array, path.name, shape, suffix if suffix == ".csv" else ".npy", beside)


def _table(path: Path) -> np.ndarray:
    """Columns of numbers as signals [C, T], one as [T]; an empty cell is missing."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    try:
        float(rows[0][0] or "nan")
    except (ValueError, IndexError):
        rows = rows[1:]  # names of columns
    try:
        found = np.array([[float(cell or "nan") for cell in row] for row in rows]).T
    except ValueError as error:
        raise PerrinError(
            f"'{path.name}' holds text among its numbers, or rows of several lengths: {error}"
        ) from error
    return found[0] if len(found) == 1 else found

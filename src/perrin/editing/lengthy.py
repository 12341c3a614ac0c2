"""Signals that are longer than a model's states: cut into windows that overlap, or about their gaps, and joined again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perrin.editing.numerals import Numbers
from perrin.errors import PerrinError
from perrin.kinds.volumes.patching import joined_patches, patch_places

OVERLAP = 0.5
CONTEXT = 0.25
"""Of a window about gaps, at least, is known."""


@dataclass(frozen=True, eq=False)
class Long(Numbers):
    """A form (`form.Form`) of one signal of any length above the model's; `whole` writes it.

    `starts`: of the windows; `hole`: bool, of the whole signal, once it is known that only gaps are filled.
    """

    whole: Numbers = field(kw_only=True)
    starts: list[int] = field(default_factory=list, kw_only=True)
    hole: list[np.ndarray] = field(default_factory=list, kw_only=True)

    @property
    def size(self) -> tuple[int, ...]:
        """(T,) of the whole signal."""
        return self.array.shape[-1:]

    @property
    def missing(self) -> np.ndarray | None:
        """bool [T], where it holds NaN; None: nowhere."""
        gaps: np.ndarray = np.isnan(self._rows).any(0)
        return gaps if gaps.any() else None

    @property
    def _rows(self) -> np.ndarray:
        """[C, T] float64.

        Raises:
            PerrinError: complex numbers, or other channels than the model's.
        """
        channels = self.shape[0] if len(self.shape) == 2 else 1
        if self.array.dtype.kind == "c" or self.array.reshape(-1, *self.size).shape[0] != channels:
            raise PerrinError(
                f"'{self.where}' has shape {self.array.shape} of {self.array.dtype}; this model takes {channels} "
                f"channels of real numbers, ({channels}, any length)"
            )
        return self.array.reshape(channels, *self.size).astype(np.float64)

    def values(self) -> Tensor:
        """Its windows [n, *shape]."""
        length = self.shape[-1]
        if not self.starts:
            self.starts.extend(place[0] for place in patch_places(self.size, (length,), OVERLAP))
        rows = np.where(np.isnan(self._rows), 0.0, self._rows)
        windows = np.stack([rows[:, start : start + length] for start in self.starts])
        return torch.from_numpy(windows).reshape(-1, *self.shape)

    def filled(self, hole: np.ndarray) -> Tensor:
        """Of the one window about all gaps: where they are.

        Raises:
            PerrinError: gaps that lie further apart than a window reaches.
        """
        length, total = self.shape[-1], self.size[0]
        first, last = np.flatnonzero(hole)[[0, -1]].tolist()
        if last + 1 - first > (1 - CONTEXT) * length:
            raise PerrinError(
                f"the gaps of '{self.where}' reach from {first} to {last + 1}; this model sees {length} samples at "
                f"once and needs some about them: fill those within {int((1 - CONTEXT) * length)} samples, then the others"
            )
        start = min(max((first + last + 1 - length) // 2, 0), total - length)
        self.starts[:] = [start]
        self.hole[:] = [hole]
        return torch.from_numpy(hole[start : start + length])

    def write(self, name: str, values: Tensor, folder: Path, made: Mapping[str, Any]) -> list[Path]:
        """The whole signal: joined windows, or what was known with its gaps filled."""
        return self.whole.write(name, torch.from_numpy(self.joined(name, values))[None], folder, made)

    def joined(self, name: str, values: Tensor) -> np.ndarray:
        """[C, T] of windows [n, *shape]; of "std", what was known has none."""
        windows, length = values.reshape(len(values), -1, self.shape[-1]), self.shape[-1]
        if not self.hole:
            found: np.ndarray = joined_patches(windows, [(s,) for s in self.starts], self.size).numpy()
            return found
        known = np.zeros_like(self._rows) if name == "std" else self._rows
        filled, start = known.copy(), self.starts[0]
        filled[:, start : start + length] = windows[0].numpy()
        return np.where(self.hole[0], filled, known)


def lengthened(form: Numbers) -> Numbers:
    """The form, for signals that are longer than the model's in windows.

    Raises:
        PerrinError: a signal that is shorter.
    """
    length = form.shape[-1]
    if len(form.shape) > 2 or form.array.shape[-1] == length or form.array.dtype.kind == "c":
        return form
    if form.array.shape[-1] < length:
        raise PerrinError(
            f"'{form.where}' is {form.array.shape[-1]} long, and this model restores signals of {length} and longer"
        )
    return Long(
        form.array, form.where, form.shape, form.suffix, form.beside, form.notes, form.scale, whole=form
    )

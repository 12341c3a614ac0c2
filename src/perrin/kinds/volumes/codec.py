"""Volumes <-> states: slices [C, H, W], slices with their neighbours [2 n + 1, H, W], volumes or patches [C, D, H, W].

    x = 2 (v - low) / (high - low) - 1,    log |dx / dv| = -(number of voxels) log((high - low) / 2)

Volumes are turned to the standard orientation and, where asked for, resampled to a spacing (linear, and a mean
where voxels become larger; see `resampling`); then resized and cropped to the state's size as images are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from perrin.contracts import Batch, Dataset, Item
from perrin.errors import PerrinError
from perrin.kinds.animation import save_pictures
from perrin.kinds.conditions import label_condition
from perrin.kinds.images import gallery
from perrin.kinds.images.framing import mirrored
from perrin.kinds.labels import find_label
from perrin.kinds.spread import sigma_data
from perrin.kinds.volumes import geometry, measuring, saving
from perrin.kinds.volumes.geometry import Axis
from perrin.kinds.volumes.pictures import tile_of
from perrin.kinds.volumes.rebuilding import assembled, back_in
from perrin.kinds.volumes.resampling import Grid, resampled
from perrin.kinds.volumes.scaling import Scale
from perrin.kinds.volumes.views import View, cut_volumes
from perrin.kinds.volumes.volume import Stored, Volume
from perrin.registry import unknown

if TYPE_CHECKING:
    from PIL.Image import Image

DARK = 0.1  # the share of the scale below which a voxel counts as empty


@dataclass(frozen=True)
class VolumesCodec:
    """Codec of the kind `volumes` (`contracts.Codec`).

    Args:
        shape: of a state: (C, H, W) of slices, (C, D, H, W) of volumes and patches.
        classes: class names, index = label; None for data without labels.
        sigma_data: standard deviation of the states.
        scale: low, high, whether what is beyond is clipped.
        view: what of volumes is a state.
        voxel: millimetres [d, h, w] between the voxels of a state.
        units, modality: of the training data. filled: see `fit`. flip: mirrored left to right while training.
    """

    shape: tuple[int, ...]
    classes: list[str] | None
    sigma_data: float
    scale: Scale
    view: View
    voxel: list[float]
    units: str = ""
    modality: str = ""
    filled: float = 0.0
    flip: bool = False

    kind: ClassVar[str] = "volumes"

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        *,
        axis: Axis | None = None,
        neighbours: int = 0,
        patch: int | tuple[int, int, int] | None = None,
        overlap: float = 0.5,
        size: int | tuple[int, int] | tuple[int, int, int] | None = None,
        spacing: float | tuple[float, float, float] | None = None,
        window: str | tuple[float, float] | None = None,
        percentiles: tuple[float, float] = (0.5, 99.5),
        filled: float = 0.0,
        flip: Literal["none", "left_right"] = "none",
        labels: bool = True,
    ) -> Self:
        """Choose size and scale from the training volumes, and measure sigma_data.

        Args:
            axis: learn slices of a plane: axial, coronal, sagittal; default: whole volumes (or the single images that
                the data are).
            neighbours: slices on either side of each that come along as channels: 1 makes states of 3 channels.
            patch: learn patches of so many voxels, a number or [d, h, w], of which the share `overlap` is covered by a
                neighbour.
            size: side of the state, or its sides; what has other proportions is cropped. Default: the size of all.
            spacing: resample (linearly) to voxels of so many millimetres: one number for the plane of slices or for all
                axes of volumes, or [d, h, w].
            window: a name (brain, lung, bone, soft_tissue, ...), for HU, or [centre, width]; what is beyond is clipped.
            percentiles: without a window, those of the training values that become -1 and 1; nothing is clipped.
            filled: leave out pieces of which less than this share is brighter than a tenth of the scale.
            flip: "left_right" mirrors half of the items while training, for planes that show left and right.
            labels: False makes states without a condition.

        Raises:
            PerrinError: options that exclude one another, several sizes without a decision, a window in HU for values
                that are none, data of one value.
        """
        view = View.of(axis, neighbours, patch, overlap, spacing)
        if flip not in ("none", "left_right"):
            raise unknown("flip", flip, ("none", "left_right"))
        if flip == "left_right" and axis == "sagittal":
            raise PerrinError("flip: left_right does not go with sagittal slices, which show front and back")
        found = measuring.looked_at(dataset, view)
        if neighbours and (found.flat or found.channels != 1):
            raise PerrinError("neighbours are for grey volumes; single slices and colours have none")
        frame = measuring.spatial_size(found, size, view)
        channels = 2 * neighbours + 1 if neighbours else found.channels
        made = cls(
            (channels, *frame),
            dataset.classes if labels else None,
            1.0,
            measuring.chosen_scale(dataset, found, window, percentiles),
            view,
            measuring.voxel_size(found, frame),
            found.units,
            found.modality,
            filled,
            flip == "left_right",
        )
        return replace(made, sigma_data=sigma_data(lambda items: made.encode(items).state, made.cut(dataset)))

    @property
    def lattice(self) -> None:
        """None: values are continuous."""
        return None

    @property
    def affine(self) -> tuple[float, float]:
        """Values are the middle of the scale, and half of its width times the state."""
        return (self.scale.high + self.scale.low) / 2, (self.scale.high - self.scale.low) / 2

    @property
    def categories(self) -> None:
        """None: states are continuous."""
        return None

    @property
    def augments(self) -> bool:
        """Whether seeds change what `encode` gives."""
        return self.flip

    @property
    def augments_states(self) -> bool:
        """True: all that seeds do is to mirror states."""
        return True

    def augmented(self, state: Tensor, seeds: Sequence[int]) -> Tensor:
        """States that were encoded without seeds, mirrored as each item's seed says."""
        if not self.flip:
            return state
        chosen = torch.tensor([mirrored("horizontal", seed)[0] for seed in seeds], dtype=torch.bool)
        return torch.where(chosen.reshape(-1, *[1] * len(self.shape)), state.flip(-1), state)

    @property
    def flat(self) -> bool:
        """Whether states are slices, with or without neighbours."""
        return len(self.shape) == 3

    def cut(self, dataset: Dataset) -> Dataset:
        """Slices or patches of whole volumes; pieces and single slices stay as they are."""

        def holds(values: np.ndarray) -> bool:
            threshold = self.scale.low + DARK * (self.scale.high - self.scale.low)
            return bool((values > threshold).mean() >= self.filled)

        return cut_volumes(dataset, self.view, holds if self.filled else None)

    def length(self, u: float) -> int:
        """The first spatial side of a state: all have the same."""
        return self.shape[1]

    def encode(self, items: Sequence[Item], seeds: Sequence[int] | None = None) -> Batch:
        """Volumes, pieces or plain arrays to states; a mirror image follows each item's seed.

        Raises:
            PerrinError: a volume where slices are learned (`cut` makes them), other channels, NaN.
        """
        values = [self._framed(item["value"], item["name"]) for item in items]
        state = torch.from_numpy(np.stack(values)) if values else torch.empty(0, *self.shape)
        state = state if seeds is None else self.augmented(state, seeds)
        return Batch(state, label_condition(items, self.classes))

    def _framed(self, value: Any, name: str) -> np.ndarray:
        volume = measuring.as_volume(value, self.shape, name)
        if not self.flat and volume.flat:
            raise PerrinError(f"{name} is a single slice; this model's states are volumes {self.shape[1:]}")
        volume = volume if self.flat else volume.standard()
        depth = self.shape[0] if self.view.neighbours else 1
        if self.flat and volume.stack.shape[1] != depth:
            raise PerrinError(
                f"{name} has {volume.stack.shape[1]} slices and this model takes {depth} at once; cut it into slices "
                "with codec.cut"
            )
        if not self.view.neighbours and volume.channels != self.shape[0]:
            raise PerrinError(
                f"{name} has {volume.channels} channels; this model's states have {self.shape[0]}"
            )
        frame = self.shape[1:]
        spacing = (None, *self.view.spacing[1:]) if self.flat else self.view.spacing
        if isinstance(value, Volume) and any(spacing):
            volume = resampled(volume, Grid.spaced(volume, spacing))
        if volume.stack.shape[-len(frame) :] != frame:
            volume = resampled(volume, Grid.covering(volume.stack.shape[1:], frame))
        return self.normalise(replace(volume, values=volume.stack).bright()).reshape(self.shape)

    def normalise(self, values: np.ndarray) -> np.ndarray:
        """Values to -1 .. 1, float32."""
        low, high, clip = self.scale
        found = (2 * (values.astype(np.float64) - low) / (high - low) - 1).astype(np.float32)
        return np.clip(found, -1, 1) if clip else found

    def decode(self, state: Tensor) -> list[Volume]:
        """States to volumes in the standard orientation, at no particular place; marked as synthetic when written."""
        affine = geometry.standard(self.voxel, self.view.axis or "axial")
        stored = Stored("uint8") if not self.view.neighbours and self.shape[0] == 3 else Stored()
        photometric = "RGB" if stored.dtype == "uint8" else "MONOCHROME2"
        return [
            Volume(values, affine, stored, self.units, self.modality, photometric, header={"synthetic": True})
            for values in self._values(state)
        ]

    def _values(self, state: Tensor) -> list[np.ndarray]:
        if tuple(state.shape[1:]) != self.shape:
            raise PerrinError(f"states have shape {tuple(state.shape[1:])}, this codec decodes {self.shape}")
        state = state.detach().cpu()
        bad = (~torch.isfinite(state.flatten(1)).all(1)).nonzero().flatten().tolist()
        if bad:
            raise PerrinError(f"state {bad[0]} holds NaN or infinity ({len(bad)} of {len(state)} do)")
        low, high, clip = self.scale
        found = state.double().clamp(-1, 1) if clip else state.double()
        values = (low + (found + 1) * ((high - low) / 2)).numpy().astype(np.float32)
        return [one[None] if self.view.neighbours else one for one in values]

    def decode_like(self, state: Tensor, originals: Sequence[Volume]) -> list[Volume]:
        """States of given volumes or pieces back in their own geometry, orientation and photometric sense.

        Raises:
            PerrinError: originals that `encode` resizes, so that their own voxels are lost.
        """
        return [
            back_in(original, values) for values, original in zip(self._values(state), originals, strict=True)
        ]

    def assemble(self, state: Tensor, original: Volume) -> Volume:
        """The states [N, *shape] of all pieces of a volume, as `cut` orders them, put together in its own geometry.

        Patches are blended where they overlap, and so are slices with their neighbours.

        Raises:
            PerrinError: states of fewer pieces, or of a codec that resizes.
        """
        values = np.stack([one[:, None] if one.ndim == 3 else one for one in self._values(state)])
        return assembled(original, values, self.view)

    def tiles(self, decoded: Sequence[Volume]) -> list[np.ndarray]:
        """A picture of each: a slice, or three planes, in the codec's window; uint8."""
        return [tile_of(volume, self.scale, middle=self.view.neighbours > 0) for volume in decoded]

    def save(self, decoded: Sequence[Volume], path: Path, provenance: Sequence[dict[str, Any]]) -> list[Path]:
        """Write NIfTI, DICOM or PNG files with their provenance inside; see `saving.save_volumes`."""
        return saving.save_volumes(decoded, self.tiles(decoded), Path(path), provenance, self.classes)

    def picture(self, decoded: Sequence[Volume], columns: int | None = None) -> Image | None:
        """A grid of all: slices, or the three middle planes of volumes; None for none."""
        return gallery.grid(self.tiles(decoded), columns) if len(decoded) else None

    def save_trajectory(
        self, states: Sequence[Tensor], path: Path, provenance: Sequence[dict[str, Any]]
    ) -> Path:
        """Write states [B, *shape], in the order in which they came about, as an animated GIF."""
        return save_pictures(self, states, path, provenance)

    def label(self, name: str | int) -> int:
        """The index of a class by its name, or by its index; the nearest name in the error."""
        return find_label(self.classes, name)

    def log_det(self) -> float:
        """`log |dx/dv|` per item, in nats; of a window for values inside it."""
        return -math.prod(self.shape) * math.log((self.scale.high - self.scale.low) / 2)

    def config(self) -> dict[str, Any]:
        """JSON-able, complete."""
        return {
            "kind": self.kind,
            **{field.name: getattr(self, field.name) for field in fields(self)},
            "shape": list(self.shape),
            "scale": list(self.scale),
            "view": self.view.config(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The codec that wrote this `config()`."""
        known = [field.name for field in fields(cls)]
        for key in config:
            if key not in (*known, "kind"):
                raise unknown("codec option", key, known)
        held = {key: value for key, value in config.items() if key != "kind"}
        view, scale = View.from_config(held["view"]), Scale(*held["scale"])
        return cls(**{**held, "shape": tuple(held["shape"]), "scale": scale, "view": view})

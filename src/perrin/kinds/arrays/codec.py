"""Arrays <-> states: standardised values, `x = (v - mean) / std`, float32.

`mean` and `std` are measured per feature (each place of an item has its own) or globally (one for all).
Per item, `log |dx/dv| = - sum over features of log std`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor

from perrin.contracts import Batch, Dataset, Item, Lattice
from perrin.errors import PerrinError
from perrin.kinds.animation import save_pictures
from perrin.kinds.arrays import plots, saving
from perrin.kinds.conditions import label_condition
from perrin.kinds.labels import find_label
from perrin.kinds.spread import sigma_data
from perrin.registry import unknown

if TYPE_CHECKING:
    from PIL.Image import Image

Standardise = Literal["feature", "global", "none"]
_BLOCK = 1_024


@dataclass(frozen=True)
class ArrayCodec:
    """Codec of the kind `arrays` (`contracts.Codec`).

    Args:
        shape: of an item and of its state.
        classes: class names, index = label; None for data without labels.
        sigma_data: standard deviation of the states.
        mean, std: one number, or one per feature in row-major order.
        dtype: of decoded values, "float32" or "float64": that of the data (whole numbers become float64).
        columns: names of the features, where the data name them.
        whole: (smallest, largest) values of data that are whole numbers, each like `mean`; None for others.
    """

    shape: tuple[int, ...]
    classes: list[str] | None
    sigma_data: float
    mean: list[float]
    std: list[float]
    dtype: str = "float64"
    columns: list[str] | None = None
    whole: tuple[list[float], list[float]] | None = None

    kind: ClassVar[str] = "arrays"

    @classmethod
    def fit(cls, dataset: Dataset, *, standardise: Standardise | None = None, labels: bool = True) -> Self:
        """Measure mean and standard deviation in one pass over all items.

        Args:
            standardise: "feature", "global" or "none"; default: "feature" for vectors, "global" for items
                with more axes, whose neighbouring values share one scale.
            labels: False makes states without a condition; the data keep their labels, for splits and judging.

        Raises:
            PerrinError: an empty dataset, items of different shapes, values too large for float64 squares.
        """
        if not len(dataset):
            raise PerrinError("the dataset is empty")
        first = dataset[0]["value"]
        standardise = standardise or ("feature" if first.ndim == 1 else "global")
        if standardise not in get_args(Standardise):
            raise unknown("standardise", standardise, get_args(Standardise))
        mean, std = _moments(dataset, standardise)
        dtype = "float32" if first.dtype in (np.float16, np.float32) else "float64"
        columns = dataset.description.get("columns")
        classes = dataset.classes if labels else None
        codec = cls(first.shape, classes, 1.0, mean, std, dtype, columns, _whole(dataset, standardise))
        return replace(codec, sigma_data=sigma_data(lambda items: codec.encode(items).state, dataset))

    @property
    def lattice(self) -> Lattice | None:
        """The states of whole numbers from the data's smallest to their largest; None for other data."""
        if self.whole is None:
            return None
        mean, std = self._scaling
        least, most = (torch.tensor(v, dtype=torch.float64).reshape(mean.shape) for v in self.whole)
        return Lattice((least - mean) / std, 1 / std, (most - least).long() + 1)

    @property
    def affine(self) -> tuple[float, float]:
        """Values are mean + std x, where all features share them.

        Raises:
            PerrinError: features with scales of their own.
        """
        if len(self.mean) > 1 and len({*zip(self.mean, self.std, strict=True)}) > 1:
            raise PerrinError(
                "every feature of this model has a scale of its own; train with codec.standardise: global"
            )
        return self.mean[0], self.std[0]

    @property
    def categories(self) -> None:
        """None: states are continuous."""
        return None

    @property
    def augments(self) -> bool:
        """Whether seeds change what `encode` gives: never."""
        return False

    def encode(self, items: Sequence[Item], seeds: Sequence[int] | None = None) -> Batch:
        """Items of this codec's shape to states `[B, *shape]`; nothing is random, so seeds do nothing."""
        for item in items:
            if item["value"].shape != self.shape:
                raise PerrinError(
                    f"{item['name']} has shape {item['value'].shape}, this codec encodes {self.shape}"
                )
            if not np.isfinite(item["value"]).all():
                raise PerrinError(f"{item['name']} holds NaN or infinity")
        values = np.stack([item["value"] for item in items]) if items else np.empty((0, *self.shape))
        state = self.normalise(torch.from_numpy(values.astype(np.float64))).float()
        return Batch(state, label_condition(items, self.classes))

    def normalise(self, values: Tensor) -> Tensor:
        """`(v - mean) / std` in float64."""
        mean, std = self._scaling
        return (values - mean) / std

    @cached_property
    def _scaling(self) -> tuple[Tensor, Tensor]:
        shape = self.shape if len(self.mean) > 1 else (1,) * len(self.shape)
        mean, std = (
            torch.tensor(numbers, dtype=torch.float64).reshape(shape) for numbers in (self.mean, self.std)
        )
        return mean, std

    def decode(self, state: Tensor) -> list[np.ndarray]:
        """States `[B, *shape]` to values `[*shape]` of the data's type: `v = mean + std x` in float64."""
        if tuple(state.shape[1:]) != self.shape:
            raise PerrinError(f"states have shape {tuple(state.shape[1:])}, this codec decodes {self.shape}")
        state = state.detach().cpu().double()
        bad = (~torch.isfinite(state.flatten(1)).all(1)).nonzero().flatten().tolist()
        if bad:
            raise PerrinError(f"state {bad[0]} holds NaN or infinity ({len(bad)} of {len(state)} do)")
        mean, std = self._scaling
        return list((mean + std * state).numpy().astype(self.dtype))

    def save(
        self, decoded: Sequence[np.ndarray], path: Path, provenance: Sequence[dict[str, Any]]
    ) -> list[Path]:
        """Write one file of all items with a JSON sidecar; see `saving.save_arrays`. A `.png` is their picture."""
        if Path(path).suffix.lower() == ".png":
            return [saving.save_picture(self.picture(decoded), Path(path), provenance)]
        return saving.save_arrays(decoded, Path(path), provenance, self.classes, self.columns)

    def picture(self, decoded: Sequence[np.ndarray], columns: int | None = None) -> Image | None:
        """Points as a scatter plot, series as lines, planes as a grid of grey pictures; else None."""
        return plots.picture(decoded, self.columns, columns)

    def save_trajectory(
        self, states: Sequence[Tensor], path: Path, provenance: Sequence[dict[str, Any]]
    ) -> Path:
        """Write states [B, *shape], in the order in which they came about, as an animated GIF."""
        return save_pictures(self, states, path, provenance)

    def label(self, name: str | int) -> int:
        """The index of a class by its name, or by its index; the nearest name in the error."""
        return find_label(self.classes, name)

    def log_det(self) -> float:
        """`log |dx/dv|` per item, in nats."""
        each = math.prod(self.shape) // len(self.std)
        return -each * math.fsum(math.log(std) for std in self.std)

    def config(self) -> dict[str, Any]:
        """JSON-able, complete."""
        return {"kind": self.kind, **asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The codec that wrote this `config()`."""
        known = [field.name for field in fields(cls)]
        for key in config:
            if key not in (*known, "kind"):
                raise unknown("codec option", key, known)
        options = {key: config[key] for key in config if key != "kind"}
        if options.get("whole") is not None:  # JSON has no tuples
            options["whole"] = tuple(options["whole"])
        return cls(**{**options, "shape": tuple(config["shape"])})


def _moments(dataset: Dataset, standardise: Standardise) -> tuple[list[float], list[float]]:
    """Mean and standard deviation, block by block (Chan, Golub and LeVeque 1979, which does not cancel)."""
    if standardise == "none":
        return [0.0], [1.0]
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    least, most = np.full(1, np.inf), np.full(1, -np.inf)
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        for start in range(0, len(dataset), _BLOCK):
            values = _block(dataset, start, standardise)
            shift = values.mean(axis=0) - mean
            total = count + len(values)
            squares = squares + values.var(axis=0) * len(values) + shift**2 * (count * len(values) / total)
            mean, count = mean + shift * (len(values) / total), total
            least, most = np.minimum(least, values.min(axis=0)), np.maximum(most, values.max(axis=0))
    std = np.sqrt(squares / count)
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        raise PerrinError("the values are too large: the sum of their squares is no float64 number")
    # A feature that never changes is encoded as 0. Its scale is tiny rather than 1, so that the small errors
    # of a model's state come out as the constant itself.
    constant = (least == most) | (std == 0)
    mean = np.where(constant, least, mean)
    return mean.tolist(), np.where(constant, 1e-6 * np.maximum(1, np.abs(mean)), std).tolist()


def _whole(dataset: Dataset, standardise: Standardise) -> tuple[list[float], list[float]] | None:
    """(smallest, largest) values, per feature or of all; None where some value is no whole number."""
    least, most = np.full(1, np.inf), np.full(1, -np.inf)
    for start in range(0, len(dataset), _BLOCK):
        values = _block(dataset, start, standardise)
        if (values != np.round(values)).any():
            return None
        least, most = np.minimum(least, values.min(axis=0)), np.maximum(most, values.max(axis=0))
    return least.tolist(), most.tolist()


def _block(dataset: Dataset, start: int, standardise: Standardise) -> np.ndarray:
    values = [dataset[i]["value"] for i in range(start, min(start + _BLOCK, len(dataset)))]
    if len({value.shape for value in values}) > 1:
        raise PerrinError(f"items of different shapes: {sorted({value.shape for value in values})}")
    flat = np.stack(values).astype(np.float64)
    return flat.reshape(len(values), -1) if standardise == "feature" else flat.reshape(-1, 1)

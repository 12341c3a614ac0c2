"""Pictures in one array of an `.npz` file, with their labels. Out with the same names, types and number of axes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perrin.augmenting.layouts.made import Made
from perrin.errors import PerrinError
from perrin.kinds import stacked
from perrin.kinds.images.pixels import channels_of
from perrin.kinds.images.stacks import ImageStack
from perrin.kinds.provenance import write_sidecar
from perrin.saving import replacing

NAMES = ("label_names", "classes")


@dataclass(frozen=True)
class Stack:
    """An `.npz` file of pictures, or the bundled digits, which are written as one.

    Args:
        real: as opened; path: of the file; options: that it was opened with.
    """

    real: ImageStack
    path: Path
    options: dict[str, Any]
    suffix: str = ".npz"
    form: str = "an .npz file"

    def write(self, target: Path, made: Made, with_real: bool) -> list[Path]:
        """`images` and `labels`, with the prefix of the subset; other subsets are kept beside the real pictures."""
        subset = self.options.get("subset")
        prefix = f"{subset}_" if subset else ""
        images = self._pictures(made)
        if with_real:
            if images.shape[1:] != self.real.images.shape[1:]:
                raise PerrinError(
                    f"pictures of {images.shape[1:3]} and real ones of {self.real.images.shape[1:3]} do not fit into one "
                    "array; bring them to one size with resize"
                )
            images = np.concatenate([self.real.images, images])
        held = {f"{prefix}images": images} | self._labels(made, f"{prefix}labels", with_real)
        held |= self._others(prefix, with_real)
        with replacing(target) as part, part.open("wb") as out:
            np.savez_compressed(out, **held)  # type: ignore[arg-type]  # NumPy types the keywords as its own options
        real_rows = {"real_rows": len(self.real)} if with_real else {}
        write_sidecar(target, {**real_rows, "items": [dict(one) for one in made.provenance]})
        return [target]

    def _pictures(self, made: Made) -> np.ndarray:
        """uint8 pictures as the array holds its own: type, range and channels."""
        real = self.real.images
        pixels = np.stack(list(made.values))
        if real.ndim == 4:
            colours = {1: 1, 2: 1, 3: 3, 4: 3}[real.shape[-1]]
            if colours != channels_of(made.values[0]):
                raise PerrinError(
                    f"pictures of {channels_of(made.values[0])} channels and real ones of {colours} do not fit into one "
                    "array; bring them to one form with resize"
                )
            pixels = pixels.reshape(*pixels.shape[:3], colours)
            if real.shape[-1] in (2, 4):  # opaque
                pixels = np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], axis=-1)
        if real.dtype == np.bool_:
            return pixels > 127
        if real.dtype.kind == "f":
            return (pixels / 255).astype(real.dtype)
        return pixels.astype(real.dtype)

    def _labels(self, made: Made, key: str, with_real: bool) -> dict[str, np.ndarray]:
        if made.labels is None or made.names is None:
            return {}
        if self.path.suffix != ".npz":  # the bundled digits
            own = np.asarray(self.real.labels)
        else:
            own = stacked.open_npz(self.path, key)
        new = np.array(made.labels if own.dtype.kind in "iu" else made.names)
        new = new.astype(own.dtype) if own.dtype.kind in "iu" else new
        return {key: np.concatenate([own, new]) if with_real else new}

    def _others(self, prefix: str, with_real: bool) -> dict[str, np.ndarray]:
        """The names of the classes; beside real pictures all that is not of their subset too."""
        if self.path.suffix != ".npz":
            return {}
        keys = [
            key for key in stacked.npz_keys(self.path) if key not in (f"{prefix}images", f"{prefix}labels")
        ]
        return {key: stacked.open_npz(self.path, key) for key in keys if with_real or key in NAMES}

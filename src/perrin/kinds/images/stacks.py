"""Images that lie in one array: `.npz` files, and the digits that come with scikit-learn.

`.npz`: `images` [n, H, W] or [n, H, W, C] and `labels` [n]; or `train_images`, `train_labels`, `test_images`,
`test_labels` with `subset`. uint8 0..255 as it is; booleans and floats 0..1 are scaled to 0..255 and rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds import stacked
from perrin.kinds.images.pixels import on_white
from perrin.kinds.labels import index_labels
from perrin.registry import unknown


@dataclass(frozen=True)
class ImageStack:
    """Images of one size in an array; `as_pixels` makes one of them uint8 `[H, W]` or `[H, W, 3]`."""

    images: np.ndarray
    as_pixels: Callable[[np.ndarray], np.ndarray]
    labels: np.ndarray | None
    classes: list[str] | None
    sha256: str

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> np.ndarray:
        """Pixels of one image, uint8."""
        return self.as_pixels(self.images[index])

    def name(self, index: int) -> str:
        """Its place in the array."""
        return f"image {index}"


def read_digits(labels: bool = True) -> ImageStack:
    """The 1,797 digits of 8 x 8 pixels bundled with scikit-learn; 0..16 becomes 0..255.

    E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    found = digits.target.astype(np.int64) if labels else None
    classes = [str(i) for i in range(10)] if labels else None
    return ImageStack(pixels, np.asarray, found, classes, stacked.digest(pixels, found))


def read_npz(path: Path, subset: str | None = None, labels: bool = True) -> ImageStack:
    """Open an `.npz` file of images.

    Raises:
        PerrinError: no such array, values that are no pixels (NaN, outside 0..255 or 0..1), labels of another
            length.
    """
    prefix = _prefix(path, subset)
    images = stacked.open_npz(path, f"{prefix}images")
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] not in (1, 2, 3, 4)):
        raise PerrinError(
            f"'{prefix}images' of '{path}' has shape {images.shape}; "
            "images are [n, height, width] or [n, height, width, channels]"
        )
    if not len(images):
        raise PerrinError(f"'{prefix}images' of '{path}' is empty")
    names = stacked.npz_keys(path)
    found = stacked.open_npz(path, f"{prefix}labels") if labels and f"{prefix}labels" in names else None
    if found is not None and found.shape != (len(images),):
        raise PerrinError(f"'{path}' has {len(images):,} images and labels of shape {found.shape}")
    named = _class_names(path, names, found)
    indexed = index_labels([] if found is None else found.tolist(), f"labels of '{path}'", named)
    scale = _scale(images, f"'{prefix}images' of '{path}'")
    return ImageStack(images, _as_pixels(scale), *indexed, stacked.digest(images, found))


def _prefix(path: Path, subset: str | None) -> str:
    keys = stacked.npz_keys(path)
    if subset is not None:
        if f"{subset}_images" not in keys:
            parts = [key.removesuffix("_images") for key in keys if key.endswith("_images")]
            raise unknown(f"subset of '{path}'", subset, parts)
        return f"{subset}_"
    if "images" in keys:
        return ""
    if "train_images" in keys:
        raise PerrinError(f"'{path}' holds several sets of images; write subset: train or subset: test")
    raise PerrinError(
        f"'{path}' has no array 'images' but {', '.join(keys) or 'none at all'}; "
        "for other data use kind: arrays"
    )


def _class_names(path: Path, keys: list[str], labels: np.ndarray | None) -> list[str | None] | None:
    """One name per item from an array `label_names` or `classes`, where the file has one."""
    key = next((key for key in ("label_names", "classes") if key in keys), None)
    if key is None or labels is None or labels.dtype.kind not in "iu":
        return None
    names = stacked.open_npz(path, key).tolist()
    if labels.size and (labels.min() < 0 or labels.max() >= len(names)):
        raise PerrinError(
            f"'{path}' names {len(names)} classes and has labels from {labels.min()} to {labels.max()}"
        )
    return [names[label] for label in labels.tolist()]


def _scale(images: np.ndarray, where: str) -> float:
    """What to multiply by to reach 0..255."""
    if images.dtype == np.uint8:
        return 1.0
    if images.dtype == bool:
        return 255.0
    if images.dtype.kind not in "iuf":
        raise PerrinError(f"{where} holds {images.dtype}, not numbers")
    least, most = np.inf, -np.inf
    start = 0
    for block in stacked.blocks(images):
        bad = np.flatnonzero(~np.isfinite(block).all(axis=tuple(range(1, block.ndim))))
        if len(bad):
            raise PerrinError(f"{where}: image {start + int(bad[0])} holds NaN or infinity")
        least, most, start = min(least, float(block.min())), max(most, float(block.max())), start + len(block)
    top = 1.0 if images.dtype.kind == "f" else 255.0
    if least < 0 or most > top:
        raise PerrinError(
            f"{where} holds {images.dtype} from {least:g} to {most:g}; "
            "write whole numbers 0..255 or floats 0..1, or use kind: arrays"
        )
    return 255.0 / top


def _as_pixels(scale: float) -> Callable[[np.ndarray], np.ndarray]:
    def pixels(image: np.ndarray) -> np.ndarray:
        if image.dtype != np.uint8:
            image = np.rint(image * scale).astype(np.uint8)
        if image.ndim == 3 and image.shape[-1] in (2, 4):
            return on_white(image)
        return np.asarray(image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image)

    return pixels

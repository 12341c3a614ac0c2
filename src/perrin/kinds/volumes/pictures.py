"""Pictures of volumes: a slice as it is, a volume as its three middle planes side by side, in the codec's window."""

from __future__ import annotations

import numpy as np
from PIL import Image

from perrin.kinds.volumes.geometry import PLANES, Axis
from perrin.kinds.volumes.scaling import Scale
from perrin.kinds.volumes.volume import Volume

_GAP = 2
_LEAST = 0.05  # of the longest side: a plane of two thin slices is still seen


def tile_of(volume: Volume, scale: Scale, middle: bool = False) -> np.ndarray:
    """uint8 [H, W], or [H, W, 3] of colours: grey levels from the scale's low to its high.

    Args:
        middle: show the middle slice of a slab alone.
    """
    shades = _shades(volume.bright(), scale)
    if volume.flat or middle:
        one = shades if volume.flat else shades[:, shades.shape[1] // 2]
        down, across = volume.spacing[1:]
        return _scaled(one, down, across, min(down, across))
    planes = [_plane(shades, volume.spacing, axis) for axis in ("axial", "coronal", "sagittal")]
    high = max(plane.shape[0] for plane in planes)
    wide = sum(plane.shape[1] for plane in planes) + _GAP * (len(planes) - 1)
    sheet = np.zeros((high, wide, *planes[0].shape[2:]), np.uint8)
    left = 0
    for plane in planes:
        top = (high - plane.shape[0]) // 2
        sheet[top : top + plane.shape[0], left : left + plane.shape[1]] = plane
        left += plane.shape[1] + _GAP
    return sheet


def _shades(values: np.ndarray, scale: Scale) -> np.ndarray:
    share = (values.astype(np.float32) - scale.low) / (scale.high - scale.low)
    found: np.ndarray = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
    return found


def _plane(shades: np.ndarray, spacing: tuple[float, ...], axis: Axis) -> np.ndarray:
    """The middle plane of shades [C, D, H, W] that lie in the standard orientation."""
    order, flips = PLANES[axis]
    seen = shades.transpose(0, *(1 + i for i in order))
    seen = np.flip(seen, tuple(1 + i for i, flipped in enumerate(flips) if flipped))
    return _scaled(seen[:, seen.shape[1] // 2], spacing[order[1]], spacing[order[2]], min(spacing))


def _scaled(shades: np.ndarray, down: float, across: float, least: float) -> np.ndarray:
    """Shades [C, H, W] in the body's proportions, a pixel for every `least` millimetres."""
    pixels = shades[0] if len(shades) == 1 else np.ascontiguousarray(shades.transpose(1, 2, 0))
    if max(down, across) / least < 1.01:
        return pixels
    longest = max(pixels.shape[:2])
    height, width = (
        max(round(n * s / least), round(_LEAST * longest), 1)
        for n, s in zip(pixels.shape[:2], (down, across), strict=True)
    )
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))

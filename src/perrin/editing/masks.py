"""Masks of holes, sampling patterns and spans, as people draw and write them.

White marks what is to be filled, as pipelines that repaint pictures have it; in an array True or 1.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from perrin.errors import PerrinError
from perrin.kinds import stacked

WHITE = 128


def read_hole(path: Path, size: tuple[int, ...], where: str) -> np.ndarray:
    """bool [*size]: what is to be filled.

    Args:
        path: a black and white picture, or .npy of bools.
        size: of what it is for; where: the name of that.

    Raises:
        PerrinError: another size, transparency, or a mask of one colour.
    """
    hole = _flags(path)
    if hole.shape != size:
        raise PerrinError(
            f"the mask '{path.name}' is {sizes(hole.shape)} and '{where}' is {sizes(size)}; give a mask of the same size"
        )
    if not hole.any():
        raise PerrinError(
            f"the mask '{path.name}' is black everywhere, so nothing is to be filled; white marks it"
        )
    if hole.all():
        raise PerrinError(
            f"the mask '{path.name}' is white everywhere, so nothing would be left to go by; black marks what is kept"
        )
    return hole


def read_pattern(path: Path, size: tuple[int, ...]) -> np.ndarray:
    """bool [H, W] or [W]: which frequencies a scan measures (white, True).

    Raises:
        PerrinError: another size, or nothing that is measured.
    """
    pattern = _flags(path)
    if pattern.shape not in (size, size[1:]):
        raise PerrinError(
            f"the sampling mask '{path.name}' is {sizes(pattern.shape)}; the model's k-space is {sizes(size)}, or a row "
            f"of {size[1]} for whole columns"
        )
    if not pattern.any():
        raise PerrinError(
            f"the sampling mask '{path.name}' measures nothing; white or True marks what is measured"
        )
    return pattern


def spans(text: str) -> list[tuple[int, int]]:
    """Gaps such as "120:180,400:440".

    Raises:
        PerrinError: anything else.
    """
    found = []
    for part in text.split(","):
        start, colon, stop = part.strip().partition(":")
        if not (colon and start.strip().isdigit() and stop.strip().isdigit()):
            raise PerrinError(
                f"gaps {text!r}: write start:stop in samples, several with commas: 120:180,400:440"
            )
        found.append((int(start), int(stop)))
    return found


def sizes(shape: Sequence[int]) -> str:
    """A size for people: width x height of a plane, as pictures are spoken of, else all axes."""
    if len(shape) == 1:
        return f"{shape[0]} long"
    return " x ".join(map(str, shape[::-1] if len(shape) == 2 else shape))


def _flags(path: Path) -> np.ndarray:
    if not path.is_file():
        raise PerrinError(f"no mask '{path}'")
    if path.suffix.lower() == ".npy":
        held = stacked.open_npy(path)
        if held.dtype.kind not in "bui" or (held.dtype.kind != "b" and held.max(initial=0) > 1):
            raise PerrinError(f"the mask '{path.name}' holds {held.dtype}; write bools, or 0 and 1")
        return np.array(held).astype(bool)
    try:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            return _whites(image, path.name)
    except (UnidentifiedImageError, OSError) as error:
        raise PerrinError(f"the mask '{path.name}' is no picture that can be read, and no .npy") from error


def _whites(image: Image.Image, name: str) -> np.ndarray:
    """A transparent pixel means "fill" to some programs and "keep" to others, so there is none to guess."""
    if image.has_transparency_data and int(np.asarray(image.convert("RGBA"))[..., 3].min()) < 255:
        raise PerrinError(
            f"the mask '{name}' is transparent in places, which means opposite things to different programs; save it as "
            "black (keep) and white (fill)"
        )
    found: np.ndarray = np.asarray(image.convert("L")) >= WHITE
    return found

"""Images on their way out: PNG files that say how they were made, grids to look at."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from perrin.errors import PerrinError
from perrin.kinds.files import item_file, numbers
from perrin.kinds.labels import class_name
from perrin.kinds.provenance import png_text
from perrin.saving import replacing

TILE = 64  # pixels: smaller images are enlarged to about this side, each pixel a sharp square
GAP = 2
Texts = Callable[[Mapping[str, Any]], Mapping[str, str]]
IN_GRID = 400  # images in the grid of a saved batch: 20 x 20


def save_images(
    decoded: Sequence[np.ndarray],
    path: Path,
    provenance: Sequence[Mapping[str, Any]],
    classes: Sequence[str] | None = None,
    grid_too: bool = True,
    others: Texts = lambda made: {},
) -> list[Path]:
    """Write images with their provenance inside.

    Args:
        decoded: uint8 `[H, W]` or `[H, W, 3]`.
        path: `NAME.png`: one file, the image itself or a grid of several. Any other name is a folder for
            `00000_label.png`, `00001_label.png`, ... and `grid.png` of the first 400.
        provenance: one each. `index` in it is the number in the file's name (default: its place in
            `decoded`), `label` the class (a name or an index).
        others: of a provenance, the texts beside it that an image of one sample carries for other tools.

    Returns:
        The files, the grid last.

    Raises:
        PerrinError: another suffix than .png, or a file that cannot be written; those before it remain.
    """
    if len(decoded) != len(provenance):
        raise ValueError(f"{len(decoded)} images with {len(provenance)} provenances")
    if path.suffix.lower() not in ("", ".png") and not path.is_dir():
        raise PerrinError(
            f"images are saved as .png (lossless, with provenance inside) or into a folder, not '{path}'"
        )
    if path.suffix.lower() == ".png":
        if len(decoded) == 1:
            return [save_png(Image.fromarray(decoded[0]), path, provenance[0], others(provenance[0]))]
        return [save_png(grid(decoded), path, {"items": list(provenance)})]
    written = []
    for number, pixels, made in zip(numbers(provenance), decoded, provenance, strict=True):
        name = item_file(number, class_name(made.get("label"), classes), ".png")
        written.append(save_png(Image.fromarray(pixels), path / name, made, others(made)))
    if grid_too and len(decoded) > 1:
        made_all = {"items": list(provenance[:IN_GRID])}
        written.append(save_png(grid(decoded[:IN_GRID]), path / "grid.png", made_all))
    return written


def save_png(
    image: Image.Image, path: Path, provenance: Mapping[str, Any], others: Mapping[str, str] | None = None
) -> Path:
    """Write one PNG with a text chunk `perrin`, and others; a full disk leaves no half file."""
    with replacing(path) as part:
        image.save(part, format="PNG", pnginfo=png_text(provenance, others))
    return path


def read_png(path: Path) -> np.ndarray:
    """The pixels of a file that `save_images` wrote, a grid as one picture."""
    with Image.open(path) as image:
        return np.asarray(image)


def grid(decoded: Sequence[np.ndarray], columns: int | None = None) -> Image.Image:
    """All images side by side, row by row, small ones enlarged by a whole factor.

    Args:
        columns: images in a row; default: as square as they go.
    """
    columns = columns or math.ceil(math.sqrt(len(decoded)))
    first = np.asarray(decoded[0])
    height, width = first.shape[:2]
    factor = max(1, TILE // max(height, width))
    step_down, step_right = factor * height + GAP, factor * width + GAP
    rows = math.ceil(len(decoded) / columns)
    sheet = np.full((rows * step_down + GAP, columns * step_right + GAP, *first.shape[2:]), 255, np.uint8)
    for place, image in enumerate(decoded):
        top, left = GAP + place // columns * step_down, GAP + place % columns * step_right
        sheet[top : top + factor * height, left : left + factor * width] = image.repeat(factor, 0).repeat(
            factor, 1
        )
    return Image.fromarray(sheet)

"""Grids of pictures for the report, made from single items so that they serve any kind of data.

`picture` is any callable `states [1, *shape] -> PIL.Image` (a codec's decode and picture in one), or returns
None for a kind of data that has no pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Picture: TypeAlias = Callable[[Tensor], Image.Image | None]
GREY = (136, 136, 136, 255)  # readable on white and on black
GAP = 4


def tile(images: Sequence[Image.Image], columns: int, *, gap: int = GAP, cell: int = 48) -> Image.Image:
    """`images` in rows of `columns` on a transparent ground; small ones enlarged to about `cell` pixels."""
    width, height = (max(side) for side in zip(*(image.size for image in images), strict=True))
    factor = max(1, round(cell / max(width, height)))
    width, height = width * factor, height * factor
    count = -(-len(images) // columns)
    size = (columns * (width + gap) - gap, count * (height + gap) - gap)
    sheet = Image.new("RGBA", size, (0, 0, 0, 0))
    for index, image in enumerate(images):
        large = image.convert("RGBA").resize(
            (image.width * factor, image.height * factor), Image.Resampling.NEAREST
        )
        row, column = divmod(index, columns)
        sheet.paste(large, (column * (width + gap), row * (height + gap)))
    return sheet


def _labelled(sheet: Image.Image, names: Sequence[str]) -> Image.Image:
    """`sheet` with one name at the left of each of its `len(names)` rows."""
    step = (sheet.height + GAP) / len(names)
    font = ImageFont.load_default(max(11, min(18, round(step / 3))))
    margin = 10 + round(max(font.getlength(name[:14]) for name in names))
    wide = Image.new("RGBA", (sheet.width + margin, sheet.height), (0, 0, 0, 0))
    wide.paste(sheet, (margin, 0))
    pen = ImageDraw.Draw(wide)
    for index, name in enumerate(names):
        pen.text((0, (index + 0.5) * step - 2), name[:14], fill=GREY, font=font, anchor="lm")
    return wide


def _singles(states: Tensor, picture: Picture) -> list[Image.Image]:
    images = (picture(states[index : index + 1]) for index in range(len(states)))
    return [image for image in images if image is not None]


def class_grid(
    states: Tensor,
    labels: Tensor | None,
    classes: Sequence[str] | None,
    picture: Picture,
    *,
    columns: int = 10,
) -> Image.Image | None:
    """The first `columns` samples of each class (at most 20 classes), one row per class, named at the left.

    Without labels: the first `columns` squared samples, unnamed. None for data without pictures.
    """
    if labels is None or int(labels.max()) < 0:
        images = _singles(states[: columns * columns], picture)
        return tile(images, columns) if images else None
    present = [int(label) for label in labels.unique() if label >= 0][:20]
    columns = min(columns, *(int((labels == label).sum()) for label in present))
    order = torch.cat([(labels == label).nonzero()[:columns, 0] for label in present])
    images = _singles(states[order], picture)
    if not images:
        return None
    names = [classes[label] if classes else str(label) for label in present]
    return _labelled(tile(images, columns), names)


def nearest_pairs(
    generated: Tensor, train: Tensor, nearest: Mapping[str, Any], picture: Picture, *, columns: int = 4
) -> Image.Image | None:
    """Pairs generated | nearest training item of `figures(...)["nearest"]`; None without pictures."""
    left = _singles(generated[nearest["generated"]], picture)
    right = _singles(train[nearest["train"]], picture)
    pairs = [tile(pair, 2, gap=2, cell=56) for pair in zip(left, right, strict=True)]
    return tile(pairs, columns, gap=14, cell=1) if pairs else None

"""Sheets of pictures with what each row and each column is of beside them, to be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SMALL, LARGE = 128, 512
"""Pixels: smaller pictures are enlarged to about the first, each pixel a square; larger ones are reduced to the second."""
MARGIN, LABEL = 8, 260
"""Pixels: between things, and the width of the texts beside the rows."""
TEXT, DETAIL = 16, 13
"""Sizes of the font."""
INK, GREY = (20, 20, 20), (110, 110, 110)


def labelled(
    pictures: Sequence[np.ndarray], rows: Sequence[tuple[str, str]], columns: Sequence[str]
) -> Image.Image:
    """One picture of many.

    Args:
        pictures: uint8 [H, W] or [H, W, 3], row by row.
        rows: of each a text and a smaller one below it, which are wrapped. columns: a text above each.
    """
    tiles = [_tile(pixels) for pixels in pictures]
    wide, high = max(tile.width for tile in tiles), max(tile.height for tile in tiles)
    font, small = ImageFont.load_default(TEXT), ImageFont.load_default(DETAIL)
    told = [(wrapped(text, font, LABEL), wrapped(more, small, LABEL)) for text, more in rows]
    heights = [max(high, _height(*both)) for both in told]
    top = MARGIN + _step(TEXT)
    size = (LABEL + 2 * MARGIN + len(columns) * (wide + MARGIN), top + sum(heights) + len(rows) * MARGIN)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for j, text in enumerate(columns):
        middle = LABEL + 2 * MARGIN + j * (wide + MARGIN) + wide // 2
        pen.text((middle, MARGIN), text, INK, font, anchor="ma")
    for i, ((lines, more), height) in enumerate(zip(told, heights, strict=True)):
        _write(pen, lines, more, top, font, small)
        for j in range(len(columns)):
            sheet.paste(tiles[i * len(columns) + j], (LABEL + 2 * MARGIN + j * (wide + MARGIN), top))
        top += height + MARGIN
    return sheet


def wrapped(text: str, font: Any, width: int) -> list[str]:
    """The lines of a text that is no wider than so many pixels; words that are wider by themselves are cut."""
    lines = []
    for paragraph in text.splitlines():
        line = ""
        for word in _words(paragraph, font, width):
            joined = f"{line} {word}".strip()
            if line and font.getlength(joined) > width:
                lines.append(line)
                joined = word
            line = joined
        lines.append(line)
    return lines


def _words(text: str, font: Any, width: int) -> list[str]:
    found = []
    for word in text.split():
        while font.getlength(word) > width and len(word) > 1:
            count = next(
                k for k in range(len(word) - 1, 0, -1) if k == 1 or font.getlength(word[:k]) <= width
            )
            found.append(word[:count])
            word = word[count:]
        found.append(word)
    return found


def _write(
    pen: ImageDraw.ImageDraw, lines: list[str], more: list[str], top: int, font: Any, small: Any
) -> None:
    for line in lines:
        pen.text((MARGIN, top), line, INK, font)
        top += _step(TEXT)
    for line in more:
        pen.text((MARGIN, top), line, GREY, small)
        top += _step(DETAIL)


def _height(lines: list[str], more: list[str]) -> int:
    return len(lines) * _step(TEXT) + len(more) * _step(DETAIL)


def _step(size: int) -> int:
    """From one line to the next."""
    return round(1.3 * size)


def _tile(pixels: np.ndarray) -> Image.Image:
    picture = Image.fromarray(pixels).convert("RGB")
    side = max(picture.size)
    if side > LARGE:
        picture.thumbnail((LARGE, LARGE), Image.Resampling.LANCZOS)
    factor = max(1, SMALL // side)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)

"""The items of a ranking by likelihood in one picture: the least likely over the most likely, each with its nats."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from perrin.contracts import Dataset, DecodesGiven
from perrin.evaluate.pictures import tile
from perrin.likelihood import LogProb
from perrin.model import Model

CELL = 56


def ranking_picture(
    model: Model, data: Dataset, result: LogProb, order: Sequence[int], rank: int
) -> Image.Image | None:
    """The least likely items over the most likely ones, each with its nats."""
    known = [i for i in order if bool(result.converged[i])]
    rows = {"least likely": known[:rank], "most likely": known[::-1][:rank]}
    strips = []
    for title, indices in rows.items():
        drawn = [_drawn(model, data, i) for i in indices]
        pictures = [picture for picture in drawn if picture is not None]
        if len(model.codec.shape) < 2 or len(pictures) < len(indices) or not indices:
            return None  # a plot of a single point says nothing
        strips.append(_strip(title, pictures, [float(result.value[i]) for i in indices]))
    sheet = Image.new("RGB", (max(s.width for s in strips), sum(s.height + 8 for s in strips)), "white")
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height + 8
    return sheet


def _drawn(model: Model, data: Dataset, index: int) -> Image.Image | None:
    encoded = model.codec.encode([data[index]])
    if isinstance(model.codec, DecodesGiven):
        return model.codec.picture(model.codec.decode_given(encoded.state, encoded.condition or {}))
    return model.codec.picture(model.codec.decode(encoded.state))


def _strip(title: str, pictures: Sequence[Image.Image], nats: Sequence[float]) -> Image.Image:
    columns = min(8, len(pictures))
    cells = []
    font = ImageFont.load_default(12)
    for picture, value in zip(pictures, nats, strict=True):
        factor = max(1, round(CELL / max(picture.size)))
        large = picture.convert("RGB").resize((picture.width * factor, picture.height * factor), 0)
        cell = Image.new("RGB", (max(large.width, 72), large.height + 18), "white")
        cell.paste(large, ((cell.width - large.width) // 2, 0))
        ImageDraw.Draw(cell).text((cell.width / 2, large.height + 9), f"{value:.0f}", "black", font, "mm")
        cells.append(cell)
    sheet = tile(cells, columns, cell=max(cells[0].size))
    headed = Image.new("RGB", (sheet.width, sheet.height + 22), "white")
    ImageDraw.Draw(headed).text((2, 10), f"{title}, nats", "black", font, "lm")
    headed.paste(sheet, (0, 22), sheet)
    return headed

"""Piano rolls: time to the right, pitch upwards, a bar for each note; one picture of all tunes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perrin.errors import PerrinError
from perrin.kinds.music.reading import Reading, read_tune

if TYPE_CHECKING:
    from PIL.Image import Image

STEP = 4  # pixels of a semitone
QUARTER = 12  # pixels of a quarter note
_HEAD = 48  # pixels of a roll's metre and key
MARGIN = 18  # above each roll, for its name and chord symbols
INK, PAPER, LINE, DARK = (31, 90, 160), (255, 255, 255), (205, 205, 205), (70, 70, 70)
_BLACK = frozenset((1, 3, 6, 8, 10))  # the black keys of the piano
_SHADED = (243, 243, 243)


def piano_rolls(tunes: Sequence[str], columns: int | None = None) -> Image | None:
    """The rolls of those tunes that can be read, `columns` (1) beside one another; None if none can."""
    from PIL import Image

    readings = list[Reading]()
    for tune in tunes:
        try:
            readings.append(read_tune(tune))
        except PerrinError:
            continue
    if not readings:
        return None
    rolls = [_roll(reading) for reading in readings]
    across = min(columns or 1, len(rolls))
    width = max(roll.width for roll in rolls)
    rows = [rolls[i : i + across] for i in range(0, len(rolls), across)]
    heights = [max(roll.height for roll in row) for row in rows]
    sheet = Image.new("RGB", (width * across, sum(heights)), PAPER)
    for number, row in enumerate(rows):
        for column, roll in enumerate(row):
            sheet.paste(roll, (column * width, sum(heights[:number])))
    return sheet


def _roll(reading: Reading) -> Image:
    from PIL import Image, ImageDraw

    pitches = [note.pitch for _, note in reading.notes()]
    low, high = min(pitches) - 2, max(pitches) + 2
    length = sum(float(bar.length) for bar in reading.bars)
    roll = Image.new(
        "RGB", (round(length * QUARTER) + 2 * STEP, (high - low + 1) * STEP + MARGIN + STEP), PAPER
    )
    draw = ImageDraw.Draw(roll)
    bottom = roll.height - STEP
    for pitch in range(low, high + 1):
        if pitch % 12 in _BLACK:
            top = MARGIN + (high - pitch) * STEP
            draw.rectangle((STEP, top, roll.width - STEP, top + STEP - 1), fill=_SHADED)
    draw.text((STEP, 2), f"{reading.metre}  {reading.key}", fill=DARK)
    at = 0.0
    for number, bar in enumerate(reading.bars):
        x = STEP + round(at * QUARTER)
        strong = number > 0 and any(sign in bar.left for sign in ("||", ":", "["))
        draw.line((x, MARGIN, x, bottom), fill=DARK if strong else LINE, width=2 if strong else 1)
        for start, symbol in bar.symbols if at * QUARTER >= _HEAD else []:
            draw.text((x + round(float(start) * QUARTER), 2), symbol, fill=INK)
        at += float(bar.length)
    draw.line((roll.width - STEP, MARGIN, roll.width - STEP, bottom), fill=DARK, width=2)
    for start, note in reading.notes():
        x = STEP + round(float(start + note.start) * QUARTER)
        end = STEP + round(float(start + note.start + note.length) * QUARTER) - 2
        top = MARGIN + (high - note.pitch) * STEP
        draw.rectangle((x + 1, top, max(x + 1, end), top + STEP - 1), fill=INK)
    return roll

"""Sheets of pictures: every picture in its place, every text in sight."""

import numpy as np
import pytest
from PIL import ImageFont

from perrin.kinds.images.sheets import LABEL, LARGE, MARGIN, labelled, wrapped


def pictures(count, size=(16, 16)):
    """Each of a colour of its own."""
    return [np.full((*size, 3), (10 * i, 255 - 10 * i, 40), np.uint8) for i in range(count)]


def places(sheet, pixels):
    """(left, top, right, bottom) of a colour in a sheet."""
    there = (np.asarray(sheet) == pixels[0, 0]).all(-1)
    down, right = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    assert there[down[0] : down[-1] + 1, right[0] : right[-1] + 1].all()
    return right[0], down[0], right[-1] + 1, down[-1] + 1


def test_pictures_stand_row_by_row_and_small_ones_are_enlarged():
    made = pictures(6)
    sheet = labelled(made, [("one", ""), ("two", "steps 3")], ["seed 1", "seed 2", "seed 3"])
    found = [places(sheet, one) for one in made]
    assert all(r - l == b - t == 128 for l, t, r, b in found)
    assert len({t for _, t, _, _ in found[:3]}) == len({t for _, t, _, _ in found[3:]}) == 1
    assert found[3][1] >= found[0][3] + MARGIN
    assert [l for l, *_ in found[:3]] == [l for l, *_ in found[3:]] == sorted(l for l, *_ in found[:3])
    assert found[0][0] >= LABEL


def test_large_pictures_are_reduced():
    left, top, right, bottom = places(labelled(pictures(1, (800, 1600)), [("a", "")], ["x"]), pictures(1)[0])
    assert (right - left, bottom - top) == (LARGE, LARGE // 2)


def test_texts_make_room_for_themselves():
    ink = np.asarray(labelled(pictures(2), [("word " * 90, "detail " * 30), ("end", "")], ["seed 1"])) < 100
    beside = ink.all(-1)[:, : LABEL + MARGIN]
    rows = np.flatnonzero(beside.any(1))
    first, second = (places(labelled(pictures(2), [("word " * 90, "detail " * 30), ("end", "")], ["s"]), one)[1]
                     for one in pictures(2))  # fmt: skip
    assert second - first > 128 + 3 * MARGIN  # the row is as high as its text
    assert rows[-1] >= second  # the last text is there
    assert beside[first : second - MARGIN].any(1).sum() > 60


@pytest.mark.parametrize("width", [40, 100, 260])
def test_no_line_is_wider_than_asked_and_no_word_is_lost(width):
    font = ImageFont.load_default(16)
    text = "a photograph of incomprehensibilities-and-other-words\nand a second line"
    lines = wrapped(text, font, width)
    assert all(font.getlength(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "").replace("\n", "")
    assert wrapped("", font, width) == []


def test_grey_pictures_are_shown_too():
    grey = [np.full((16, 16), 40 * i, np.uint8) for i in range(1, 3)]
    sheet = np.asarray(labelled(grey, [("a", "")], ["1", "2"]))
    assert (sheet == 40).all(-1).sum() >= 128 * 128

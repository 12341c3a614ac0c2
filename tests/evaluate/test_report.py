"""The page is whole, self-contained, safe and shows what it was given."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from perrin.evaluate import class_grid, nearest_pairs, rows, tile, write_report
from perrin.evaluate.loss_curves import loss_curves

FIGURES = {
    "class_accuracy": 0.98, "class_accuracy_ceiling": 0.99, "class_accuracy_control": 0.1,
    "frechet_distance": 1234567.0, "frechet_ceiling": 0.5, "frechet_baseline": 9.0, "kid": -1e-5,
    "kid_stderr": 0.25, "nearest_ratio": None, "counts": {"generated": 1500, "test": 20}, "unknown": 3.0,
}  # fmt: skip
VOID = {"meta", "img", "line", "polyline"}


class Outline(HTMLParser):
    """Collects tags and text, and insists that every element is closed in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def picture(state: torch.Tensor) -> Image.Image:
    return Image.fromarray(state[0, 0].mul(255).byte().numpy())


@pytest.fixture
def page(tmp_path: Path) -> str:
    log = [{"step": i, "loss": 1 / (i + 1)} for i in range(1000)] + [{"step": 500, "validation": 0.5}]
    log.append({"step": 999, "validation": 0.25})
    path = write_report(
        tmp_path / "report.html",
        title="<digits> & co",
        figures=FIGURES,
        pictures={"Samples: all <of> them": Image.new("RGB", (8, 8), (255, 0, 0)), "None at all": None},
        log=log,
        settings={"net": {"name": "unet", "rate": 0.0001}, "note": "<script>"},
    )
    assert [item.name for item in tmp_path.iterdir() if item.is_file()] == ["report.html"]
    return path.read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_needs_nothing_from_outside(page: str) -> None:
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    links = [value for _, name, value in outline.attributes if name in ("src", "href", "srcset", "action")]
    assert links
    assert all(value.startswith("data:image/png;base64,") for value in links if value)
    assert "<script" not in page
    assert not re.search(r"https?://|url\(|@import", page)


def test_text_is_shown_as_given(page: str) -> None:
    outline = Outline()
    outline.feed(page)
    for text in (
        "<digits> & co",
        "all <of> them",
        "<script>",
        "net.rate",
        "0.0001",
        "1,500 generated, 20 test",
    ):
        assert text in outline.text
    assert "None at all" not in outline.text


def test_figures_stand_with_their_company(page: str) -> None:
    outline = Outline()
    outline.feed(page)
    for text in ("0.980", "0.990", "0.100", "1.23e+06", "-1.00e-05", "standard error 0.25"):
        assert text in outline.text
    assert [row.name for row in rows(FIGURES)] == ["class_accuracy", "frechet_distance", "kid"]
    frechet = rows(FIGURES)[1]
    assert (frechet.baseline, frechet.ceiling, frechet.control) == (9.0, 0.5, None)


def test_the_embedded_picture_is_the_picture(page: str) -> None:
    data = re.search(r"base64,([^\"]+)", page)
    assert data is not None
    image = Image.open(io.BytesIO(base64.b64decode(data[1])))
    assert image.size == (8, 8)
    assert image.getpixel((3, 3)) == (255, 0, 0)


def test_curves_run_downhill_when_the_loss_falls() -> None:
    drawing = loss_curves([{"step": i, "loss": 100.0 - i} for i in range(100)])
    match = re.search(r'class="loss" points="([^"]+)"', drawing)
    assert match is not None
    points = np.array([[float(x) for x in pair.split(",")] for pair in match[1].split()])
    assert len(points) == 100
    assert bool((np.diff(points, axis=0) > 0).all())  # to the right, and down: y grows downwards in SVG


@pytest.mark.parametrize(
    "log",
    [
        [{"step": i, "loss": 1.0} for i in range(3)],
        [{"step": i, "loss": -float(i)} for i in range(3)],
        [{"step": i, "loss": 10.0 ** (i - 4)} for i in range(9)],
        [{"step": 1, "loss": 1.0}, {"step": 2, "loss": float("nan")}, {"step": 3, "loss": 2.0}],
        [{"step": i, "loss": 1 + i / 1e6} for i in range(100_000)],
    ],
)
def test_curves_of_odd_logs_stay_on_the_paper(log: list[dict[str, float]]) -> None:
    drawing = loss_curves(log)
    assert len(drawing) < 10_000
    for x, y in re.findall(r"([\d.-]+),([\d.-]+)", re.search(r'points="([^"]+)"', drawing)[1]):  # type: ignore[index]
        assert 0 <= float(x) <= 640
        assert 0 <= float(y) <= 240


def test_an_empty_log_gives_no_curve() -> None:
    assert loss_curves([]) == loss_curves([{"step": 1, "loss": 1.0}]) == ""


def test_grids_show_the_right_items_in_the_right_places() -> None:
    states = torch.arange(12).div(12)[:, None, None, None].expand(12, 1, 4, 4)
    labels = torch.arange(12) % 3
    grid = class_grid(states, labels, ["ant", "bee", "cat"], picture, columns=4)
    assert grid is not None
    step, row = 52, 2  # cells of 48 and gaps of 4; "cat" holds the states 2, 5, 8, 11
    left = grid.width - (4 * step - 4)
    shown = [grid.getpixel((left + column * step + 20, row * step + 20))[0] for column in range(4)]
    assert shown == [int(states[index, 0, 0, 0] * 255) for index in (2, 5, 8, 11)]


def test_without_labels_the_grid_is_plain() -> None:
    states = torch.rand(7, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    plain = class_grid(states, None, None, picture, columns=3)
    assert plain is not None
    assert plain.size == (3 * 52 - 4, 3 * 52 - 4)
    assert class_grid(states, torch.full((7,), -1), None, picture, columns=3) == plain


def test_pairs_stand_side_by_side() -> None:
    generated, train = torch.zeros(3, 1, 4, 4), torch.ones(3, 1, 4, 4)
    nearest = {"generated": [2, 0], "train": [1, 1], "distance": [1.0, 2.0]}
    sheet = nearest_pairs(generated, train, nearest, picture, columns=2)
    assert sheet is not None
    assert sheet.getpixel((5, 5))[0] == 0
    assert sheet.getpixel((sheet.width - 5, 5))[0] == 255


def test_data_without_pictures_have_no_grids() -> None:
    states = torch.zeros(4, 2)
    assert class_grid(states, torch.zeros(4), None, lambda state: None) is None
    assert nearest_pairs(states, states, {"generated": [0], "train": [1]}, lambda state: None) is None


def test_large_pictures_are_not_enlarged() -> None:
    assert tile([Image.new("L", (200, 100))] * 3, 2, gap=4).size == (404, 204)

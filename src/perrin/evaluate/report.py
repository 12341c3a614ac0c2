"""One self-contained HTML page: figures, pictures, curves, settings; no server and no network needed."""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from PIL import Image

from perrin.evaluate.loss_curves import loss_curves
from perrin.evaluate.meanings import Row, rows
from perrin.saving import write_text

WIDTH = 810  # pixels of the page for a picture
STYLE = files(__package__).joinpath("report.css").read_text(encoding="utf-8")


def _number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "\N{EN DASH}"
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return f"{value:.2e}"


def _tiles(table: Sequence[Row]) -> str:
    """The figures that answer first: right, varied, close in law, not copied."""
    first = {"class_accuracy", "coverage", "frechet_distance", "nearest_ratio"}
    first |= {"bits_per_character", "infill_accuracy", "word_share", "longest_copy"}
    first |= {"sound_share", "atom_stability", "novel_share", "strain_median", "best_rmsd"}
    first |= {"quantile_loss", "quantile_gain", "coverage_80"}
    chosen = [row for row in table if row.name in first]
    cells = (
        f"<div><span>{escape(row.label)}</span><b>{_number(row.value)}</b><span>{_beside(row)}</span></div>"
        for row in chosen
    )
    return f'<div class="tiles">{"".join(cells)}</div>' if chosen else ""


def _beside(row: Row) -> str:
    """What a tile's figure is read against: real data, or the baseline where real data have no such figure."""
    if row.ceiling is None and row.baseline is not None:
        return f"baseline: {_number(row.baseline)}"
    return f"real data: {_number(row.ceiling)}"


def _cell(kind: str, head: str, value: float | None) -> str:
    style = "value" if kind == "value" else "empty" if value is None else ""
    return f'<td class="{style}" data-of="{escape(head)}">{_number(value)}</td>'


def _figures(table: Sequence[Row], figures: Mapping[str, Any]) -> str:
    if not table:
        return ""
    arrow = {"higher": "↑", "lower": "↓", "near": "≈"}
    kinds = ("value", "baseline", "ceiling", "control")
    heads = figures.get("columns", {})
    head = "".join(f"<th>{escape(heads.get(kind, kind))}</th>" for kind in ("figure", *kinds))
    lines = (
        f"<tr><td>{escape(row.label)} {arrow[row.better]}<small>{escape(row.meaning)}</small></td>"
        + "".join(_cell(kind, heads.get(kind, kind), getattr(row, kind)) for kind in kinds)
        + "</tr>"
        for row in table
    )
    note = figures.get("note") or (
        "Ceiling: real training data in place of samples, against the same unseen test data. "
        f"Baseline: {figures.get('baseline', 'a trivial model')}. Control: asked labels shuffled. "
        f"Features: {figures.get('features', 'not stated')}."
    )
    body = f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    return f"<h2>Figures</h2><p>{escape(note)}</p><section>{body}</section>"


def _picture(heading: str, image: Image.Image) -> str:
    """A picture under its heading; what follows ": " in the heading becomes the caption."""
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    data = base64.b64encode(stream.getvalue()).decode()
    title, _, caption = heading.partition(": ")
    smooth = ' class="smooth"' if image.width > WIDTH else ""  # made smaller by the page
    return (
        f"<h2>{escape(title)}</h2>" + (f"<p>{escape(caption)}</p>" if caption else "") + "<section>"
        f'<img{smooth} alt="{escape(title)}" width="{image.width}" src="data:image/png;base64,{data}"></section>'
    )


def _texts(heading: str, texts: Sequence[str]) -> str:
    """Texts under a heading, each in a box of its own, spaces and line ends as they are."""
    boxes = "".join(f'<section class="text">{escape(text)}</section>' for text in texts)
    return f"<h2>{escape(heading)}</h2>{boxes}" if texts else ""


def _curves(log: Sequence[Mapping[str, Any]]) -> str:
    drawing = loss_curves(log)
    keys = [name for name in ("loss", "validation") if f'class="{name}"' in drawing]
    legend = "".join(
        f'<i class="key" style="background:var(--{"mark" if name == "loss" else "second"})"></i>{label}'
        for name, label in (("loss", "training"), ("validation", "validation"))
        if name in keys
    )
    return f"<h2>Loss</h2><section>{drawing}<p>{legend}</p></section>" if drawing else ""


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", f"{value:.6g}" if isinstance(value, float) else str(value)


def _settings(settings: Mapping[str, Any]) -> str:
    lines = "".join(f"<tr><td>{escape(a)}</td><td>{escape(b)}</td></tr>" for a, b in _flat(settings))
    return f'<h2>Settings</h2><section><table class="settings">{lines}</table></section>' if lines else ""


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    figures: Mapping[str, Any],
    pictures: Mapping[str, Image.Image | None],
    texts: Mapping[str, Sequence[str]] | None = None,
    fragments: Mapping[str, str] | None = None,
    log: Sequence[Mapping[str, Any]] = (),
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Write the page and return its path; written to a temporary name first, so never half a page.

    Args:
        figures: what `figures(...)` returned, and further ones of the same form; unknown keys are not shown. `columns`
            names those of the table otherwise: {"baseline": ..., "control": ...}.
        pictures: heading -> picture; "Heading: caption" gives both. None is left out.
        texts: heading -> texts.
        fragments: heading -> pieces of a page (HTML) that are trusted and need nothing from elsewhere.
        log: lines of `log.jsonl`, for the loss curves.
        settings: the recipe, nested; shown as one table with dotted names.
    Raises:
        PerrinError: the page cannot be written.
    """
    table = rows(figures)
    counts = ", ".join(f"{count:,} {name}" for name, count in figures.get("counts", {}).items())
    body = (
        f"<h1>{escape(title)}</h1><p>{escape(counts)}</p>"
        + _tiles(table)
        + "".join(_picture(heading, image) for heading, image in pictures.items() if image is not None)
        + "".join(_texts(heading, shown) for heading, shown in (texts or {}).items())
        + "".join(f"<h2>{escape(heading)}</h2>{part}" for heading, part in (fragments or {}).items())
        + _figures(table, figures)
        + _curves(log)
        + _settings(settings or {})
    )
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )
    target = Path(path)
    write_text(target, page)
    return target

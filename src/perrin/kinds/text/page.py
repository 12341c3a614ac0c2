"""How a text came about: one HTML page in which its pieces appear step by step. It needs no network.

What is kept of every step is what it changed, so that a page of a thousand steps is little larger than the texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from perrin.errors import PerrinError
from perrin.saving import write_text

TEMPLATE = files(__package__).joinpath("trajectory.html").read_text(encoding="utf-8")

Pieces = Sequence[str]
"""What each position adds to a text; `TextCodec.pieces` gives them."""


def save_page(
    frames: Sequence[Sequence[Pieces]],
    path: str | Path,
    provenance: Mapping[str, Any] | None = None,
    *,
    title: str = "Text from noise",
    unknown: str = "\N{LIGHT SHADE}",
) -> Path:
    """Write the page and return its path.

    Args:
        frames: [steps + 1][texts][positions]: the pieces of every text at the start and after each step; a text has
            the same positions in all of them.
        provenance: how the texts were made, shown at the foot.
        unknown: the piece of a position that is not known yet, which is drawn dim.

    Raises:
        PerrinError: no frames, frames of different texts, another suffix, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise PerrinError(f"the page of a text is saved as .html, not '{path}'")
    if not frames or not frames[0]:
        raise PerrinError(f"no frames for the page '{path}'")
    sizes = [[len(pieces) for pieces in frame] for frame in frames]
    if any(size != sizes[0] for size in sizes):
        raise PerrinError(
            "the frames of a page hold the same texts, each with as many positions in all of them"
        )
    content = {
        "unknown": unknown,
        "texts": [_history([frame[i] for frame in frames]) for i in range(len(frames[0]))],
    }
    made = json.dumps(provenance or {}, indent=1, ensure_ascii=False)
    page = (
        TEMPLATE.replace("{{title}}", escape(title))
        .replace("{{steps}}", str(len(frames) - 1))
        .replace("{{provenance}}", escape(made))
        .replace("{{content}}", _script(content))
    )
    write_text(path, page)
    return path


def read_page(path: Path) -> np.ndarray:
    """The code points of what a page shows, without how it was made: two pages of the same texts agree in all, uint32."""
    found = re.search(
        r'<script id="content" type="application/json">(.*?)</script>', path.read_text("utf-8"), re.DOTALL
    )
    if found is None:
        raise PerrinError(f"'{path}' is no page of texts that perrin sample wrote")
    return np.frombuffer(found[1].encode("utf-32-le"), "<u4")


def _history(frames: Sequence[Pieces]) -> dict[str, Any]:
    """The first frame, and of every later one the places that changed and what stands there then."""
    changes = [
        [[place, new] for place, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
        for before, after in pairwise(frames)
    ]
    return {"first": list(frames[0]), "changes": changes}


def _script(content: Mapping[str, Any]) -> str:
    """JSON that may stand inside a script element: no text of it can end the element."""
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")

"""Pictures of a synthetic set: what was kept, class by class; what was dropped, by reason; copies and what they copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from perrin.augmenting.drawing import Drawn
from perrin.augmenting.filtering import REASONS
from perrin.augmenting.real import Real
from perrin.contracts import Codec
from perrin.evaluate.pictures import GAP, Picture, class_grid, nearest_pairs

if TYPE_CHECKING:
    from PIL.Image import Image

PAIRS = 16


def pictures(drawn: Drawn, real: Real, codec: Codec) -> dict[str, Image]:
    """Name -> picture; what there is none of is left out, and so is a kind without pictures."""

    def picture(states: Tensor) -> Image | None:
        return codec.picture(codec.decode(states))

    kept, dropped = drawn.rows(kept=True), drawn.rows(kept=False)
    if len(real.seen[0].shape) < 3:  # points and series are plotted together; a plot of one says nothing
        found = {
            "kept": picture(drawn.states[kept]),
            "dropped": picture(drawn.states[dropped]) if dropped else None,
        }
        return {name: one for name, one in found.items() if one is not None}
    labels = None if drawn.labels is None else drawn.labels[kept]
    found = {"kept": class_grid(drawn.states[kept], labels, real.classes, picture)}
    if dropped:
        found["dropped"] = _by_reason(drawn, picture)
        found["copies"] = _copies(drawn, real, picture)
    return {name: one for name, one in found.items() if one is not None}


def _by_reason(drawn: Drawn, picture: Picture) -> Image | None:
    """The first items of each reason, one row a reason."""
    from PIL import Image as images

    rows = []
    for reason in REASONS:
        of = [place for place, one in enumerate(drawn.reasons) if one == reason]
        if of:
            rows.append(
                class_grid(drawn.states[of], torch.zeros(len(of), dtype=torch.long), [reason], picture)
            )
    known = [row for row in rows if row is not None]
    if not known:
        return None
    size = (max(row.width for row in known), sum(row.height + GAP for row in known))
    sheet, top = images.new("RGBA", size, (0, 0, 0, 0)), 0
    for row in known:
        sheet.paste(row, (0, top))
        top += row.height + GAP
    return sheet


def _copies(drawn: Drawn, real: Real, picture: Picture) -> Image | None:
    """Copies, each beside the real item that it is nearest to."""
    rows = [row for row, reason in enumerate(drawn.reasons) if reason == "copy"][:PAIRS]
    if not rows or drawn.nearest is None:
        return None
    pairs = {"generated": rows, "train": drawn.nearest[rows].tolist()}
    return nearest_pairs(drawn.states, real.seen, pairs, picture)

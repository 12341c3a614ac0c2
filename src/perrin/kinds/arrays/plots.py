"""Arrays as a picture: points as a scatter plot, series as lines, planes as grey pictures in a grid."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from perrin.kinds.images.gallery import grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LINES = 64  # more hide one another
_MOST_PLANES = 400


def picture(
    decoded: Sequence[np.ndarray], names: Sequence[str] | None = None, columns: int | None = None
) -> Image.Image | None:
    """Draw items, chosen by their shape; None when there are none or they have too many axes.

    `[1]`: a histogram. `[2]`: a scatter plot. `[L]`: lines over the index (the first 64 items). `[C, L]` with
    up to 3 rows: lines, one row beneath the other. Other `[H, W]` and `[C, H, W]` with C = 1 or 3: pictures,
    from the smallest value (black) to the largest (white) of all items.

    Args:
        names: of the features of a vector.
        columns: pictures in a row of the grid.
    """
    if not len(decoded):
        return None
    values = np.stack(list(decoded)).astype(np.float64)
    shape = values.shape[1:]
    if len(shape) == 1:
        return _plot([values], names)
    if len(shape) == 2 and shape[0] <= 3:
        return _plot([values[:, row] for row in range(shape[0])], None)
    if len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3)):
        return grid(_grey(values[:_MOST_PLANES]), columns)
    return None


def _plot(parts: list[np.ndarray], names: Sequence[str] | None) -> Image.Image:
    # matplotlib without pyplot: no global figure, no choice of a display
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(6, 6 if parts[0].shape[1] == 2 else 2 + 2 * len(parts)), dpi=100, layout="constrained"
    )
    FigureCanvasAgg(figure)
    for place, values in enumerate(parts, 1):
        _draw(figure.add_subplot(len(parts), 1, place), values, names)
    written = io.BytesIO()
    figure.savefig(written, format="png")
    with Image.open(written) as image:
        return image.convert("RGB")


def _draw(axes: Axes, values: np.ndarray, names: Sequence[str] | None) -> None:
    width = values.shape[1]
    if width == 1:
        axes.hist(values[:, 0], bins="auto" if len(values) < 10_000 else 100)
        axes.set_xlabel(names[0] if names else "value")
    elif width == 2:
        axes.scatter(values[:, 0], values[:, 1], s=4, alpha=0.6, linewidths=0)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xlabel(names[0] if names else "0")
        axes.set_ylabel(names[1] if names else "1")
    else:
        axes.plot(values[:_MOST_LINES].T, linewidth=0.8, alpha=0.6)
        if names and width <= 12:
            axes.set_xticks(range(width), names, rotation=45, ha="right")


def _grey(values: np.ndarray) -> list[np.ndarray]:
    low, high = values.min(), values.max()
    scaled = np.rint((values - low) / (high - low if high > low else 1) * 255).astype(np.uint8)
    if scaled.ndim == 4:
        scaled = np.moveaxis(scaled, 1, -1)
        scaled = scaled[..., 0] if scaled.shape[-1] == 1 else scaled
    return list(scaled)

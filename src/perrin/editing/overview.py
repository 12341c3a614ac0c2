"""A restoration in one picture: what was measured, the mean, how sure it is, samples, and the truth of a simulation."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from perrin.editing.asking import same_grid
from perrin.editing.lengthy import Long
from perrin.editing.numerals import Numbers
from perrin.editing.restoring import SHARE, extent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from perrin.editing.restoring import Restoration

ROWS = 3
"""Items of a batch, or slices of a scan, that are shown: evenly from all."""
SAMPLES = 3
UNCERTAIN = "magma"
MISSING = (0.25, 0.45, 0.75)
"""The colour of what was not measured."""


def overview(found: Restoration) -> Image.Image | None:
    """A row for each shown item, or curves of signals; None for states that are no pictures."""
    shape = found.restored.problem.operator.shape
    if len(shape) in (3, 4) and shape[0] in (1, 3):
        return _planes(found)
    return _curves(found) if len(shape) == 1 or (len(shape) == 2 and shape[0] <= 3) else None


def std_map(values: Tensor, unit: str) -> Image.Image | None:
    """A map of deviations [n, *shape] with its colour bar; of several the middle one; None for what is no picture."""
    plane = _plane(values[len(values) // 2])
    if plane is None:
        return None
    figure = _figure(5.2, 4.2)
    axes = figure.add_subplot()
    _colours(figure, axes, plane.mean(-1) if plane.ndim == 3 else plane, "standard deviation", unit)
    return _drawn(figure)


def _planes(found: Restoration) -> Image.Image:
    count = len(found.restored)
    chosen = np.unique(np.linspace(0, count - 1, min(count, ROWS) + 2)[1:-1].round().astype(int)).tolist()
    first = _columns(found, chosen[0])
    figure = _figure(2.15 * len(first) + 0.5, 2.25 * len(chosen) + 0.4)
    ends = _ends(found)
    for row, index in enumerate(chosen):
        for column, (title, plane, coloured) in enumerate(_columns(found, index)):
            axes = figure.add_subplot(len(chosen), len(first), row * len(first) + column + 1)
            if coloured:
                _colours(figure, axes, plane, title if row == 0 else "")
            else:
                _shades(axes, plane, ends, title if row == 0 else "")
    return _drawn(figure)


def _columns(found: Restoration, index: int) -> list[tuple[str, np.ndarray, bool]]:
    """(title, plane, whether it is a map) from left to right."""
    psnr = found.psnr

    def named(title: str, key: str) -> str:
        return f"{title}\n{psnr[key]:.1f} dB" if key in psnr else title

    made = found.quantities()
    given, seen = found.damaged[index], found.restored.problem.seen[0]
    given = torch.where(seen, given, torch.nan) if same_grid(found.restored.problem.operator) else given
    shown = [(named(found.damaged_name, found.damaged_name), given, False)]
    shown.append((named("mean", "mean"), made["mean"][index], False))
    if "std" in made:
        shown.append(("std", made["std"][index], True))
    kept = found.samples[index][:SAMPLES]
    shown += [(f"sample {k + 1}", one, False) for k, one in enumerate(kept)]
    if found.truth is not None:
        shown.append(("truth", found.truth[index], False))
        shown.append(("|error|", (made["mean"][index] - found.truth[index]).abs(), True))
    planes = ((title, _plane(values), coloured) for title, values, coloured in shown)
    return [
        (title, plane.mean(-1) if coloured and plane.ndim == 3 else plane, coloured)
        for title, plane, coloured in planes
        if plane is not None
    ]


def _plane(values: Tensor) -> np.ndarray | None:
    """[H, W], or [H, W, 3] of colours; the middle slice of volumes."""
    if values.dim() == 4:
        values = values[:, values.shape[1] // 2]
    if values.dim() != 3 or values.shape[0] not in (1, 3):
        return None
    found: np.ndarray = values.movedim(0, -1).numpy()
    return found[..., 0] if found.shape[-1] == 1 else found


def _ends(found: Restoration) -> tuple[float, float]:
    """Black and white: those of the kind's scale, or of the mean where it has none."""
    codec = found.restored.codec
    mean = found.restored.values(found.restored.mean)
    if codec.kind not in ("images", "volumes"):
        return float(mean.min()), float(mean.max())
    low = float(found.restored.values(mean.new_tensor(-1.0)))
    return low, low + extent(found.form, codec, mean)


def _shades(axes: Axes, plane: np.ndarray, ends: tuple[float, float], title: str) -> None:
    shown = np.clip((plane - ends[0]) / max(ends[1] - ends[0], 1e-12), 0, 1)
    missing = np.isnan(plane) if plane.ndim == 2 else np.isnan(plane).any(-1)
    coloured = shown if plane.ndim == 3 else np.repeat(shown[..., None], 3, -1)
    axes.imshow(np.where(missing[..., None], MISSING, coloured), interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def _colours(figure: Figure, axes: Axes, plane: np.ndarray, title: str, unit: str = "") -> None:
    shown = axes.imshow(plane, cmap=UNCERTAIN, vmin=0, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
    bar = figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03, label=unit)
    bar.ax.tick_params(labelsize=7)


def _curves(found: Restoration) -> Image.Image:
    """The middle item: what was measured, the mean, the interval and the truth."""
    index = len(found.restored) // 2
    made, seen = found.quantities(), found.restored.problem.seen[0].numpy()
    rows = made["mean"][index].reshape(-1, made["mean"].shape[-1])
    scale = found.form.scale if isinstance(found.form, Numbers) else 1.0
    first = found.form.starts[index] if isinstance(found.form, Long) else 0
    figure = _figure(9, 1 + 2.2 * len(rows))
    for c in range(len(rows)):
        axes = figure.add_subplot(len(rows), 1, c + 1)
        own = {name: values[index].reshape(rows.shape)[c].numpy() / scale for name, values in made.items()}
        place = np.arange(rows.shape[-1]) + first
        if "low" in own:
            axes.fill_between(
                place,
                own["low"],
                own["high"],
                color="tab:orange",
                alpha=0.35,
                linewidth=0,
                label=f"{SHARE:.0%} interval",
            )
        if found.truth is not None:
            axes.plot(
                place,
                found.truth[index].reshape(rows.shape)[c] / scale,
                color="0.55",
                linewidth=1,
                label="truth",
            )
        given = found.damaged[index].reshape(rows.shape)[c].numpy() / scale
        known = seen.reshape(rows.shape)[c] if seen.size == rows.numel() else np.ones(len(place), bool)
        axes.plot(place, np.where(known, given, np.nan), color="black", linewidth=0.8, label="measured")
        axes.plot(place, own["mean"], color="tab:orange", linewidth=1, label="mean")
        axes.margins(x=0.01)
        if c == 0:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=8, frameon=False)
    return _drawn(figure)


def _figure(width: float, height: float) -> Figure:
    # matplotlib without pyplot: no global figure, no choice of a display
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _drawn(figure: Figure) -> Image.Image:
    written = io.BytesIO()
    figure.savefig(written, format="png")
    with Image.open(written) as image:
        return image.convert("RGB")

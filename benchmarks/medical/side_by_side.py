"""A picture of restored slices: the truth, every row of the table, the standard deviation, the error of the mean."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from torch import Tensor

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def sheet(images: dict[str, Tensor], truth: Tensor, path: Path, count: int = 6) -> None:
    """A row of pictures for each of `count` slices; `images` ends with the posterior mean and its std."""
    chosen = np.linspace(0, len(truth) - 1, count).round().astype(int)
    titles = ["truth", *images, "|error|"]
    figure, axes = plt.subplots(
        count, len(titles), figsize=(1.6 * len(titles), 1.64 * count), constrained_layout=True
    )
    error = (images["posterior mean"] - truth).abs()
    most = float(error[chosen].flatten().quantile(0.998))  # one scale, so that std and error can be compared
    for i, line in zip(chosen.tolist(), axes, strict=True):
        shown = [truth[i], *(value[i] for value in images.values()), error[i]]
        for axis, title, image in zip(line, titles, shown, strict=True):
            uncertain = title in ("std", "|error|")
            low, high, colours = (0.0, most, "inferno") if uncertain else (-1.0, 1.0, "gray")
            axis.imshow(image[0].numpy(), vmin=low, vmax=high, cmap=colours)
            axis.set_axis_off()
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    figure.savefig(path, dpi=90)
    plt.close(figure)

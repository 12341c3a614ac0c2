"""Draws the pictures of the documents from the code itself: `python docs/pictures.py`."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from perrin.denoise import exact
from perrin.process import sub_vp, ve, vp
from perrin.sample import Trace, make_plan, run

IMAGES = Path(__file__).parent / "images"
BLUE, ORANGE, GREY = "#2b5d8a", "#d9822b", "#8a8f98"
SCHEDULES = {"VP": vp(), "sub-VP": sub_vp(), "VE": ve(0.01, 30.0)}


def mixture() -> exact.Mixture:
    """Three modes on a line, of which the middle one is rare."""
    return exact.Mixture(torch.tensor([[-1.5], [0.2], [1.2]]), 0.12, torch.tensor([0.4, 0.2, 0.4]))


def paths(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(levels [T], states [T, count]) of the probability flow, in unit coordinates."""
    grid = torch.linspace(-6.0, 8.0, 281, dtype=torch.float64)
    trace = Trace()
    start = torch.linspace(-1.8, 1.8, count, dtype=torch.float64)[:, None]
    run(make_plan("heun", grid=grid.tolist()), mixture(), seeds=range(count), start=start, trace=trace)
    states = {level: state[:, 0] for level, state in zip(trace.levels, trace.states, strict=True)}
    kept = sorted(states)
    return torch.tensor(kept, dtype=torch.float64), torch.stack([states[level] for level in kept])


def one_process() -> None:
    """Paths in the coordinates and the time of three schedules, and in unit coordinates."""
    level, x = paths(25)
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.1), constrained_layout=True)
    for axis, (name, schedule) in zip(axes, SCHEDULES.items(), strict=False):
        t = schedule.time(level)
        axis.plot(t, x * schedule.scale(t)[:, None], color=BLUE, linewidth=0.7)
        axis.invert_xaxis()
        axis.set(title=f"{name}: y over its own t", xlabel="t")
    axes[3].plot(level, x, color=ORANGE, linewidth=0.7)
    axes[3].set(title="all three: x over the level", xlabel="log SNR")
    save(figure, "one-process")


def save(figure: plt.Figure, name: str) -> None:
    """Write a figure as PNG."""
    figure.savefig(IMAGES / f"{name}.png", dpi=110)
    plt.close(figure)


def clocks() -> None:
    """The level over the time of each schedule."""
    figure, axis = plt.subplots(figsize=(5.2, 3.1), constrained_layout=True)
    t = torch.linspace(0.001, 1.0, 400, dtype=torch.float64)
    for name, schedule in SCHEDULES.items():
        axis.plot(t, schedule.level(t), label=name)
    axis.set(xlabel="t", ylabel="log SNR", ylim=(-12, 14), title="three clocks")
    axis.legend()
    save(figure, "clocks")


if __name__ == "__main__":
    one_process()
    clocks()

"""Which average of the weights to use: kept profiles and lengths rebuilt from snapshots, chosen on held-out items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from perrin.denoise.adapter import Adapter
from perrin.errors import PerrinError
from perrin.saving import load_tensors, save_tensors
from perrin.training.ema import PowerEMA, reconstruction
from perrin.training.validation import Validation


def snapshot(folder: Path, ema: PowerEMA, step: int) -> None:
    """Keep every profile as it stands, in half precision, for later reconstruction."""
    for std, average in ema.averages.items():
        half = {n: v.half() if v.is_floating_point() else v for n, v in average.items()}
        save_tensors(folder / "ema" / f"std-{std:.3f}-step-{step:08d}.safetensors", half)


def stored(folder: Path) -> list[tuple[float, int, Path]]:
    """(std, step, file) of every snapshot of a run."""
    found = []
    for path in sorted((folder / "ema").glob("std-*-step-*.safetensors")):
        _, std, _, step = path.stem.split("-")
        found.append((float(std), int(step), path))
    return found


def rebuild(folder: str | Path, std: float, step: int | None = None) -> dict[str, Tensor]:
    """The average of relative width `std` at `step` (the last by default), from a run's snapshots, float32.

    Raises:
        PerrinError: a run without snapshots.
    """
    files = stored(Path(folder))
    last = step if step is not None else max((s for _, s, _ in files), default=0)
    files = [f for f in files if f[1] <= last]
    if not files:
        raise PerrinError(f"{folder} holds no snapshots of averages at or before step {last}")
    shares = reconstruction([(s, t) for s, t, _ in files], std, last)
    total: dict[str, Tensor] = {}
    for share, (_, _, path) in zip(shares, files, strict=True):
        for name, value in load_tensors(path).items():
            part = value.float() * share if value.is_floating_point() else value
            total[name] = total[name] + part if name in total and value.is_floating_point() else part
    return total


def choose(
    folder: Path, ema: PowerEMA, step: int, denoiser: Adapter, validation: Validation | None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights whose held-out loss is least, among kept profiles and lengths rebuilt between them.

    Without held-out items, the first profile.
    """
    stds = list(ema.averages)
    if validation is None:
        return ema.averages[stds[0]], {"std": stds[0], "validation": None}
    candidates: dict[float, dict[str, Tensor]] = dict(ema.averages)
    for low, high in zip(sorted(stds), sorted(stds)[1:], strict=False):
        middle = round((low * high) ** 0.5, 4)
        rebuilt = rebuild(folder, middle, step)
        candidates[middle] = {n: v.to(ema.averages[low][n].device) for n, v in rebuilt.items()}
    values = {std: validation.of(denoiser, weights) for std, weights in candidates.items()}
    best = min(values, key=lambda std: values[std])
    return candidates[best], {
        "std": best,
        "validation": values[best],
        "all": {str(s): v for s, v in values.items()},
    }

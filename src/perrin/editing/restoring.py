"""A file restored by a model: the measurement that it is, or that is made of it, and what comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from perrin.contracts import Codec, Decodes
from perrin.editing.asking import Damage, damage_of, same_grid
from perrin.editing.form import Form
from perrin.editing.numerals import Numbers
from perrin.editing.opening import open_form
from perrin.editing.picture import Picture
from perrin.editing.plain import name_of, plain
from perrin.errors import PerrinError
from perrin.guide.operators import Operator
from perrin.model import Model
from perrin.restoration.problem import scale_of
from perrin.restoration.restored import Restored
from perrin.restoration.viewing import sides_of

SHARE = 0.9
"""Of the intervals that are written."""


@dataclass(frozen=True, eq=False)
class Restoration:
    """What came of a file.

    Attributes:
        restored: samples in the model's coordinates; form: the file. damage: what was done to it.
        measurement: [n, *measured] in the user's units. truth: [n, *shape] of a simulation, None without one.
        about: JSON-able facts for restore.json.
    """

    restored: Restored
    form: Form
    damage: Damage
    measurement: Tensor
    truth: Tensor | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def quantities(self) -> dict[str, Tensor]:
        """mean, and of several samples std, low and high: [n, *shape] in the user's units."""
        found = {"mean": self.restored.values(self.restored.mean)}
        if self.restored.state.shape[1] > 1:
            low, high = self.restored.interval(SHARE)
            found |= {
                "std": self.restored.spread(),
                "low": self.restored.values(low),
                "high": self.restored.values(high),
            }
        return found

    @cached_property
    def damaged(self) -> Tensor:
        """What the measurement shows without a model, [n, *shape] in the user's units."""
        return self.restored.values(plain(self.restored.problem))

    @property
    def damaged_name(self) -> str:
        """What that is called: zero-filled, bicubic, ..."""
        return name_of(self.restored.problem.operator)

    @property
    def samples(self) -> Tensor:
        """[n, K, *shape] in the user's units."""
        return self.restored.values(self.restored.state)

    def save(self, folder: str | Path) -> list[Path]:
        """Write mean, deviations, interval, samples, pictures and restore.json into a folder; see `saving`."""
        from perrin.editing.saving import save  # which writes what this holds

        return save(self, Path(folder))

    @property
    def psnr(self) -> dict[str, float]:
        """Decibels of the damaged picture, the mean and a single sample, of a simulation; else nothing."""
        if self.truth is None:
            return {}
        width = extent(self.form, self.restored.codec, self.truth)
        each = {self.damaged_name: self.damaged, "mean": self.restored.values(self.restored.mean)}
        found = {name: decibels(one, self.truth, width) for name, one in each.items()}
        return {**found, "sample": decibels(self.samples, self.truth[:, None], width)}


def extent(form: Form, codec: Any, values: Tensor) -> float:
    """Width of the scale that errors are measured by: pixels' 255, a window's, else that of the values themselves."""
    gain = scale_of(codec)[1]
    return 2 * abs(gain) if codec.kind in ("images", "volumes") else float(values.max() - values.min())


def decibels(values: Tensor, truth: Tensor, width: float) -> float:
    """Peak signal-to-noise ratio, 10 log10(width^2 / mean squared error)."""
    return float(10 * torch.log10(width**2 / (values - truth).square().mean()))


def restore_file(
    model: Model,
    file: str | Path,
    task: str,
    said: Mapping[str, Any],
    *,
    sigma: float | Literal["auto"] | None,
    simulate: bool,
    seed: int,
    volume: int | None,
    scale: float | Literal["auto"] | None,
    progress: Callable[[int, int], None] | None,
    height: int | None = None,
    width: int | None = None,
    **options: Any,
) -> Restoration:
    """See `perrin.restore`."""
    began = time.process_time()
    codec = model.codec
    if isinstance(codec, Decodes):
        codec = _pictures(codec, file, "" if simulate else task, said, height, width)
    elif height is not None or width is not None:
        raise PerrinError("height and width are for pretrained models of any size; this one has one")
    form = open_form(file, codec, volume, scale)
    factor = form.scale if isinstance(form, Numbers) else 1.0
    said = {name: factor * value if name == "limit" else value for name, value in said.items()}
    damage = damage_of(task, form, codec, said, not simulate)
    operator = damage.operator
    truth, noise = None, _noise(task, sigma, factor)
    if simulate:
        truth = form.values()
        y = simulated(operator, truth, _added(noise), seed)
    else:
        y = form.values() if same_grid(operator) else form.measured(operator)
    restored = model.restore(y, operator, noise=noise, seed=seed, progress=progress, **options)
    found = Restoration(restored, form, damage, y, truth)
    gain = abs(scale_of(codec)[1])
    found.about.update(
        task=task,
        folder=None if form.stripped() is not None or model.folder is None else str(model.folder),
        sigma=restored.problem.noise * gain / factor,
        scale=factor,
        sigma_estimated=noise == "auto",
        simulated=simulate,
        residual_over_noise=_over_noise(restored),
        psnr=found.psnr or None,
        evaluations_per_sample=restored.evaluations,
        cpu_seconds=time.process_time() - began,
    )
    return found


def _pictures(
    codec: Decodes,
    file: str | Path,
    task: str,
    said: Mapping[str, Any],
    height: int | None,
    width: int | None,
) -> Codec:
    """The codec of pictures of the size that is asked for, or that a file says."""
    own = codec.shown(height, width)
    form = open_form(file, own)
    if height is None and width is None and isinstance(form, Picture):
        return codec.shown(*sides_of(task, said, form.size) or (None, None))
    return own


def simulated(operator: Operator, values: Tensor, noise: float, seed: int) -> Tensor:
    """y = A v + noise of clean values [n, *shape]."""
    y: Tensor = operator(values)
    generator = torch.Generator().manual_seed(seed)
    parts = torch.view_as_real(y).shape if y.is_complex() else y.shape
    drawn = noise * torch.randn(parts, generator=generator, dtype=torch.float64)
    return y + (torch.view_as_complex(drawn) if y.is_complex() else drawn)


def _noise(task: str, sigma: float | Literal["auto"] | None, factor: float) -> float | Literal["auto"]:
    """In the units of the model's data."""
    if sigma is not None:
        return sigma if sigma == "auto" else factor * sigma
    return "auto" if task == "denoise" else 0.0


def _added(noise: float | Literal["auto"]) -> float:
    if noise == "auto":
        raise PerrinError(
            "a simulation adds the noise itself: say how much by --sigma NUMBER, in the file's units"
        )
    return noise


def _over_noise(restored: Restored) -> float | None:
    """Root mean square of what the samples leave unexplained over the noise; None without noise."""
    noise = restored.problem.noise
    return float(restored.residual.double().square().mean().sqrt()) / noise if noise > 0 else None

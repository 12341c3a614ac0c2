"""`restore` and `edit`: the verbs of people's files."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from perrin.editing.repainting import Edited, edit_file
from perrin.editing.restoring import Restoration, restore_file
from perrin.loading import load
from perrin.model import Model

Progress = Callable[[int, int], None]


def restore(
    model: str | Path | Model,
    file: str | Path,
    task: str,
    *,
    sigma: float | Literal["auto"] | None = None,
    simulate: bool = False,
    samples: int = 8,
    method: str | None = None,
    settings: dict[str, Any] | None = None,
    particles: bool = False,
    steps: int | None = None,
    solver: str | None = None,
    seed: int = 0,
    label: Any = "none",
    prompt: str | None = None,
    negative: str | None = None,
    height: int | None = None,
    width: int | None = None,
    guidance: float | None = None,
    batch: int | None = None,
    volume: int | None = None,
    scale: float | Literal["auto"] | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    **options: Any,
) -> Restoration:
    """Restore a damaged file: a picture, a scan, k-space, a sinogram, a recording.

    Args:
        file: the damaged thing itself, or with `simulate` a clean one, which is measured, restored and compared.
        task: see `perrin models --tasks`; its options: `mask` (a file; white is to be filled, of mri measured), `std`,
            `length`, `angle`, `factor`, `acceleration`, `centre`, `coils` (a file), `angles`, `span`, `share`, `gaps`
            ("120:180,400:440"), `limit`.
        sigma: the noise's standard deviation in the file's units (pixels 0..255, HU, ...); "auto" estimates it, as does
            None of task denoise; else None is 0.
        samples: of each item; method, settings, particles, steps, solver, seed, label, prompt, negative, guidance, batch:
            see `Model.restore`.
        height, width: in pixels, of pretrained models of any size: a picture is scaled and cropped to them; its own by
            default.
        volume: which one of a 4-D NIfTI file. scale: what arrays and recordings are multiplied by to have the units of the
            model's data; results are in the file's. "auto" compares standard deviations.

    Returns:
        `.restored`, `.quantities()` (mean, std, low, high in the file's units), `.psnr` of a simulation, `.save(folder)`.

    Raises:
        PerrinError: a file that cannot be read or does not fit, a noise that cannot be told.
    """
    loaded = load(model, device=device) if isinstance(model, str | Path) else model
    found = restore_file(
        loaded, file, task, options, sigma=sigma, simulate=simulate, seed=seed, volume=volume, scale=scale,
        progress=progress, samples=samples, method=method, settings=settings, particles=particles, steps=steps,
        solver=solver, label=label, prompt=prompt, negative=negative, height=height, width=width, guidance=guidance,
        batch=batch,
    )  # fmt: skip
    for note in found.form.notes:
        warnings.warn(note, stacklevel=2)
    return found


def edit(
    model: str | Path | Model,
    image: str | Path,
    *,
    mask: str | Path | None = None,
    label: Any = "none",
    prompt: str | None = None,
    negative: str | None = None,
    guidance: float | None = None,
    strength: float | None = None,
    samples: int = 4,
    method: str | None = None,
    settings: dict[str, Any] | None = None,
    steps: int | None = None,
    solver: str | None = None,
    seed: int = 0,
    batch: int | None = None,
    true_guidance: float | None = None,
    height: int | None = None,
    width: int | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Edited:
    """Edit a picture: repaint what a mask marks, at the picture's own size, or change all of it by some strength.

    Args:
        image: a picture of any size. mask: one of the same size, in which white is repainted; nothing else changes.
        label, guidance, strength, samples, method, settings, steps, solver, seed, batch: see `Model.edit`.
        prompt, negative, true_guidance, height, width: of pretrained folders, see `Pretrained.edit`.

    Returns:
        `.pictures` (uint8), `.change_outside`, `.save(path)`.

    Raises:
        PerrinError: a mask of another size, neither mask nor strength, a model of something else.
    """
    loaded = load(model, device=device) if isinstance(model, str | Path) else model
    found = edit_file(
        loaded, image, mask, strength=strength, progress=progress, label=label, guidance=guidance, samples=samples,
        method=method, settings=settings, steps=steps, solver=solver, seed=seed, batch=batch, prompt=prompt,
        negative=negative, true_guidance=true_guidance, height=height, width=width,
    )  # fmt: skip
    for note in found.notes:
        warnings.warn(note, stacklevel=2)
    return found


__all__ = ["edit", "restore"]

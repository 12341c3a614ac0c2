"""Opening a folder in the layout of diffusers as a `Model`."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from perrin.systems.latent.families.assembled import Assembled, denoising
from perrin.systems.latent.families.known import family, sampling
from perrin.systems.latent.folder_model import Pretrained
from perrin.systems.latent.layout import read
from perrin.systems.latent.placing import place, precision
from perrin.systems.latent.sizing import of_size


def load_pretrained(
    folder: str | Path,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    offload: str | None = None,
) -> Pretrained:
    """The model of a folder in the diffusers layout.

    Args:
        dtype: of the networks, "float32", "bfloat16" or "float16"; by default float32 on the CPU and bfloat16 elsewhere.
        offload: what of the weights is on the device: "none" of them is kept off it; "parts", those of the component
            that is in use; "layers", those of the block that is. By default what fits into the memory that is free.

    Raises:
        PerrinError: a pipeline or a component that is not known, missing files, pickles, code; weights that do not fit.
    """
    folder, where = Path(folder), torch.device(device)
    layout = read(folder)
    kind, why = precision(dtype, where)
    with _uncollected():
        parts = family(layout)(layout, kind)
    about = {"name": folder.name, "pipeline": layout.pipeline, "dtype": str(kind).removeprefix("torch.")}
    model = of_size(made_of(parts, folder, about), {})
    place(model, where, offload, why)
    return model


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of cycles, which walks again and again over all that hundreds of imported modules make."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def made_of(parts: Assembled, folder: Path, about: dict[str, Any]) -> Pretrained:
    """The model of these parts, where they are."""
    design, module = denoising(parts)
    model = Pretrained(design, module, parts.codec, sampling(parts), folder, about)
    model.parts, model.by_size = parts.modules, parts.trained.by_size
    return model

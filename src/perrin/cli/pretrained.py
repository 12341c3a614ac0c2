"""Options of `perrin sample` for pretrained folders: what is done to the model, and the pictures that it is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perrin.errors import PerrinError


def changed(
    model: Any, loras: Sequence[str], control_net: Path | None, seamless: bool, tiles: int | None
) -> Any:
    """The model with what was asked for.

    Raises:
        PerrinError: any of it for a model that is no pretrained folder.
    """
    asked = {"--lora": loras, "--control-net": control_net, "--seamless": seamless, "--tiles": tiles}
    for name, value in asked.items():
        if value and not hasattr(model, "with_lora"):
            raise PerrinError(f"{name} is for pretrained folders in the layout of diffusers")
    for text in loras:
        model = model.with_lora(*scaled(text))
    if control_net is not None:
        model = model.with_control(control_net)
    if seamless:
        model = model.seamless()
    return model if tiles is None else model.tiled(tiles)


def scaled(text: str) -> tuple[Path, float]:
    """FILE or FILE:SCALE.

    Raises:
        PerrinError: a scale that is no number.
    """
    path, colon, scale = text.rpartition(":")
    if not colon or Path(text).is_file():
        return Path(text), 1.0
    try:
        return Path(path), float(scale)
    except ValueError:
        if Path(scale).suffix:  # a drive and its file
            return Path(text), 1.0
        raise PerrinError(f"--lora {text}: write FILE or FILE:SCALE, such as style.safetensors:0.8") from None

"""What options of `perrin sample` mean for pretrained folders: how one is opened and changed, what pictures are told."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perrin.cli.common import choose_device
from perrin.errors import PerrinError


@dataclass(frozen=True)
class Opened:
    """How a model is opened, and what is done to it then: the options of `folder_options`."""

    device: str
    loras: Sequence[str] = ()
    control_nets: Sequence[Path] = ()
    upscalers: Sequence[str] = ()
    seamless: bool = False
    tiles: int | None = None
    dtype: str | None = None
    offload: str | None = None
    compiled: bool = False
    channels_last: bool = False

    def model(self, place: str) -> Any:
        """The model of a folder or a Hub id; of a pretrained one a line on standard error says how it computes and why.

        Raises:
            PerrinError: any of the options for a model that is no pretrained folder.
        """
        model = self._changed(self._load(place))
        for upscaler in self.upscalers:
            model = _pretrained(self._load(upscaler), "--upscaler").after(model)
        if self.tiles is not None:
            model = _pretrained(model, "--tiles").tiled(self.tiles)
        if self.channels_last:
            model = _pretrained(model, "--channels-last").channels_last()
        model = model.compile() if self.compiled else model
        if hasattr(model, "chosen"):
            print(model.chosen, file=sys.stderr)
        return model

    def _load(self, place: str) -> Any:
        from perrin.loading import load

        return load(place, device=choose_device(self.device), dtype=self.dtype, offload=self.offload)

    def _changed(self, model: Any) -> Any:
        for text in self.loras:
            model = _pretrained(model, "--lora").with_lora(*scaled(text))
        for folder in self.control_nets:
            model = _pretrained(model, "--control-net").with_control(folder)
        return _pretrained(model, "--seamless").seamless() if self.seamless else model


def _pretrained(model: Any, option: str) -> Any:
    if not hasattr(model, "with_lora"):
        raise PerrinError(f"{option} is for pretrained folders in the layout of diffusers")
    return model


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


def told(given: Mapping[str, Any]) -> dict[str, Any]:
    """What pictures are told, by the names of their options, as `Model.sample` takes it; what is None is left out."""
    found = {name.replace("-", "_"): value for name, value in given.items() if value is not None}
    for name in ("control", "control_scale"):
        if len(found.get(name, ())) == 1:
            found[name] = found[name][0]
    if "before" in found:
        found["before"] = settings(found["before"])
    return found


def settings(texts: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE of the model before; `before.NAME` is of the one before that.

    Raises:
        PerrinError: what is not of that form.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise PerrinError(f"--before {text!r}: write NAME=VALUE, such as steps=20")
        *outer, last = name.strip().split(".")
        place = found
        for part in outer:
            place = place.setdefault(part, {})
        place[last] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text

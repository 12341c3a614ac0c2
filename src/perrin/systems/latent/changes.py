"""What was done to a pretrained model after it was opened, done again: provenance holds the list, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from perrin.errors import PerrinError
from perrin.model import Model
from perrin.systems.latent.folder_model import Pretrained
from perrin.systems.latent.layout import is_layout
from perrin.systems.latent.lora import file_hash
from perrin.systems.latent.opening import load_pretrained


def repeated(model: Model, changes: Sequence[Mapping[str, Any]]) -> Model:
    """The model with these changes.

    Raises:
        PerrinError: a change that is not known, a file that is gone or is another one now.
    """
    for change in changes:
        if not isinstance(model, Pretrained):
            raise PerrinError(f"{model.folder} is no pretrained folder; it takes no {next(iter(change), '')}")
        name = next((name for name in WAYS if name in change), None)
        if name is None:
            raise PerrinError(f"the change {', '.join(change)} of a model is not known to this Perrin")
        model = WAYS[name](model, change)
    return model


def _lora(model: Pretrained, said: Mapping[str, Any]) -> Pretrained:
    path = Path(said["lora"])
    if path.is_file():
        _refuse_another(path, file_hash(path), said["hash"])
    return model.with_lora(path, said["scale"])


def _control(model: Pretrained, said: Mapping[str, Any]) -> Pretrained:
    folder = Path(said["control"])
    found = model.with_control(folder)
    _refuse_another(folder, found.about["changes"][-1]["hash"], said["hash"])
    return found


def _after(model: Pretrained, said: Mapping[str, Any]) -> Pretrained:
    if said["after"] is None:
        raise PerrinError(
            "the samples were drawn after a model that is in no folder; draw them again in Python"
        )
    folder = Path(said["after"])
    if folder.is_dir() and is_layout(folder):
        base: Model = load_pretrained(folder, model.device, said.get("dtype"))
    else:
        base = Model.load(folder, model.device)
    base = repeated(base, said["changes"])
    _refuse_another(folder, base.hash, said["hash"])
    return model.after(base)


def _refuse_another(path: Path, found: str, wanted: str) -> None:
    if found != wanted:
        raise PerrinError(f"{path} holds {found} and not {wanted}, with which the samples were drawn")


WAYS: dict[str, Callable[[Pretrained, Mapping[str, Any]], Pretrained]] = {
    "lora": _lora,
    "control": _control,
    "after": _after,
    "seamless": lambda model, said: model.seamless(*said["seamless"]),
    "tiled": lambda model, said: model.tiled(said["tiled"]),
}
"""The first word of a change to what does it again."""

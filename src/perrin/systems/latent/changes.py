"""What was done to a pretrained model after it was opened, done again: provenance holds the list, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from perrin.errors import PerrinError
from perrin.model import Model
from perrin.systems.latent.lora import file_hash
from perrin.systems.latent.opening import Pretrained


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


def _refuse_another(path: Path, found: str, wanted: str) -> None:
    if found != wanted:
        raise PerrinError(f"{path} holds {found} and not {wanted}, with which the samples were drawn")


WAYS: dict[str, Callable[[Pretrained, Mapping[str, Any]], Pretrained]] = {
    "lora": _lora,
    "control": _control,
    "seamless": lambda model, said: model.seamless(*said["seamless"]),
    "tiled": lambda model, said: model.tiled(said["tiled"]),
}
"""The first word of a change to what does it again."""

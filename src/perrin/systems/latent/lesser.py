"""A weaker version of a pretrained model to guide away from (autoguidance): it is told what this one is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from perrin.errors import PerrinError
from perrin.model import Model
from perrin.systems.latent.layout import is_layout

if TYPE_CHECKING:
    from perrin.systems.latent.folder_model import Pretrained


def lesser(model: Pretrained, place: Model | str | Path) -> Model | str | Path:
    """The weaker model of a pretrained folder; any other place as it is.

    Raises:
        PerrinError: a file of weights; a model whose texts are encoded otherwise, which could not read what it is told.
    """
    if not isinstance(place, Model):
        if Path(place).is_file():
            raise PerrinError(
                f"{place} is a file; a weaker version of a pretrained model is a folder in the layout of diffusers"
            )
        if not is_layout(Path(place)):
            return place
        from perrin.systems.latent.opening import load_pretrained  # which knows the class of this model

        place = load_pretrained(place, model.device, model.about.get("dtype"))
    if not _same_texts(model, place):
        raise PerrinError(
            f"{place.folder or 'the weaker model'} is no weaker version of this model: its texts are encoded otherwise"
        )
    return place


def _same_texts(one: Model, other: Model) -> bool:
    """Whether both say a text in the same numbers, to what half precision leaves of them."""
    texts = [getattr(model.codec, "text", None) for model in (one, other)]
    if texts[0] is None or texts[1] is None:
        return texts[0] is texts[1]
    first, second = (text(["a"]) for text in texts if text is not None)
    return first.keys() == second.keys() and all(
        value.shape == second[name].shape
        and bool((value.float() - second[name].to(value.device).float()).abs().max() < 0.1)
        for name, value in first.items()
    )

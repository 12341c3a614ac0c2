"""`Model.edit` of latent models: a photo of any size drawn over where a mask says, or all of it from its noised self.

What is drawn is `sample(image=, mask=, strength=)` of what the model sees of the photo (`viewing`); outside the mask are
the photo's own pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from perrin.errors import PerrinError, check_counts
from perrin.kinds.images.pasting import pasted
from perrin.kinds.images.pixels import with_channels
from perrin.restoration.repainting import refuse_one_colour
from perrin.restoration.strength import STRENGTH
from perrin.samples import Samples
from perrin.systems.latent.given import Given, given
from perrin.systems.latent.viewing import View, viewed

if TYPE_CHECKING:
    from perrin.systems.latent.folder_model import Pretrained


@dataclass(kw_only=True)
class Edits(Samples):
    """Samples whose pixels are those of a photo outside of a hole.

    Attributes:
        photo: uint8 [H, W] or [H, W, 3]. hole: bool [H, W]. view: what the samples show of it.
    """

    photo: np.ndarray
    hole: np.ndarray
    view: View

    def _values(self, state: Any) -> list[Any]:
        return [pasted(self.photo, one, self.hole, self.view.box) for one in super()._values(state)]


def edit(
    model: Pretrained,
    image: Any,
    *,
    mask: Any = None,
    label: Any = "none",
    strength: float | None = None,
    samples: int = 4,
    height: int | None = None,
    width: int | None = None,
    batch: int | None = None,
    **told: Any,
) -> Samples:
    """See `Pretrained.edit`."""
    check_counts(samples=samples, batch=1 if batch is None else batch)
    codec: Any = model.codec
    if getattr(getattr(codec, "follows", None), "argument", "") == "image":
        raise PerrinError("this model enlarges pictures; an edit is of a model that draws them")
    photo = given(image, "image")
    if isinstance(photo.value, torch.Tensor):
        raise PerrinError(
            "an edit is of pixels, not of latents: sample(image=, mask=, strength=) takes those"
        )
    size = (photo.value.shape[0], photo.value.shape[1])
    marks = None if mask is None else given(mask, "mask")
    hole = None if marks is None else _hole(marks, size)
    view = viewed(codec, size, hole, height, width)
    far = (1.0 if hole is not None else STRENGTH) if strength is None else float(strength)
    asked = {name: value for name, value in told.items() if value is not None}
    if label != "none" or codec.classes:
        asked["label"] = label
    shown: dict[str, Any] = {
        "image": view.of(photo.value),
        "mask": None if hole is None else view.filled(hole),
    }
    found = model.sample(
        samples, strength=far, height=view.size[0], width=view.size[1], batch=batch, **shown, **asked
    )
    record = {
        name: value
        for name, value in {**told, "label": label, "strength": strength, "samples": samples, "height": height,
                            "width": width, "batch": batch}.items()
        if value is not None and name != "progress"
    }  # fmt: skip
    for one in found.provenance:
        for name in ("image", "mask", "begin"):  # of the view; the photo's own stand beside
            one["wanted"].pop(name, None)
        one |= {"made_by": "edit", "edit": record, "image": photo.about, "view": list(view.box)}
        one |= {} if marks is None else {"mask": marks.about}
    if hole is None:
        return found
    return Edits(**vars(found), photo=photo.value, hole=hole, view=view)


def _hole(mask: Given, size: tuple[int, int]) -> np.ndarray:
    """bool [H, W], where the mask is light.

    Raises:
        PerrinError: another size than the photo's, or one colour.
    """
    assert isinstance(mask.value, np.ndarray)
    hole: np.ndarray = with_channels(mask.value, 1) >= 128
    if hole.shape != size:
        raise PerrinError(
            f"the mask is of {hole.shape[1]} x {hole.shape[0]} pixels, the image of {size[1]} x {size[0]}"
        )
    refuse_one_colour(torch.from_numpy(hole))
    return hole

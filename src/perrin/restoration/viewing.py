"""What of a model's states can be measured where a network decodes them: pictures of the size that was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from perrin.contracts import Decodes, Seen
from perrin.errors import PerrinError
from perrin.guide.operators import Operator
from perrin.restoration.tasks import upscale

if TYPE_CHECKING:
    from perrin.model import Model

OF_OTHER_SIZES = ("mri", "ct", "compressed")
"""Tasks whose measurements do not say how large the picture is."""


def seen_of(
    model: Model,
    measurement: Any,
    task: str | Operator,
    options: Mapping[str, Any],
    guidance: float | None,
    wanted: Mapping[str, Any],
) -> Seen | None:
    """What of the states is measured; None: they are measured themselves.

    Args:
        wanted: prompt, negative, label, height, width; None for what was not said.

    Raises:
        PerrinError: what the model does not know, a size that it cannot draw.
    """
    if not isinstance(model.codec, Decodes):
        for name, value in wanted.items():
            if name != "label" and value is not None:
                raise PerrinError(f"{name} is for pretrained models of texts and pictures, which this is not")
        return None
    size = task.shape if isinstance(task, Operator) else sides_of(task, options, np.shape(measurement))
    sides = dict(zip(("height", "width"), size[-2:], strict=True)) if size else {}
    told = {**sides, **{name: value for name, value in wanted.items() if value is not None}}
    return model.codec.seen(guidance, model.sampling.weight(None), **told)


def sides_of(task: str, options: Mapping[str, Any], measured: Sequence[int]) -> tuple[int, ...]:
    """(height, width) of pictures whose measurements [..., h, w] have these sizes; () where they do not say."""
    if task in OF_OTHER_SIZES or len(measured) < 2:
        return ()
    defaults = upscale.__kwdefaults__ or {}
    factor = options.get("factor", defaults["factor"]) if task == "upscale" else 1
    return tuple(int(factor * side) for side in measured[-2:])

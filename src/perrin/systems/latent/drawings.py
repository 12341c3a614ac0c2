"""Pictures that ControlNets follow: one of them or several, each with pictures and a scale of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perrin.errors import PerrinError
from perrin.systems.latent.given import Given, each

WHAT = "control picture"


def drawings(controls: int, n: int, control: Any) -> list[list[Given]]:
    """n pictures for each of so many ControlNets.

    Args:
        control: of one ControlNet a picture, or one for each sample; of several a list with such an entry for each.

    Raises:
        PerrinError: pictures without a ControlNet, or another number of them.
    """
    if not controls:
        if control is not None:
            raise PerrinError("control is for models with a ControlNet: with_control(FOLDER) adds one")
        return []
    if control is None:
        raise PerrinError("this model has a ControlNet, which needs a picture: give control")
    if controls == 1:
        return [each(n, control, WHAT)]
    if not isinstance(control, list | tuple) or len(control) != controls:
        found = len(control) if isinstance(control, list | tuple) else 1
        raise PerrinError(f"{found} {WHAT}s for {controls} ControlNets; give control as a list, one for each")
    return [each(n, own, WHAT) for own in control]


def scales(controls: int, scale: float | Sequence[float] | None) -> list[float]:
    """How much each of so many ControlNets counts.

    Raises:
        PerrinError: a scale without a ControlNet, or another number of them.
    """
    if not controls and scale is not None:
        raise PerrinError("control_scale is for models with a ControlNet: with_control(FOLDER) adds one")
    own = list(scale) if isinstance(scale, Sequence) else [1.0 if scale is None else scale] * controls
    if len(own) != controls:
        raise PerrinError(f"{len(own)} control scales for {controls} ControlNets; give one, or one for each")
    return [float(one) for one in own]


def said(pictures: Sequence[Sequence[Given]], scale: Sequence[float]) -> list[dict[str, Any]]:
    """What provenance says of each sample, as `drawings` and `scales` take it."""
    if len(pictures) == 1:
        return [{"control": one.about, "control_scale": scale[0]} for one in pictures[0]]
    rows = zip(*pictures, strict=True)
    return [{"control": [one.about for one in row], "control_scale": list(scale)} for row in rows]

"""Predictions at levels that are known before: what depends on levels and condition alone is made once, for all of them.

A loop that knows its levels asks the denoiser for them at its start, and calls what it is given with the state alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.process.state import State

AtLevel: TypeAlias = Callable[[State], Prediction]
"""The prediction at a state x [B, ...], of levels and a condition that are settled."""


def ahead(denoiser: Denoiser, levels: Tensor, x: State, condition: Condition = None) -> Sequence[AtLevel]:
    """The predictions at each of `levels` float64 [T, B], of states like `x` [B, ...] under one condition.

    A denoiser with a method `ahead(levels, x, condition)` prepares them; of any other each is a plain call.
    """
    own = _own(denoiser)
    return (
        [later(denoiser, level, condition) for level in levels] if own is None else own(levels, x, condition)
    )


def later(denoiser: Denoiser, level: Tensor, condition: Condition) -> AtLevel:
    """The plain call at `level` [B]."""
    return partial(_call, denoiser, level, condition)


def _call(denoiser: Denoiser, level: Tensor, condition: Condition, x: State) -> Prediction:
    return denoiser(x, level, condition)


def _own(denoiser: Denoiser) -> Any:
    """The denoiser's own `ahead`, unless a subclass, a hook or an instance has changed what a call of it does."""
    for kind in type(denoiser).__mro__:
        if "ahead" in vars(kind):
            break
        if "forward" in vars(kind):
            return None
    else:
        return None
    hooked = any(getattr(denoiser, name, None) for name in ("_forward_hooks", "_forward_pre_hooks"))
    return None if hooked or "forward" in vars(denoiser) else getattr(denoiser, "ahead", None)

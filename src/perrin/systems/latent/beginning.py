"""Samples that begin at an image: a share of the plan, its strength, is run from the noised image on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from perrin.errors import PerrinError, check_counts
from perrin.mixing import each, once
from perrin.model import Model
from perrin.restoration.strength import STRENGTH, starting
from perrin.sample import Plan
from perrin.samples import Samples


def drawn(
    model: Model,
    n: int,
    strength: float | Sequence[float | None] | None,
    plan: Plan | Sequence[Plan | None] | None,
    asked: dict[str, Any],
) -> Samples:
    """As `Pretrained.sample`, which has settled the rest of what is asked.

    Raises:
        PerrinError: a strength without an image, or of an image that is enlarged; a plan beside a solver; samples
            that begin at noise among others that begin at the image.
    """
    enlarged = getattr(getattr(model.codec, "follows", None), "argument", "") == "image"
    if enlarged and strength is not None:
        raise PerrinError("strength is for an image to begin at; this model enlarges it: noise_level")
    if enlarged or (strength is None and (plan is not None or asked.get("image") is None)):
        return Model.sample(model, n, plan=plan, **asked)
    if asked.get("image") is None:
        raise PerrinError("strength is how far samples may leave an image; give image")
    check_counts(n=n)
    fills, given = getattr(model.codec, "inpaints", False), each(n, plan, "plans")
    usual = 1.0 if fills else STRENGTH
    far = [
        usual if one is None and own is None else one
        for one, own in zip(each(n, strength, "strengths"), given, strict=True)
    ]
    begins = [not (fills and one == 1) for one in far]
    if any(begins) and not all(begins):
        raise PerrinError(
            "of a model that fills holes strength 1 begins at noise and any other at the image; draw them apart"
        )
    ways = (
        each(n, asked.pop("solver", None), "solvers"),
        each(n, asked.pop("steps", None), "numbers of steps"),
    )
    asked |= {"begin": True} if begins[0] else {}
    wholes = once(partial(_whole, model), zip(given, *ways, strict=True))
    cut = once(_cut, zip(wholes, far, strict=True))
    found = Model.sample(model, n, plan=cut, **asked)
    for made, one, whole in zip(found.provenance, far, wholes, strict=True):
        made |= {"strength": one, "steps": len(whole.grid) - 1}
    return found


def _whole(model: Model, plan: Plan | None, solver: str | None, steps: int | None) -> Plan:
    """The plan that is asked for, before it is cut."""
    if plan is not None and (solver is not None or steps is not None):
        raise PerrinError("a plan holds its own solver and steps; give either a plan, or solver and steps")
    return plan or Model.plan(model, solver, steps, fitted=False)


def _cut(plan: Plan, far: float | None) -> Plan:
    """The share `far` of a plan; None: all of it."""
    return plan if far is None else starting(plan, float(far))

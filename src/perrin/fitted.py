"""Plans that were fitted to a model and lie in its folder, one a number of evaluations: plans/6.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perrin.errors import PerrinError
from perrin.sample import Plan

PLANS = "plans"


def path_of(plans: Path, evaluations: int) -> Path:
    """Where the plan of so many evaluations lies in a folder of plans."""
    return plans / f"{evaluations}.json"


def find(plans: Path | None, evaluations: int) -> Plan | None:
    """The fitted plan of so many evaluations, if the folder has one.

    Raises:
        PerrinError: the file is not a plan, or one of another number of evaluations.
    """
    if plans is None or not path_of(plans, evaluations).is_file():
        return None
    path = path_of(plans, evaluations)
    plan = Plan.load(path)
    if plan.nfe != evaluations:
        raise PerrinError(f"{path} takes {plan.nfe} evaluations, not {evaluations}")
    return plan


def misfit(plan: Plan, model_hash: str, guidance: float, facts: Mapping[str, Any]) -> str | None:
    """Why a fitted plan was not fitted to this model under this guidance; None if it was, or if it is a rule's.

    Args:
        facts: what the guidance does besides its weight, `Steering.facts`.
    """
    if plan.fitted is None:
        return None
    model = plan.fitted.get("model")
    if model is not None and model != model_hash:
        return f"the plan was tuned for model {model}, and this is model {model_hash}"
    weight = float(plan.fitted.get("guidance", 1.0))
    if weight != guidance:
        return f"the plan was tuned under guidance {weight:g}, and this is guidance {guidance:g}"
    for name in ("interval", "rescale", "projected", "weaker") if weight != 1.0 else ():
        wanted, here = plan.fitted.get(name), facts.get(name)
        if wanted != here:
            return f"the plan was tuned under guidance of {name} {wanted}, and this has {here}"
    return f"the plan was tuned without the energy {facts['energy']!r}" if "energy" in facts else None

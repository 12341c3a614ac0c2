"""Perrin's own contenders: every deterministic rule on every grid, and some on the grid fitted to the denoiser."""

from __future__ import annotations

import functools
import math

from targets import FITTING, Target

from perrin.errors import PerrinError
from perrin.learn.spacing import spaced
from perrin.registry import grids, rules
from perrin.sample import Plan, make_plan

UNTUNED, FITTED = "perrin", "perrin, fitted grid"
SPACED = "spaced"
ON_FITTED = ("ddim", "dpmpp_2m", "unipc_2", "unipc_3")


def contenders() -> list[tuple[str, str, str]]:
    """(library, rule, grid) of all; one name of each rule."""
    named = {rules[name]: name for name in reversed(list(rules)) if not rules[name].stochastic}
    steady = [name for name in rules if name in named.values()]
    plain = [(UNTUNED, name, grid) for name in steady for grid in grids]
    return plain + [(FITTED, name, SPACED) for name in ON_FITTED]


def plan_of(rule: str, grid: str, target: Target, evaluations: int) -> Plan | None:
    """The rule's plan of that many evaluations or the next fewer; None where it has none."""
    for steps in range(evaluations, 0, -1):
        try:
            if grid == SPACED:
                if make_plan(rule, grid=[*map(float, range(steps)), math.inf]).nfe > evaluations:
                    continue
                return make_plan(rule, grid=fitted(target, steps))
            plan = make_plan(rule, target.schedule, steps=steps, grid=grid)
        except PerrinError:  # one step of a grid over a finite range has no two levels that rise
            return None
        if plan.nfe <= evaluations:
            return plan
    return None


@functools.cache
def fitted(target: Target, steps: int) -> list[float]:
    """The levels that the denoiser's own trajectories ask for; no rule and no solution is looked at."""
    return spaced(target.denoiser, target.schedule, steps, shape=target.shape, seeds=FITTING)

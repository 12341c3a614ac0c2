r"""How far an edit goes from its image: SDEdit begins at the noised image and runs the rest of a plan (Meng et al. 2022).

    x = alpha clean + sigma noise    at the level that lies 1 - strength of the way along the plan's grid

The plan is traced afresh from there: a rule's history begins with the run.
"""

from __future__ import annotations

import math

from perrin.errors import PerrinError
from perrin.sample import Plan

STRENGTH = 0.6
"""Of an edit without a mask."""


def starting(plan: Plan, strength: float) -> Plan:
    """The rest of a plan, the share `strength` of it, traced afresh; between two levels of its grid in proportion.

    Raises:
        PerrinError: a strength that is none.
    """
    if not 0 < strength <= 1:
        raise PerrinError(
            f"strength = {strength} must lie above 0, which changes nothing, and at most 1, which keeps nothing"
        )
    place = (1 - strength) * (len(plan.grid) - 1)
    before = min(math.floor(place), len(plan.grid) - 2)
    one, other = plan.grid[before], plan.grid[before + 1]
    if strength == 1:
        return plan
    if math.isinf(other):  # the last step ends at no noise at all
        return plan.starting_at(one)
    return plan.starting_at(other if math.isinf(one) else one + (place - before) * (other - one))

"""A plan of a product: every leaf moves by a solver of its own, and all meet where the denoiser is evaluated.

Rules are traced on the levels of their leaf's clock; their tables must ask at the same levels of the state. A leaf that a
kernel moves leaps from every evaluation to the next, and at last to the end of the grid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch

from perrin.errors import PerrinError
from perrin.process.product import Clock
from perrin.sample.jumping import Leap
from perrin.sample.kernel import Kernel
from perrin.sample.making import make_plan, solver
from perrin.sample.plan import Plan, Row


def combine(
    solvers: Mapping[str, str],
    levels: Sequence[float],
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    clocks: Mapping[str, Clock | Sequence[float]] | None = None,
) -> Plan:
    """The plan in which leaf `name` moves by `solvers[name]`.

    Args:
        levels: of the state; options: leaf -> of its solver; clocks: leaf -> (slope, shift).

    Raises:
        PerrinError: no leaf, options or clocks of other leaves, or rules that do not meet.
    """
    own = {name: dict((options or {}).get(name, {})) for name in solvers}
    clock = {name: _clock((clocks or {}).get(name, Clock())) for name in solvers}
    for what, given in (("options", options or {}), ("clocks", clocks or {})):
        for name in given:
            if name not in solvers:
                raise PerrinError(f"{what} name leaf {name!r}; the solvers are of {', '.join(solvers)}")
    if not solvers:
        raise PerrinError("a plan of a product needs a solver for every leaf")
    tables = {
        name: make_plan(rule, grid=[clock[name](v) for v in levels], **own[name])
        for name, rule in sorted(solvers.items())
        if not isinstance(solver(rule), Kernel)
    }
    rows = _base(solvers, levels, own, tables)
    for name, rule in sorted(solvers.items()):
        if name in tables:
            rows = _joined(rows, name, tables[name], clock[name])
        else:
            rows = _leaping(rows, name, rule, own[name], clock[name], levels)
    return Plan(
        dict(sorted(solvers.items())),
        tuple(levels),
        tuple(rows),
        max([2, *(plan.slots for plan in tables.values())]),
        {name: value for name, value in own.items() if value},
        sum(row.level is not None for row in rows),
        exact=False,
        clocks={name: (c.slope, c.shift) for name, c in clock.items() if c != Clock()},
    )


def _clock(value: Clock | Sequence[float]) -> Clock:
    return value if isinstance(value, Clock) else Clock(*map(float, value))


def _base(
    solvers: Mapping[str, str], levels: Sequence[float], own: Mapping[str, Any], tables: Mapping[str, Plan]
) -> list[Row]:
    """Rows that say where the denoiser is evaluated: those of a rule on the state's levels, else one a step."""
    stay = torch.zeros(2, 4, dtype=torch.float64)
    stay[:, 0] = 1.0
    if not tables:
        return [Row(s, s, stay) for s, _ in pairwise(levels)]
    name = next(iter(tables))
    plan = make_plan(solvers[name], grid=levels, **own[name])
    return [Row(row.level, row.base, stay) for row in plan.rows]


def _joined(rows: list[Row], leaf: str, plan: Plan, clock: Clock) -> list[Row]:
    """The rows with the table of a leaf."""
    if len(plan.rows) != len(rows) or not all(
        _same(None if row.level is None else clock(row.level), own.level)
        for row, own in zip(rows, plan.rows, strict=True)
    ):
        raise PerrinError(
            f"solver {plan.name!r} of leaf {leaf!r} does not evaluate where the other leaves' solvers do; take solvers "
            "with one evaluation a step, or the same one"
        )
    return [replace(row, parts={**row.parts, leaf: own}) for row, own in zip(rows, plan.rows, strict=True)]


def _same(wanted: float | None, found: float | None) -> bool:
    if wanted is None or found is None:
        return wanted is found
    return wanted == found or math.isclose(wanted, found, rel_tol=1e-9, abs_tol=1e-9)


def _leaping(
    rows: list[Row], leaf: str, kernel: str, options: dict[str, Any], clock: Clock, levels: Sequence[float]
) -> list[Row]:
    """The rows with the leaps of a leaf: from every evaluation to the next."""
    made, after = list[Row](), float(levels[-1])
    for row in reversed(rows):
        here = after if row.level is None else row.level
        if here > after:
            raise PerrinError(
                f"kernel {kernel!r} of leaf {leaf!r} cannot go back to a noisier level, as another leaf's solver does; "
                "take one whose levels rise"
            )
        leap = Leap(kernel, options, clock(here), clock(after), clock(float(levels[0])))
        made.append(replace(row, parts={**row.parts, leaf: leap}))
        after = here
    return made[::-1]

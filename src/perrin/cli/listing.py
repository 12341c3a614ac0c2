"""What can be named and what each name means, from the registries: for `perrin models` and the docs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perrin import registry

Row = dict[str, Any]

SECTIONS: dict[str, Mapping[str, Any] | None] = {  # section -> its registry; the recipes are files
    "recipes": None,
    "solvers": registry.rules,
    "token_solvers": registry.kernels,
    "grids": registry.grids,
    "schedules": registry.schedules,
    "processes": registry.processes,
    "parameterisations": registry.parameterisations,
    "variances": registry.variances,
    "guidance": registry.guides,
    "tasks": registry.tasks,
    "methods": registry.methods,
    "objectives": registry.objectives,
    "weights": registry.weights,
    "level_laws": registry.level_laws,
    "auxiliaries": registry.auxiliaries,
    "nets": registry.nets,
    "kinds": registry.kinds,
    "metrics": registry.metrics,
}


def section(name: str) -> list[Row]:
    """The rows of one section: `name`, `about`, and for solvers what their rules promise."""
    entries = SECTIONS[name]
    if entries is None:
        return recipes()
    rows: list[Row] = []
    first_name: dict[int, str] = {}
    for entry in entries:
        thing = entries[entry]
        original = first_name.setdefault(id(thing), entry)
        about = summary(thing) if original == entry else f"Another name of {original}."
        promises = solver_promises(thing) if name == "solvers" else {}
        rows.append({"name": entry, **promises, "about": about})
    return rows


def solver_promises(rule: Any) -> Row:
    """What a rule declares of itself and the tests measure, and the evaluations counted in a plan of it."""
    from perrin.process import vp
    from perrin.sample import make_plan

    return {
        "order": rule.order,
        "start_order": rule.start_order,
        "evaluations_of_10_steps": make_plan(rule, vp(), steps=10).nfe,
        "stochastic": rule.stochastic,
        "exact_on_point_mass": rule.exact_on_point_mass,
    }


def recipes() -> list[Row]:
    """The recipes inside the package, and what each is about."""
    from perrin.training.recipe import builtin

    return [{"name": name, "about": about} for name, about in builtin().items()]


def summary(thing: Any) -> str:
    """The first paragraph of an object's docstring, on one line; a rule keeps its own."""
    doc = getattr(thing, "summary", None) or getattr(thing, "__doc__", None) or ""
    return " ".join(doc.strip().split("\n\n")[0].split())


def cell(value: Any) -> str:
    """A fact as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else "-" if value is None else str(value)

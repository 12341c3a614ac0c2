"""The recipe that distils a model: what each method starts from, and how the student samples."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from perrin.denoise.until import CLEAN
from perrin.denoise.wrapped import Wrapped
from perrin.errors import PerrinError
from perrin.model import Model
from perrin.process.state import single
from perrin.registry import rules, unknown
from perrin.sample import Plan
from perrin.training import recipe as recipes

RENEWALS: dict[int, tuple[float, ...]] = {1: (), 2: (-1.0,), 4: (-2.5, -1.0, 0.5)}
"""Levels near which samples of so many evaluations are noised again, after the first at the start."""

INNER = (-2.0, 0.0, 2.0)
"""Levels at which shortcuts meet: with the start those of four steps, and every second one of two."""

METHODS: dict[str, dict[str, Any]] = {
    "trajectory": {
        "objective": {
            "name": "trajectory",
            "metric": "pseudo_huber",
            "first": 0.5,
            "teacher": {"trajectories": 20_000, "steps": 10},
        },
        "training": {"steps": 6000, "batch": 64, "lr": 1.5e-3, "ema": [0.05, 0.1], "validation": 400},
    },
    "consistency": {
        "objective": {
            "name": "consistency",
            "metric": "pseudo_huber",
            "weight": {"name": "edm_root"},
            "drop": 0.05,
            "stages": 4,
            "teacher": {},
        },
        "training": {"steps": 5000, "batch": 64, "lr": 2e-4, "ema": [0.05, 0.1]},
    },
    "shortcut": {
        "objective": {
            "name": "shortcut",
            "metric": "pseudo_huber",
            "weight": {"name": "edm_root"},
            "drop": 0.05,
            "first": 0.75,
            "teacher": {},
        },
        "training": {"steps": 5000, "batch": 64, "lr": 1e-3, "ema": [0.05, 0.1]},
        "sampling": {"solver": "ddim"},
    },
}
"""What each method starts from; a recipe's own values change it.

A student that learns from itself alone needs a small rate: at 1e-3 `consistency` followed its own errors.
"""


def distillation_recipe(
    folder: str | Path, method: str, data: str | None = None, guidance: float | None = None
) -> dict[str, Any]:
    """The recipe that distils the model of a folder, before the user's own changes.

    Args:
        folder: a run, whose recipe says where the data are; or a model folder, and then `data` says it.
        method: one of `METHODS`; 'trajectory' needs no data but to be judged.
        guidance: the weight under which to distil; the teacher's own by default.

    Raises:
        PerrinError: an unknown method, or a model that cannot teach.
    """
    if method not in METHODS:
        raise unknown("method of distillation", method, METHODS)
    teacher = Model.load(folder)
    refuse_unfit(teacher)
    content, chosen = _of_teacher(teacher, Path(folder)), METHODS[method]
    if data is not None:
        content = recipes.merge(content, {"data": {"path": data}})
    plan = teaching_plan(teacher)
    levels = _halved(plan) if method == "shortcut" else _evaluated(plan)
    start = max(levels[1][0], -10.0)
    change = {
        "name": f"{content['name']}-{method}",
        "about": f"{content['name']}, distilled by {method}.",
        "objective": {
            **chosen["objective"],
            "teacher": {
                **chosen["objective"]["teacher"],
                "folder": str(Path(folder).resolve()),
                "hash": teacher.hash,
            },
            "law": {"name": "uniform_level", "low": start, "high": CLEAN},
        },
        "training": chosen["training"],
        "sampling": {
            "solver": "consistency",
            "steps": 2,
            "evaluated": levels,
            "schedule": teacher.sampling.schedule,
            "interval": teacher.sampling.interval,
            "distilled_guidance": _weight(teacher, guidance),
            **chosen.get("sampling", {}),
        },
    }
    return recipes.merge(content, change)


def refuse_unfit(teacher: Model) -> None:
    """Raise PerrinError for a model that cannot teach: a classifier, one that is distilled, one that predicts noise."""
    denoiser = teacher.denoiser
    if not isinstance(denoiser, Wrapped):
        raise PerrinError(f"{teacher.folder} is a model of tokens; distillation is for continuous states")
    output = denoiser.parameterisation
    if output.needs_signal:
        raise PerrinError(
            f"{teacher.folder} predicts {output.name!r}, from which a clean state at almost no signal is a small "
            "difference of large numbers; a student needs a network that predicts edm, v, clean or flow_velocity"
        )
    if teacher.sampling.evaluations is not None:
        raise PerrinError(
            f"{teacher.folder} is distilled itself and predicts no mean to learn from; distil its teacher "
            f"{teacher.about.get('teacher') or ''}".rstrip()
        )


def teaching_plan(teacher: Model, steps: int = 10) -> Plan:
    """How the teacher draws trajectories: its own solver where that follows the probability flow, else dpmpp_2m."""
    own = single(teacher.sampling.solver, "distillation")
    return teacher.sampling.plan("dpmpp_2m" if rules[own].stochastic else own, steps)


def _evaluated(plan: Plan) -> dict[int, list[float]]:
    """The levels that a student evaluates for each number of evaluations: those of the plan that lie nearest."""
    start, *rest = (level for level in plan.grid if math.isfinite(level) or level == plan.grid[0])
    found = {}
    for count, wanted in RENEWALS.items():
        near = sorted({min(rest, key=lambda level: abs(level - w)) for w in wanted} if rest else ())
        if len(near) == count - 1:  # a coarse grid may lack some
            found[count] = [start, *near]
    return found


def _halved(plan: Plan) -> dict[int, list[float]]:
    """The levels at which four, two and one steps of a shortcut student begin."""
    grid = [plan.grid[0], *INNER]
    return {len(grid) // every: grid[::every] for every in (4, 2, 1)}


def _weight(teacher: Model, guidance: float | None) -> float:
    if not teacher.codec.classes:
        if guidance not in (None, 1.0):
            raise PerrinError(f"guidance = {guidance} needs a teacher with classes; this one has none")
        return 1.0
    return teacher.sampling.guidance if guidance is None else guidance


def _of_teacher(teacher: Model, folder: Path) -> dict[str, Any]:
    """Kind, data and network: of the teacher's recipe where it has one, else of its description."""
    if (folder / "recipe.yaml").is_file():
        whole = recipes.validate(recipes.read(folder / "recipe.yaml")).model_dump(mode="json")
        kept = ("kind", "data", "test", "held_out", "split_seed", "codec", "net", "evaluation")
        training = {key: whole["training"][key] for key in ("validation", "threads", "precision")}
        return {"name": whole["name"], **{key: whole[key] for key in kept}, "training": training}
    made = ("shape", "classes", "out_channels", "out_shape")
    net = {key: value for key, value in teacher.design.net.items() if key not in made}
    name = str(teacher.about.get("name") or folder.name)
    return {"name": name, "kind": teacher.codec.kind, "net": net, "training": {"validation": 0}}

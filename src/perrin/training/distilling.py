"""Distillation as training: a recipe whose objective has a teacher, and what `prepare` makes of it.

    objective: {name: trajectory, teacher: {folder: runs/mnist, hash: 2d1711b8ea23, trajectories: 20000, steps: 10}}
    sampling: {solver: consistency, steps: 2, evaluated: {1: [-6], 2: [-6, -1]}, distilled_guidance: 1.5}

The student has the teacher's network, codec and parameterisation, and starts from its weights. Batches, averages,
budget, log and resuming are those of any training.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from perrin.contracts import Codec
from perrin.design import Design, Sampling
from perrin.errors import PerrinError
from perrin.learn.consistency_loss import Consistency
from perrin.learn.shortcut_loss import Shortcut
from perrin.learn.trajectory_loss import Trajectory
from perrin.model import Model
from perrin.registry import level_laws, nets, objectives
from perrin.training.recipe import Recipe
from perrin.training.schema import check_options, named
from perrin.training.setup import Data, Progress, Setup, make_sampling, make_weight, open_data
from perrin.training.students import refuse_unfit, teaching_plan
from perrin.training.trajectories import Trajectories, TrajectoryReader, draw_trajectories

GIVEN = ("teacher", "law", "levels", "weight", "metric", "drop", "done")
"""What an objective with a teacher is given by other sections of the recipe, or as training goes on."""

KEPT = Path("state") / "trajectories.safetensors"
"""Where a run keeps what it drew from its teacher."""


@dataclass(frozen=True)
class Teacher:
    """The section `objective.teacher`.

    Attributes:
        folder: of the model; hash: of its weights.
        trajectories: how many to draw; steps: of the teacher's solver on each.
    """

    folder: str
    hash: str | None = None
    trajectories: int = 20_000
    steps: int = 10

    def model(self) -> Model:
        """The teacher.

        Raises:
            PerrinError: no model there, one with other weights, or one that cannot teach.
        """
        if self.trajectories < 2 or self.steps < 1:
            raise PerrinError(
                f"objective.teacher: trajectories = {self.trajectories} must be at least 2 and steps = {self.steps} "
                "at least 1"
            )
        teacher = Model.load(self.folder)
        if self.hash is not None and teacher.hash != self.hash:
            raise PerrinError(
                f"the teacher in {self.folder} has weights {teacher.hash} now; this run learns from {self.hash}"
            )
        refuse_unfit(teacher)
        return teacher


def prepare_distillation(
    recipe: Recipe, folder: Path | None = None, device: str = "cpu", progress: Progress | None = None
) -> Setup:
    """As `setup.prepare`, around the teacher.

    Raises:
        PerrinError: a teacher that has gone or changed, a wrong option, or data that cannot be read.
    """
    if recipe.training.sharding != "none":
        raise PerrinError("distillation is not sharded; take training.sharding: none")
    extra = dict(recipe.objective.model_extra or {})
    section = Teacher(**check_options(Teacher, recipe.objective.teacher or {}, "objective.teacher"))
    teacher, sampling = section.model(), make_sampling(recipe.sampling)
    if sampling.evaluated is None:
        raise PerrinError(
            "sampling.evaluated must say the levels that the student evaluates, for each number of them"
        )
    kind = objectives[recipe.objective.name]
    if kind is Trajectory:
        return _from_trajectories(recipe, section, teacher, sampling, extra, folder, device, progress)
    law = level_laws.build(named(level_laws, recipe.objective.law, "objective.law"))
    made: Consistency | Shortcut = kind(
        teacher.guided(sampling.distilled_guidance).requires_grad_(False),
        law if kind is Consistency else _halving(sampling.evaluated),
        make_weight(recipe.objective.weight, law, teacher.codec),
        recipe.objective.metric,
        recipe.objective.drop,
        **check_options(kind, extra, "objective", GIVEN),
    )
    data = replace(open_data(recipe), validation=None)  # a loss against moving targets chooses nothing
    design = taking_until(teacher.design) if kind is Shortcut else teacher.design
    return _setup(recipe, data, teacher, made, sampling, design)


def _halving(evaluated: Mapping[int, tuple[float, ...]]) -> tuple[float, ...]:
    """The grid on which shortcuts are learned: the finest that is evaluated, of which the others are every n-th level."""
    count = max(evaluated)
    grid = evaluated[count]
    for n, levels in sorted(evaluated.items()):
        if count % n or levels != grid[:: count // n]:
            raise PerrinError(
                f"sampling.evaluated.{n} must be {n} levels of sampling.evaluated.{count}, evenly spread from the first "
                "on, since shortcuts are learned by halves"
            )
    return grid


def taking_until(design: Design) -> Design:
    """The design with a network that is told where a step ends.

    Raises:
        PerrinError: a network that cannot be told.
    """
    name = design.net["name"]
    able = [other for other in nets if "until" in inspect.signature(nets[other]).parameters]
    if name not in able:
        raise PerrinError(
            f"net {name!r} cannot be told where a step ends, which shortcuts need; {', '.join(able)} can, and --method "
            "trajectory takes any"
        )
    return replace(design, net={**design.net, "until": True})


def _setup(
    recipe: Recipe,
    data: Data,
    teacher: Model,
    objective: Consistency | Trajectory | Shortcut,
    sampling: Sampling,
    design: Design,
) -> Setup:
    about = {
        "teacher": teacher.about.get("name"),
        "teacher_hash": teacher.hash,
        "method": recipe.objective.name,
        "guidance": sampling.distilled_guidance,
    }
    taught = {name: value.clone() for name, value in teacher.module.net.state_dict().items()}
    start = {**design.module().net.state_dict(), **taught}  # what the student alone has is zero at first
    return Setup(recipe, data, teacher.codec, design, objective, sampling, start, about)


def _from_trajectories(
    recipe: Recipe,
    section: Teacher,
    teacher: Model,
    sampling: Sampling,
    extra: Mapping[str, Any],
    folder: Path | None,
    device: str,
    progress: Progress | None,
) -> Setup:
    plan, training = teaching_plan(teacher, section.steps), recipe.training
    levels = tuple(sorted({level for chosen in (sampling.evaluated or {}).values() for level in chosen}))
    if missing := set(levels) - set(plan.base_levels):
        raise PerrinError(
            f"sampling.evaluated: level {min(missing)} is not on the teacher's trajectories of {section.steps} steps"
        )
    objective = Trajectory(
        levels,
        metric=recipe.objective.metric,
        **check_options(Trajectory, extra, "objective", ("levels", "metric")),
    )
    kept = None if folder is None else folder / KEPT
    if kept is not None and kept.is_file():
        drawn = Trajectories.load(kept, teacher.codec.classes)
    else:
        weight, seed = sampling.distilled_guidance or 1.0, training.seed
        drawn = draw_trajectories(
            teacher, plan, levels, section.trajectories, weight, seed, training.precision, device, progress
        )
    _refuse_to_overspend(drawn, training.cpu_seconds)
    train, held = drawn.split(training.validation, 0) if training.validation else (drawn, None)
    return replace(
        _setup(recipe, Data(train, held, None), teacher, objective, sampling, teacher.design),
        reader=cast(Codec, TrajectoryReader(teacher.codec, len(levels))),
        spent=drawn.spent,
        keep=lambda run: drawn.save(run / KEPT),
    )


def _refuse_to_overspend(drawn: Trajectories, budget: float | None) -> None:
    if budget is not None and drawn.spent > 0.8 * budget:
        raise PerrinError(
            f"{len(drawn)} trajectories took {drawn.spent:.0f} of {budget:.0f} CPU-seconds, which leaves too little to "
            f"learn them: --set objective.teacher.trajectories={max(2, int(0.3 * budget / drawn.spent * len(drawn)))}"
        )

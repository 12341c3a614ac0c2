"""Fewer steps without training: a plan fitted to a trained model, kept in its folder or beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from perrin.conditions_in_turn import ROW, UnderRows, in_turn, of_texts
from perrin.errors import PerrinError
from perrin.fitted import path_of
from perrin.learn.tuning import Progress
from perrin.learn.tuning import tune as fit
from perrin.model import Model
from perrin.process.state import single
from perrin.registry import rules, schedules
from perrin.sample import Plan
from perrin.steering import settled

START = "dpmpp_2m"
"""Where the fit starts when the model's own solver draws noise or evaluates more than once a step."""
TOLERANCE = 1e-2
"""Of the fine solution, relative to the states: a trained network is no smoother than that."""


@dataclass(frozen=True)
class Tuned:
    """What `tune` did.

    Attributes:
        plan: the fitted plan, or the one it started from where unseen seeds did not confirm the fit.
        helped: whether they did; path: where the plan was written, None where it was not.
    """

    plan: Plan
    helped: bool
    path: Path | None


def tune(
    model: Model,
    steps: int,
    *,
    guidance: float | None = None,
    prompts: Sequence[str] | None = None,
    negative: str | None = None,
    out: str | Path | None = None,
    seeds: int = 96,
    starts: int = 2,
    iterations: int = 6,
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Tuned:
    """Fit a plan of `steps` evaluations to a model, under its guidance, over its classes or over prompts in turn.

    Args:
        steps: evaluations of the plan. guidance: the weight to fit under; the model's own by default.
        prompts: of models of texts, plain ones by default (`conditions_in_turn.PROMPTS`).
        negative: what their pictures do not show.
        out: the file to write; STEPS.json in `Model.plans` by default, where `sample` finds it: plans in the model's own
            folder, or FOLDER.perrin/plans beside a folder of another library's layout.
        seeds, starts, iterations, seed, progress, options: of `perrin.learn.tune`.

    Raises:
        PerrinError: a distilled model, one of tokens, or what `perrin.learn.tune` refuses.
    """
    if model.sampling.evaluations is not None:
        raise PerrinError(
            "this model is distilled: its evaluations follow no flow, so there is nothing to tune"
        )
    if model.design.categorical is not None:
        raise PerrinError("this is a model of tokens, whose solvers are no tables that could be fitted")
    if steps < 2:
        raise PerrinError(f"steps = {steps}: a plan of one evaluation has nothing to fit; 2 to 20 make sense")
    if out is None and model.plans is None:
        raise PerrinError("this model has no folder to keep the plan in; say where to write it with out")
    conditions, said = in_turn(model, seed, prompts, negative, guidance)
    weight = model.sampling.weight(guidance) if conditions else 1.0
    facts = {
        "model": model.hash,
        "guidance": weight,
        **({"interval": None} | settled(model.sampling).facts if weight != 1.0 else {"interval": None}),
        **said,
    }
    start, denoiser, condition = _start(model, steps), model.guided(weight), conditions or None
    if condition is not None and of_texts(model):
        count = len(next(iter(conditions.values())))
        denoiser, condition = UnderRows(denoiser, conditions), {ROW: torch.arange(count)}
    found = fit(
        start,
        denoiser,
        shape=tuple(single(model.codec.shape, "tuning")),
        seeds=seeds,
        condition=condition,
        starts=starts,
        iterations=iterations,
        finest=schedules.build(model.sampling.schedule).level_range[1],
        seed=seed,
        progress=progress,
        facts=facts,
        **{"tolerance": TOLERANCE, **options},
    )
    if found is start:
        return Tuned(start, False, None)
    path = Path(out) if out is not None else path_of(model.plans or Path(), steps)
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save(path)
    return Tuned(found, True, path)


def _start(model: Model, steps: int) -> Plan:
    """The model's own plan of so many evaluations where that can be fitted, or that of `START`."""
    solver = single(model.sampling.solver, "tuning")
    if not rules[solver].stochastic and rules[solver].exact_on_point_mass:
        own = model.sampling.plan(solver, steps)
        if own.nfe == steps:
            return own
    return model.sampling.plan(START, steps)

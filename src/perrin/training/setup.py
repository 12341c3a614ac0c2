"""From a recipe to what training needs: data and its splits, codec, network, objective, sampling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perrin.contracts import Codec, Cuts, Dataset, Tells
from perrin.design import Design, Sampling
from perrin.errors import PerrinError
from perrin.learn.classification import Classification
from perrin.learn.consistency_loss import Consistency
from perrin.learn.denoising import Auxiliary, Denoising
from perrin.learn.laws import Law, clocked
from perrin.learn.shortcut_loss import Shortcut
from perrin.learn.trajectory_loss import Trajectory
from perrin.learn.weighting import Weight, times
from perrin.process.categorical import Categorical
from perrin.process.product import Product
from perrin.process.state import leaves, single
from perrin.registry import (
    auxiliaries,
    grids,
    kinds,
    level_laws,
    nets,
    objectives,
    parameterisations,
    schedules,
    variances,
    weights,
)
from perrin.sample.making import solver
from perrin.training.measured import STAND_IN, filled, measured
from perrin.training.processes import completed, given_of_product, make_process
from perrin.training.recipe import Recipe
from perrin.training.schema import check_options, named

Progress = Callable[[int, int, str], None]
"""(done, in all, a note)."""


@dataclass(frozen=True)
class Data:
    """The three parts of the data: seen in training, held out to watch it, held out to judge it (or None)."""

    train: Dataset
    validation: Dataset | None
    test: Dataset | None


@dataclass(frozen=True)
class Setup:
    """Everything that training needs, made and checked.

    Attributes:
        start: weights to begin with, fresh ones by default; about: further facts for the model's description.
        reader: what encodes the items of training in the place of the codec; spent: CPU-seconds that preparing cost.
        keep: writes what a resumed run needs again into the run's folder.
    """

    recipe: Recipe
    data: Data
    codec: Codec
    design: Design
    objective: Denoising | Classification | Consistency | Trajectory | Shortcut
    sampling: Sampling
    start: dict[str, Tensor] | None = None
    about: dict[str, Any] = field(default_factory=dict)
    reader: Codec | None = None
    spent: float = 0.0
    keep: Callable[[Path], None] | None = None


def open_data(recipe: Recipe) -> Data:
    """Open and split the data of a recipe.

    Raises:
        PerrinError: data that cannot be read, or splits that leave nothing.
    """
    kind = kinds[recipe.kind]
    if not set(kind.sources) & recipe.data.keys():
        raise PerrinError(
            f"data.path is missing: say where the data are, as in perrin train {recipe.name} PATH"
        )
    options = check_options(kind.open, recipe.data, "data")
    whole = kind.open(**options)
    test: Dataset | None = None
    if recipe.test is not None:
        test = kind.open(**{**options, **check_options(kind.open, {**recipe.data, **recipe.test}, "test")})
    elif recipe.held_out:
        whole, test = whole.split(recipe.held_out, recipe.split_seed)
    validation: Dataset | None = None
    if recipe.training.validation:
        whole, validation = whole.split(recipe.training.validation, recipe.split_seed + 1)
    return Data(whole, validation, test)


def prepare(
    recipe: Recipe, folder: Path | None = None, device: str = "cpu", progress: Progress | None = None
) -> Setup:
    """Check every section against what it names, and make it.

    Args:
        folder: of the run that is resumed, if it is.
        device, progress: for what distillation draws from its teacher.

    Raises:
        PerrinError: an unknown key, a wrong type or value, or data that cannot be read.
    """
    if recipe.objective.teacher is not None:
        from perrin.training.distilling import prepare_distillation  # which needs this module

        return prepare_distillation(recipe, folder, device, progress)
    draft = filled(recipe, STAND_IN)  # cheap checks before the data are read
    make_sampling(draft.sampling)
    named(level_laws, draft.objective.law, "objective.law")
    data = open_data(recipe)
    fit = kinds[recipe.kind].codec.fit
    codec: Codec = fit(data.train, **check_options(fit, recipe.codec, "codec", given=("dataset", "progress")))
    data = fitting(data, codec)
    recipe = completed(measured(recipe, data.train, codec), codec)
    design = make_design(recipe, codec)
    objective = make_objective(recipe, codec, design.categorical or design.product)
    return Setup(recipe, data, codec, design, objective, make_sampling(recipe.sampling))


def fitting(data: Data, codec: Codec) -> Data:
    """The data as items that fit the codec's states: long ones are cut.

    Raises:
        PerrinError: too few items to train on.
    """
    if isinstance(codec, Cuts):
        cut = codec.cut
        validation = None if data.validation is None else cut(data.validation)
        data = Data(cut(data.train), validation, None if data.test is None else cut(data.test))
    if len(data.train) < 2:
        raise PerrinError(f"data: {len(data.train)} item is too few to train on")
    return data


def make_objective(
    recipe: Recipe, codec: Codec, process: Categorical | Product | None = None
) -> Denoising | Classification:
    """The objective of a recipe, with what it is made of; of a classifier the law is all that there is to choose."""
    section = recipe.objective
    law: Law = level_laws.build(named(level_laws, section.law, "objective.law"))
    if recipe.task == "classifier":
        return Classification(law)
    options = {
        "law": law,
        "weight": _weight(section.weight, law, codec, process),
        "metric": section.metric,
        "drop": section.drop,
        "auxiliary": make_auxiliary(section.auxiliary, codec),
        **({} if process is None else {"process": process}),
        **(section.model_extra or {}),
    }
    kind = objectives[section.name]
    if isinstance(process, Product) and section.name != "denoising":
        raise PerrinError(f"objective {section.name!r} is for states of one leaf; products are for denoising")
    made: Denoising = kind(**check_options(kind, options, "objective"))
    return made


def _weight(
    section: dict[str, Any], law: Law, codec: Codec, process: Categorical | Product | None
) -> Weight | dict[str, Weight]:
    """The loss weight, of a product one for every leaf: in the recipe leaf -> weight, `times` a factor."""
    if not isinstance(process, Product):
        return make_weight(section, law, codec)
    found = dict[str, Weight]()
    for leaf in sorted(leaves(codec.shape)):
        own = dict(section.get(leaf, {})) if "name" not in section else dict(section)
        if not own:
            raise PerrinError(
                f"objective.weight lacks leaf {leaf!r}: give each its own, as in {leaf}: {{name: edm}}"
            )
        factor = float(own.pop("times", 1.0))
        where = f"objective.weight.{leaf}"
        found[leaf] = times(make_weight(own, clocked(law, process.clock(leaf)), codec, where), factor)
    return found


def make_weight(section: dict[str, Any], law: Law, codec: Codec, where: str = "objective.weight") -> Weight:
    """The loss weight of a recipe, told the data's deviation or the law where it depends on them."""
    options = dict(section)
    base = options.pop("base", {"name": "edm"}) if options.get("name") == "learned" else None
    if options.get("name") in ("edm", "edm_root"):
        options.setdefault("sigma_data", codec.sigma_data)
    options = named(weights, options, where, given=("law", "base"))
    if base is not None:
        options["base"] = make_weight(_named(base), law, codec, f"{where}.base")
    if options["name"] in ("likelihood", "bound"):
        options["law"] = law
    made: Weight = weights.build(options)
    return made


def make_auxiliary(section: dict[str, Any] | None, codec: Codec) -> Auxiliary | None:
    """The auxiliary objective of a recipe, told the data's lattice where they are whole numbers."""
    if section is None:
        return None
    options = named(auxiliaries, section, "objective.auxiliary", given=("lattice",))
    made: Auxiliary = auxiliaries.build({**options, "lattice": codec.lattice})
    return made


def make_design(recipe: Recipe, codec: Codec) -> Design:
    """Network and parameterisation of a recipe around a codec."""
    classes = len(codec.classes) if codec.classes else None
    given = ["shape", "classes", "out_channels", "out_shape", "categories", "states", "properties"]
    net = named(nets, recipe.net, "net", given=[*given, "covariates", "static"])
    _check_task(recipe, codec)
    process = make_process(recipe, codec)
    if isinstance(process, Product):
        net |= given_of_product(process, codec)
    elif process is not None:
        net |= {"categories": process.classes, "states": process.states}
    elif isinstance(codec, Tells):
        net |= codec.tells
    parameterisation: dict[str, Any] = {"name": "logits"}
    if not isinstance(process, Categorical):
        parameterisation = make_parameterisation(recipe, codec)
        if "variance" in parameterisation:
            if isinstance(process, Product):
                raise PerrinError("parameterisation.variance is for states of one leaf")
            net["out_channels"] = 2 * single(codec.shape)[0]  # the mean's half and the variance's
    shape = {n: list(v) for n, v in leaves(codec.shape).items()}
    return Design(
        {**net, "shape": shape if isinstance(process, Product) else shape[""], "classes": classes},
        parameterisation,
        {"kind": recipe.kind, "config": codec.config()},
        recipe.task,
        None if process is None else process.config(),
    )


def make_parameterisation(recipe: Recipe, codec: Codec) -> dict[str, Any]:
    """The parameterisation of a recipe, checked, told the data's deviation."""
    section = dict(recipe.parameterisation)
    schedule, variance = section.pop("schedule", None), section.pop("variance", None)
    if section.get("name") == "edm":
        section.setdefault("sigma_data", codec.sigma_data)
    section = named(parameterisations, section, "parameterisation", given=("schedule",))
    if schedule is not None:
        section["schedule"] = named(schedules, _named(schedule), "parameterisation.schedule")
    if variance is not None:
        section["variance"] = named(variances, _named(variance), "parameterisation.variance")
        variances.build(section["variance"])
    return section


def _check_task(recipe: Recipe, codec: Codec) -> None:
    if getattr(nets[recipe.net["name"]], "classifies", False) != (recipe.task == "classifier"):
        raise PerrinError(
            f"net {recipe.net['name']!r} does not fit task: {recipe.task}; classifiers are net: {{name: encoder}}, "
            "and nothing else is"
        )
    if recipe.task != "classifier":
        return
    if not codec.classes:
        raise PerrinError("task classifier needs data with classes; these have no labels")
    if recipe.training.sample_every is not None:
        raise PerrinError("training.sample_every is for models that draw samples; a classifier draws none")


def make_sampling(section: dict[str, Any]) -> Sampling:
    """The sampling defaults of a recipe, with every name in them checked."""
    section = dict(section)
    if "schedule" in section:
        section["schedule"] = named(schedules, _named(section["schedule"]), "sampling.schedule")
    made = Sampling(**check_options(Sampling, section, "sampling"))
    for name in [made.solver] if isinstance(made.solver, str) else made.solver.values():
        solver(name)
    grids[made.grid]
    made.plan()
    return made


def _named(section: Any) -> dict[str, Any]:
    return {"name": section} if isinstance(section, str) else dict(section)


def report(setup: Setup) -> dict[str, Any]:
    """What `--dry-run` prints: data, shapes, parameters, memory, and one batch through the loss."""
    torch.manual_seed(0)
    module = setup.design.module()
    parameters = sum(p.numel() for p in module.parameters())
    data, training = setup.data, setup.recipe.training
    items = [data.train[i] for i in range(min(training.batch, len(data.train)))]
    batch = setup.codec.encode(items, list(range(len(items))))
    seeds = torch.arange(len(items))
    given = (module, batch.state, batch.condition, seeds)
    if batch.masks is not None and isinstance(setup.objective, Denoising):
        losses = setup.objective(*given, masks=batch.masks)
    else:
        losses = setup.objective(*given)
    loss = float(losses.mean().detach())
    if not math.isfinite(loss):
        raise PerrinError(
            "the loss of the first batch is not finite; look at the data for NaN or huge values"
        )
    # weights, gradients, two Adam moments and the averages, four bytes each
    copies = 4 + len(training.ema)
    return {
        "recipe": setup.recipe.name,
        "data": data.train.description.get("path"),
        "training items": len(data.train),
        "validation items": len(data.validation) if data.validation else 0,
        "test items": len(data.test) if data.test else 0,
        "skipped": list(data.train.skipped),
        "state shape": _jsonable(setup.codec.shape),
        "classes": setup.codec.classes,
        **({} if setup.codec.categories is None else {"tokens": _jsonable(setup.codec.categories)}),
        "sigma_data": round(setup.codec.sigma_data, 4),
        "parameters": parameters,
        "training memory": f"{parameters * 4 * copies / 2**20:.1f} MiB and the activations",
        "batch": _jsonable({name: tuple(v.shape) for name, v in leaves(batch.state).items()}),
        "steps": training.steps,
        "epochs": round(training.steps * training.batch / len(data.train), 1),
        "first loss": loss,
        "sampling": asdict(setup.sampling),
    }


def _jsonable(value: Any) -> Any:
    """Shapes and counts as JSON has them; those of the only leaf of a tensor without its name."""
    if isinstance(value, Mapping):
        return (
            _jsonable(value[""]) if set(value) == {""} else {name: _jsonable(v) for name, v in value.items()}
        )
    return list(value) if isinstance(value, tuple) else value

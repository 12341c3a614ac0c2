"""From a recipe to what training needs: data and its splits, codec, network, objective, sampling."""

from __future__ import annotations

import inspect
import math
from dataclasses import asdict, dataclass
from typing import Any

import torch

from perrin.contracts import Codec, Dataset
from perrin.errors import PerrinError
from perrin.learn.denoising import Denoising
from perrin.model import Design, Sampling
from perrin.registry import grids, kinds, level_laws, nets, parameterisations, rules, schedules, weights
from perrin.training.recipe import Recipe
from perrin.training.schema import check_options, named


@dataclass(frozen=True)
class Data:
    """The three parts of the data: seen in training, held out to watch it, held out to judge it (or None)."""

    train: Dataset
    validation: Dataset | None
    test: Dataset | None


@dataclass(frozen=True)
class Setup:
    """Everything that training needs, made and checked."""

    recipe: Recipe
    data: Data
    codec: Codec
    design: Design
    objective: Denoising
    sampling: Sampling


def open_data(recipe: Recipe) -> Data:
    """Open and split the data of a recipe.

    Raises:
        PerrinError: data that cannot be read, or splits that leave nothing.
    """
    kind = kinds[recipe.kind]
    if "path" not in recipe.data and "path" in inspect.signature(kind.open).parameters:  # no default is meant
        raise PerrinError(
            f"data.path is missing: say where the data are, as in perrin train {recipe.name} PATH"
        )
    options = check_options(kind.open, recipe.data, "data")
    whole = kind.open(**options)
    if len(whole) < 2:
        raise PerrinError(f"data: {len(whole)} item is too few to train on")
    test: Dataset | None = None
    if recipe.test is not None:
        test = kind.open(**{**options, **check_options(kind.open, {**recipe.data, **recipe.test}, "test")})
    elif recipe.held_out:
        whole, test = whole.split(recipe.held_out, recipe.split_seed)
    validation: Dataset | None = None
    if recipe.training.validation:
        whole, validation = whole.split(recipe.training.validation, recipe.split_seed + 1)
    return Data(whole, validation, test)


def prepare(recipe: Recipe) -> Setup:
    """Check every section against what it names, and make it.

    Raises:
        PerrinError: an unknown key, a wrong type or value, or data that cannot be read.
    """
    sampling = make_sampling(recipe.sampling)  # cheap checks before the data are read
    law = named(level_laws, recipe.objective.law, "objective.law")
    data = open_data(recipe)
    fit = kinds[recipe.kind].codec.fit
    codec: Codec = fit(data.train, **check_options(fit, recipe.codec, "codec", given=("dataset", "progress")))
    design = make_design(recipe, codec)
    weight = {**recipe.objective.weight}
    if weight.get("name") == "edm":
        weight.setdefault("sigma_data", codec.sigma_data)
    weight = named(weights, weight, "objective.weight")
    objective = Denoising(
        level_laws[law.pop("name")](**law),
        weights[weight.pop("name")](**weight),
        recipe.objective.metric,
        recipe.objective.drop,
    )
    return Setup(recipe, data, codec, design, objective, sampling)


def make_design(recipe: Recipe, codec: Codec) -> Design:
    """Network and parameterisation of a recipe around a codec."""
    classes = len(codec.classes) if codec.classes else None
    net = named(nets, recipe.net, "net", given=("shape", "classes"))
    parameterisation = dict(recipe.parameterisation)
    schedule = parameterisation.pop("schedule", None)
    if parameterisation.get("name") == "edm":
        parameterisation.setdefault("sigma_data", codec.sigma_data)
    parameterisation = named(parameterisations, parameterisation, "parameterisation", given=("schedule",))
    if schedule is not None:
        parameterisation["schedule"] = named(schedules, _named(schedule), "parameterisation.schedule")
    return Design(
        {**net, "shape": list(codec.shape), "classes": classes},
        parameterisation,
        {"kind": recipe.kind, "config": codec.config()},
    )


def make_sampling(section: dict[str, Any]) -> Sampling:
    """The sampling defaults of a recipe, with every name in them checked."""
    section = dict(section)
    if "schedule" in section:
        section["schedule"] = named(schedules, _named(section["schedule"]), "sampling.schedule")
    made = Sampling(**check_options(Sampling, section, "sampling"))
    for registry, name in ((rules, made.solver), (grids, made.grid)):
        registry[name]
    made.plan()
    return made


def _named(section: Any) -> dict[str, Any]:
    return {"name": section} if isinstance(section, str) else dict(section)


def report(setup: Setup) -> dict[str, Any]:
    """What `--dry-run` prints: data, shapes, parameters, memory, and one batch through the loss."""
    torch.manual_seed(0)
    denoiser = setup.design.denoiser()
    parameters = sum(p.numel() for p in denoiser.parameters())
    data, training = setup.data, setup.recipe.training
    items = [data.train[i] for i in range(min(training.batch, len(data.train)))]
    batch = setup.codec.encode(items, list(range(len(items))))
    seeds = torch.arange(len(items))
    loss = float(setup.objective(denoiser, batch.state, batch.condition, seeds).mean().detach())
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
        "state shape": list(setup.codec.shape),
        "classes": setup.codec.classes,
        "sigma_data": round(setup.codec.sigma_data, 4),
        "parameters": parameters,
        "training memory": f"{parameters * 4 * copies / 2**20:.1f} MiB and the activations",
        "batch": list(batch.state.shape),
        "steps": training.steps,
        "epochs": round(training.steps * training.batch / len(data.train), 1),
        "first loss": loss,
        "sampling": asdict(setup.sampling),
    }

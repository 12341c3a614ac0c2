"""What noise does to the states of a recipe's data: Gaussian, categorical, or leaf by leaf."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perrin.contracts import Codec, Outlines, Tells
from perrin.design import product_of
from perrin.errors import PerrinError
from perrin.process.categorical import Categorical
from perrin.process.product import Product
from perrin.process.state import leaves
from perrin.registry import nets, processes, unknown
from perrin.training.recipe import Recipe
from perrin.training.schema import named

USUAL = {
    "gaussian": ("edm", "dpmpp_2m"),
    "masked": ("cross_entropy", "ancestral"),
    "uniform": ("bound", "ancestral"),
    "torus": ("uniform", "geodesic"),
    "rotations": ("uniform", "geodesic"),
}
"""Process -> loss weight and solver, where a recipe says nothing of a leaf."""


def make_process(recipe: Recipe, codec: Codec) -> Categorical | Product | None:
    """What noise does to tokens, masked unless the recipe says otherwise; None for continuous data.

    Raises:
        PerrinError: a categorical process for continuous data, or a network that does not fit the states.
    """
    if isinstance(codec.shape, Mapping):
        return _product(recipe, codec)
    _check_leaves(recipe, several=False)
    takes = getattr(nets[recipe.net["name"]], "takes_tokens", False)
    what = "continuous states" if codec.categories is None else "tokens"
    if takes != (codec.categories is not None):
        fit = ", ".join(n for n in nets if getattr(nets[n], "takes_tokens", False) != takes)
        raise PerrinError(
            f"net {recipe.net['name']!r} does not take {what}, which this kind's states are; {fit} do"
        )
    if isinstance(codec, Tells) != getattr(nets[recipe.net["name"]], "takes_windows", False):
        fit = ", ".join(n for n in nets if getattr(nets[n], "takes_windows", False))
        raise PerrinError(
            f"net {recipe.net['name']!r} does not fit kind {recipe.kind!r}: windows of series need a network that is "
            f"told what is given of them ({fit}), and no other kind has such windows"
        )
    if codec.categories is None:
        if recipe.process is not None:
            raise PerrinError(
                "process is for tokens; the states of this kind are continuous, and Gaussian noise is theirs"
            )
        return None
    section = named(processes, recipe.process or {"name": "masked"}, "process", given=("classes",))
    made: Categorical = processes.build({**section, "classes": codec.categories})
    if not made.masks and not recipe.net.get("timed"):
        raise PerrinError(f"process {made.name!r} needs a network that is told the time: net.timed: true")
    if recipe.objective.weight.get("name") != "bound" and recipe.objective.name == "denoising":
        raise PerrinError(
            "the loss of tokens is the rate of a bound: objective.weight is {name: bound}, with a law that has a density"
        )
    return made


def completed(recipe: Recipe, codec: Codec) -> Recipe:
    """The recipe with a loss weight and a solver for every leaf that these data have and the recipe does not name."""
    if not isinstance(codec, Outlines) or not isinstance(codec.shape, Mapping):
        return recipe
    weight, solver = dict(recipe.objective.weight), recipe.sampling.get("solver", {})
    content = recipe.model_dump()
    for leaf, section in codec.processes.items():
        usual = USUAL.get(section["name"], USUAL["gaussian"])
        if "name" not in weight:
            weight.setdefault(leaf, {"name": usual[0]})
        if isinstance(solver, Mapping):
            solver = {leaf: usual[1], **solver}
    content["objective"]["weight"], content["sampling"]["solver"] = weight, solver
    return Recipe.model_validate(content)


def _product(recipe: Recipe, codec: Codec) -> Product:
    """The codec's process of every leaf, with what the recipe changes of it, such as `atoms: {clock: [1, 2]}`."""
    assert isinstance(codec, Outlines)
    _check_leaves(recipe, several=True)
    asked, own = dict(recipe.process or {}), leaves(codec.shape)
    for leaf in asked:
        if leaf not in own:
            raise unknown("process: leaf", leaf, dict.fromkeys(own))
    made = {}
    for leaf, default in codec.processes.items():
        section = {**default, **dict(asked.get(leaf, {}))}
        clock = section.pop("clock", None)
        chosen = named(processes, section, f"process.{leaf}", given=("classes",))
        if isinstance(codec.categories, Mapping) and leaf in codec.categories:
            chosen["classes"] = codec.categories[leaf]
        made[leaf] = chosen if clock is None else {**chosen, "clock": clock}
    return product_of(made)


def given_of_product(process: Product, codec: Codec) -> dict[str, Any]:
    """What a network of several leaves is told of them."""
    tokens = {name: part for name, part in process.parts.items() if isinstance(part, Categorical)}
    return {
        "categories": {name: part.classes for name, part in tokens.items()},
        "states": {name: part.states for name, part in tokens.items()},
        "properties": len(codec.properties) if isinstance(codec, Outlines) else 0,
    }


def _check_leaves(recipe: Recipe, several: bool) -> None:
    name = recipe.net["name"]
    if getattr(nets[name], "takes_leaves", False) != several:
        fit = ", ".join(n for n in nets if getattr(nets[n], "takes_leaves", False) == several)
        what = "states of several leaves" if several else "states of one leaf"
        raise PerrinError(f"net {name!r} does not take {what}, which this kind's are; {fit} do")

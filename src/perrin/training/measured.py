"""Numbers of a recipe that its data decide: `data` in the place of a number.

    objective: {law: {name: uniform_scale, sigma_min: 0.02, sigma_max: data, count: data}}
    sampling: {steps: data, schedule: {name: ve, sigma_min: 0.02, sigma_max: data}}

They are the noise scales of `perrin.learn.scales`, down to the law's `sigma_min`, measured from the states of the
training items once, when training is prepared. The recipe that a run keeps holds the numbers, so that a run resumes
and is judged without measuring again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perrin.contracts import Codec, Dataset
from perrin.learn.scales import Scales, fixed_draw, noise_scales
from perrin.training.recipe import Recipe

ASKED = "data"
STAND_IN = Scales(0.01, 50.0, 10)
"""Numbers with which a recipe can be checked before its data are read."""

_FIELDS = {"sigma_max": "sigma_max", "count": "count", "steps": "count"}
_SECTIONS = ("parameterisation", "objective", "sampling")


def asks(recipe: Recipe) -> bool:
    """Whether a number of the recipe is to be measured."""
    return filled(recipe, STAND_IN) != recipe


def filled(recipe: Recipe, scales: Scales) -> Recipe:
    """The recipe with these numbers where it says `data`."""
    content = recipe.model_dump()
    return Recipe.model_validate(content | {name: _filled(content[name], scales) for name in _SECTIONS})


def _filled(section: Mapping[str, Any], scales: Scales) -> dict[str, Any]:
    return {
        key: _filled(value, scales)
        if isinstance(value, Mapping)
        else getattr(scales, _FIELDS[key])
        if value == ASKED and key in _FIELDS
        else value
        for key, value in section.items()
    }


def measured(recipe: Recipe, train: Dataset, codec: Codec) -> Recipe:
    """The recipe with the numbers of these data; the same recipe where it asks for none.

    Raises:
        PerrinError: data from which no scales can be chosen.
    """
    if not asks(recipe):
        return recipe
    states = codec.encode([train[i] for i in fixed_draw(len(train)).tolist()]).state
    return filled(recipe, noise_scales(states, float(recipe.objective.law.get("sigma_min", 0.01))))

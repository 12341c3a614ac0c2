"""What samples of a trained model are worth: Frechet distance and class accuracy in the project's own features."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import perrin
from perrin.evaluate.feature_cache import feature_extractor
from perrin.evaluate.states import reference
from perrin.metrics import frechet_distance
from perrin.model import Model
from perrin.training import recipe as recipes
from perrin.training.setup import open_data


class Quality:
    """A trained run and what its samples are compared with: the features of its test data.

    Attributes:
        model: of the run; folder: the run's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.model = folder, perrin.load(folder)
        assert isinstance(self.model, Model)
        real = reference(
            open_data(recipes.validate(recipes.read(folder / "recipe.yaml"))), self.model.codec, folder
        )
        self.train, self.labels = real.train, real.train_labels
        self.extractor = feature_extractor(real.train, real.train_labels, seed=0)
        self.test = self.extractor.features(real.test)

    def figures(self, states: Tensor, labels: Tensor | None) -> dict[str, float]:
        """Of samples [n, *shape] of those classes."""
        found = {"frechet_distance": float(frechet_distance(self.extractor.features(states), self.test))}
        predicted = self.extractor.predict(states)
        if labels is not None and predicted is not None:
            found["class_accuracy"] = float((predicted == labels).float().mean())
        return found

    def ceiling(self, count: int) -> dict[str, float]:
        """What as many training items score."""
        chosen = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(0))[:count]
        return self.figures(self.train[chosen], None if self.labels is None else self.labels[chosen])


def once(place: Path, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The content of a JSON file, measured now if it is not there."""
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = place.with_suffix(".part")
        fresh.write_text(json.dumps(measure(), indent=1))
        fresh.rename(place)
    found: dict[str, Any] = json.loads(place.read_text())
    return found


def shown(figures: dict[str, Any]) -> str:
    """Distance and accuracy for a table."""
    accuracy = figures.get("class_accuracy")
    return f"{figures['frechet_distance']:.2f}" + ("" if accuracy is None else f" / {100 * accuracy:.1f} %")

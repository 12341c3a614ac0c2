"""The real data that a synthetic set stands beside: what the model may have learned, and held-out items as a control.

Whatever is asked of a synthetic item (is it likely enough, is it a copy) is asked of real held-out items too, and their
answers set the thresholds. So the held-out items must be real ones that the model has not learned, where there are such.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perrin.conditions_in_turn import of_texts
from perrin.contracts import Codec, Dataset
from perrin.errors import PerrinError
from perrin.evaluate.states import encoded
from perrin.kinds.matching import matched
from perrin.kinds.selection import Selection
from perrin.model import Model
from perrin.registry import kinds
from perrin.training import recipe as recipes
from perrin.training.schema import check_options
from perrin.training.setup import open_data

KINDS = ("images", "arrays")
SHARE = 0.2  # held out of the data where nothing else is there
LEARNED = "a fifth of the data, which the model may have learned too: what is dropped for its likelihood is then too much"


@dataclass(frozen=True)
class Part:
    """Real items as states [N, *shape], with labels [N] (index into the data's classes) or None."""

    states: Tensor
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.states)


@dataclass(frozen=True)
class Real:
    """The data that are expanded.

    Attributes:
        dataset: all of them; path, options: that they were opened with.
        indices: what to ask a model for, for each class; None without labels.
        train: those that a classifier learns from; held: those that it is judged by, and the control of the filters.
        seen: all states [N, *shape] that copies could be of, each once.
        held_is: what the held-out items are, for the report.
    """

    dataset: Selection
    path: Path
    options: dict[str, Any]
    indices: list[int] | None
    train: Part
    held: Part
    seen: Tensor
    held_is: str

    @property
    def classes(self) -> list[str] | None:
        """Class names, index = label."""
        return self.dataset.classes

    @property
    def counts(self) -> list[int]:
        """Items of each class; of all without classes."""
        labels = self.dataset.labels
        if labels is None or self.classes is None:
            return [len(self.dataset)]
        counts: list[int] = np.bincount(labels[labels >= 0], minlength=len(self.classes)).tolist()
        return counts


def open_real(
    model: Model,
    path: str | Path,
    options: Mapping[str, Any],
    test: str | Path | Mapping[str, Any] | None = None,
    known: Sequence[str] | None = None,
    learned: str | Path | None = None,
) -> Real:
    """Open the data and what is held out of them: `test`, the test part that they have, the run's own, or a fifth.

    Args:
        test: another path, or options that read the held-out part of the same one, such as `{"subset": "test"}`.
        known: classes that can be asked for; the model's own by default.
        learned: other data that the model has learned, which it could have copied too.

    Raises:
        PerrinError: a kind without such layouts, data that cannot be read, classes that the model does not know, or
            held-out data of others.
    """
    kind = model.codec.kind
    if kind not in KINDS:
        raise PerrinError(
            f"sets of {' and of '.join(KINDS)} can be expanded; {model.folder or 'this'} is a model of {kind}"
        )
    if of_texts(model):
        raise PerrinError(
            f"{model.folder or 'this'} is told of pictures in texts, and sets are expanded by classes: draw them with "
            "perrin sample --prompt TEXT --out SET/CLASS, a class at a time"
        )
    chosen = check_options(kinds[kind].open, {"path": str(path), **options}, "--data")
    dataset: Selection = kinds[kind].open(**chosen)
    name = str(model.folder or "this model")
    indices = matched(model.codec.classes if known is None else known, dataset.classes, name)
    given = {name: value for name, value in chosen.items() if name != "path"}
    train, held, told = _parts(model, dataset, chosen, test)
    if dataset.classes is not None and held.classes != dataset.classes:
        raise PerrinError(
            f"the held-out data have the classes {_listed(held.classes)}, and '{path}' has {_listed(dataset.classes)}"
        )
    train_part, held_part = (Part(*encoded(part, model.codec)) for part in (train, held))
    learnable = [train_part.states, *([held_part.states] if told == LEARNED else [])]
    if learned is not None:
        learnable.append(encoded(kinds[kind].open(path=str(learned)), model.codec)[0])
    return Real(dataset, Path(path), given, indices, train_part, held_part, _seen(model, learnable), told)


def _listed(classes: list[str] | None) -> str:
    return ", ".join(classes) if classes else "none"


def _parts(
    model: Model, whole: Selection, chosen: dict[str, Any], test: str | Path | Mapping[str, Any] | None
) -> tuple[Dataset, Dataset, str]:
    """(what is learned from, what is held out, what that is)."""
    opener = kinds[model.codec.kind].open
    if test is not None:
        other = dict(test) if isinstance(test, Mapping) else {"path": str(test), "subset": None}
        other = {k: v for k, v in {**chosen, **other}.items() if v is not None}
        return whole, opener(**check_options(opener, other, "--test")), _say(other)
    if chosen.get("subset") == "train":
        try:
            return whole, opener(**{**chosen, "subset": "test"}), "the test part of the data"
        except PerrinError:  # they have none
            pass
    own = _of_run(model, whole, chosen)
    if own is not None:
        return _without(whole, own), own, "what the model's run held out of these data"
    train, held = whole.split(SHARE, 0)
    return train, held, LEARNED


def _say(other: Mapping[str, Any]) -> str:
    return str(other["path"]) + (f", subset {other['subset']}" if other.get("subset") else "")


def _of_run(model: Model, whole: Selection, chosen: dict[str, Any]) -> Selection | None:
    """What the run of the model held out of the same data, opened in the same way."""
    recipe = _recipe(model)
    if recipe is None or Path(recipe.data.get("path", "")).absolute() != Path(chosen["path"]).absolute():
        return None
    same = {k: v for k, v in recipe.data.items() if k != "path"} == {
        k: v for k, v in chosen.items() if k != "path"
    }
    data = open_data(recipe) if same else None
    held = None if data is None or recipe.test is not None else data.test or data.validation
    return held if isinstance(held, Selection) and len(held) > 1 else None


def _without(whole: Selection, held: Selection) -> Selection:
    rest = np.flatnonzero(~np.isin(whole.indices, held.indices))
    return whole.take(rest)


def _recipe(model: Model) -> recipes.Recipe | None:
    file = None if model.folder is None else model.folder / "recipe.yaml"
    return None if file is None or not file.is_file() else recipes.validate(recipes.read(file))


def _seen(model: Model, parts: list[Tensor]) -> Tensor:
    """The real states that a model could have copied: those given, those of its own run, and mirrored as it saw them."""
    recipe = _recipe(model)
    if recipe is not None:
        with suppress(PerrinError):  # its data may have gone
            parts = [*parts, encoded(open_data(recipe).train, model.codec)[0]]
    states = torch.cat(parts)
    once = {
        blake2b(row.tobytes(), digest_size=16).digest(): place for place, row in enumerate(states.numpy())
    }
    found = states[sorted(once.values())]
    for axis in _mirrors(model.codec):
        found = torch.cat([found, found.flip(axis)])
    return found


def _mirrors(codec: Codec) -> list[int]:
    flip = getattr(codec, "flip", "none")
    return {"horizontal": [-1], "vertical": [-2], "both": [-1, -2]}.get(flip, [])

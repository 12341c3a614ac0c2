"""Images and arrays: judged by their states, in features of a classifier or of principal components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perrin.contracts import Codec, Cuts, Dataset
from perrin.errors import PerrinError
from perrin.evaluate.case import Case, Judged
from perrin.evaluate.comparison import figures
from perrin.evaluate.feature_cache import feature_extractor
from perrin.evaluate.pictures import class_grid, nearest_pairs
from perrin.kinds.conditions import label_condition
from perrin.metrics import class_accuracy
from perrin.model import Model
from perrin.samples import Samples
from perrin.training.setup import Data

CHUNK = 64
"""Items that are read at a time: pictures of a megapixel each may become latents."""


def judged(case: Case) -> Judged:
    """The figures of samples beside those of real states, and pictures of both."""
    real = _reference(case.data, case.test, case.model.codec)
    drawn = case.drawn
    asked = drawn.labels if case.asked is None else case.asked
    plain = _without_guidance(case) if real.train_labels is not None and asked is not None else None
    case.told("judging", 0, 1)
    found = compare(drawn, plain, real, case.k, asked)
    case.told("judging", 1, 1)
    classes = case.model.codec.classes if case.asked is None else case.data.train.classes
    pictures = _pictures(case.model, drawn, asked, classes, real, found["nearest"])
    return Judged(drawn, found, ".npy" if drawn.picture() is None else ".png", pictures)


@dataclass(frozen=True)
class Reference:
    """What samples are compared with: states that the model was trained beside, and states it never met."""

    train: Tensor
    train_labels: Tensor | None
    test: Tensor
    test_labels: Tensor | None


def reference(data: Data, codec: Codec, folder: Path) -> Reference:
    """The real data of a run. What was held out to watch the training counts with the training data, not the test.

    Raises:
        PerrinError: the recipe holds no data out.
    """
    return _reference(data, held_out(data, folder), codec)


def _reference(data: Data, test: Dataset, codec: Codec) -> Reference:
    seen = [encoded(part, codec) for part in (data.train, data.validation) if part is not None]
    labels = [part for _, part in seen if part is not None]
    train_labels = torch.cat(labels) if len(labels) == len(seen) else None
    return Reference(torch.cat([states for states, _ in seen]), train_labels, *encoded(test, codec))


def held_out(data: Data, folder: Path) -> Dataset:
    """The test part of a run's data.

    Raises:
        PerrinError: the recipe holds none out.
    """
    if data.test is None:
        raise PerrinError(
            f"{folder}: the recipe holds no data out (held_out or test); nothing honest to judge against"
        )
    return data.test


def encoded(dataset: Dataset, codec: Codec) -> tuple[Tensor, Tensor | None]:
    """All states of a dataset [N, *shape] and their labels [N] (None without classes), a model's own or not."""
    states, labels = [], []
    if isinstance(codec, Cuts):  # volumes to the slices that are learned
        dataset = codec.cut(dataset)
    for start in range(0, len(dataset), CHUNK):
        items = [dataset[i] for i in range(start, min(start + CHUNK, len(dataset)))]
        states.append(codec.encode(items).state.cpu())  # an autoencoder's come from its device
        # of the data, not of the codec: an unconditional model is judged in the same features
        known = label_condition(items, dataset.classes)
        if known is not None:
            labels.append(known["label"])
    return torch.cat(states), torch.cat(labels) if labels else None


def compare(
    drawn: Samples, plain: Samples | None, real: Reference, k: int, asked: Tensor | None
) -> dict[str, Any]:
    """`figures` of samples, and the class accuracy of others that were drawn without guidance, all `asked` for a class."""
    extractor = feature_extractor(real.train, real.train_labels, seed=0)
    found = figures(
        drawn.state,
        asked,
        real.train,
        real.train_labels,
        real.test,
        real.test_labels,
        k=k,
        extractor=extractor,
    )
    if plain is not None and asked is not None:
        read = extractor.predict(plain.state.cpu().float())
        found["class_accuracy_unguided"] = None if read is None else class_accuracy(read, asked)
    return found


def _without_guidance(case: Case) -> Samples | None:
    if case.model.sampling.guidance == 1.0:
        return None
    return case.sample(len(case.drawn), "sampling without guidance", guidance=1.0)


def _pictures(
    model: Model,
    drawn: Samples,
    asked: Tensor | None,
    classes: Sequence[str] | None,
    real: Reference,
    nearest: Any,
) -> dict[str, Any]:
    def picture(states: Tensor) -> Any:
        return model.codec.picture(model.codec.decode(states))

    if len(model.codec.shape) < 3:  # points and series are plotted together; a plot of one says nothing
        return {"Samples": drawn.picture(), "Held-out data": picture(real.test[: len(drawn)])}
    return {
        "Samples": class_grid(drawn.state, asked, classes, picture),
        "Nearest training items: generated left, nearest right": nearest_pairs(
            drawn.state, real.train, nearest, picture
        ),
    }

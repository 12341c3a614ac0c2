"""Generated against real data: every figure with its baseline, its ceiling and its control.

`ceiling`: the same figure for real training data, as many items as were generated (the mean of a few draws);
`baseline`: for a model that knows only averages (`trivial.py`); `control`: class accuracy with the asked
labels shuffled. All compare with the same held-out test data in the same feature space. Nothing depends on
anything but the data and the seed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.evaluate.feature_cache import Features, feature_extractor
from perrin.evaluate.trivial import NAME, gaussian_states
from perrin.metrics import (
    Manifold,
    class_accuracy,
    fidelity_variety,
    frechet_distance,
    kid,
    nearest_distances,
    shuffled_accuracy,
)

MOST = 10_000  # generated or test items compared in feature space; a fixed draw of larger sets
MOST_NEAREST = 2_000  # items whose nearest training item is looked for
DRAWS = 3  # of real training items, for the ceilings
PAIRS = 16  # nearest pairs handed to the report
COPY_QUANTILE = 0.01


def figures(
    generated_states: Tensor,
    asked_labels: Tensor | None,
    train_states: Tensor,
    train_labels: Tensor | None,
    test_states: Tensor,
    test_labels: Tensor | None,
    *,
    seed: int = 0,
    k: int = 5,
    extractor: Features | None = None,
) -> dict[str, Any]:
    """All figures of a set of generated states, JSON-able.

    Args:
        generated_states, train_states, test_states: [N, *shape], more than `k` each; training states are
            those that the model saw, test states those that it did not.
        asked_labels: [N] the classes asked for, or None.
        train_labels, test_labels: [N] int64 or None.
        seed: of the classifier, the draws, the baseline and the shuffles.
        k: neighbours in precision, recall, density and coverage.
        extractor: features to compare in; by default `feature_extractor(train_states, train_labels)`.
    Returns:
        - `class_accuracy`, with `_ceiling`, `_control` and `_baseline`; only with labels;
        - `precision`, `recall`, `density`, `coverage`, `kid`, with `_ceiling` and `_baseline`; `kid_stderr`;
        - `frechet_distance`, `frechet_ceiling`, `frechet_baseline`;
        - `nearest_ratio`: median distance of generated items to their nearest training item over that of
          test items, in the units of the states (None where that is zero), with `_ceiling` and `_baseline`;
        - `copy_share`, with `_ceiling`: share nearer to a training item than 99 % of test items are;
        - `nearest`: lists `generated`, `train` (indices), `distance`: the closest pairs, then typical ones;
        - `features`, `baseline`, `counts`: what was compared.
    Raises:
        PerrinError: too few items, shapes or label counts that differ, or values that are not finite.
    """
    generated_states = generated_states.detach().to("cpu", torch.float32)  # samples may come from a device
    asked_labels = None if asked_labels is None else asked_labels.cpu()
    sets = {"generated": generated_states, "training": train_states, "test": test_states}
    _check(sets, {"generated": asked_labels, "training": train_labels, "test": test_labels}, k)
    generated, asked = _draw(generated_states, asked_labels, MOST, seed)
    test, test_classes = _draw(test_states, test_labels, MOST, seed)
    extractor = extractor or feature_extractor(train_states, train_labels, seed=seed)
    baseline = gaussian_states(len(generated), train_states, train_labels, asked, seed=seed)
    result: dict[str, Any] = {
        "features": extractor.description,
        "baseline": NAME + (", fitted per class" if train_labels is not None else ""),
        "counts": {name: len(states) for name, states in sets.items()},
    }
    result |= _accuracies(extractor, generated, baseline, asked, test, test_classes, seed)
    result |= _distances_between_laws(extractor, generated, baseline, train_states, test, seed, k)
    result |= _nearest(generated_states, baseline, train_states, test_states, seed)
    return result


def _check(sets: dict[str, Tensor], labels: dict[str, Tensor | None], k: int) -> None:
    shape = sets["training"].shape[1:]
    for name, states in sets.items():
        if len(states) <= max(k, 3):
            raise PerrinError(
                f"{len(states)} {name} items are too few; k = {k} needs at least {max(k, 3) + 1}"
            )
        if states.shape[1:] != shape:
            raise PerrinError(f"{name} states are {tuple(states.shape[1:])}, training states {tuple(shape)}")
        finite = torch.isfinite(states).flatten(1).all(1)
        if not bool(finite.all()):
            raise PerrinError(f"{name} item {int((~finite).nonzero()[0])} holds NaN or infinity")
        given = labels[name]
        if given is not None and given.shape != (len(states),):
            raise PerrinError(f"{len(states)} {name} items with labels of shape {tuple(given.shape)}")


def _draw(states: Tensor, labels: Tensor | None, most: int, seed: int) -> tuple[Tensor, Tensor | None]:
    """All, or a fixed draw of `most`."""
    if len(states) <= most:
        return states, labels
    rows = torch.randperm(len(states), generator=torch.Generator().manual_seed(seed))[:most]
    return states[rows], None if labels is None else labels[rows]


def _accuracies(
    extractor: Features,
    generated: Tensor,
    baseline: Tensor,
    asked: Tensor | None,
    test: Tensor,
    test_labels: Tensor | None,
    seed: int,
) -> dict[str, float]:
    predicted, real = extractor.predict(generated), extractor.predict(test)
    averages = extractor.predict(baseline)
    if asked is None or predicted is None or real is None or averages is None:
        return {}
    result = {
        "class_accuracy": class_accuracy(predicted, asked),
        "class_accuracy_control": shuffled_accuracy(predicted, asked, seed=seed),
        "class_accuracy_baseline": class_accuracy(averages, asked),
    }
    if test_labels is not None:
        result["class_accuracy_ceiling"] = class_accuracy(real, test_labels)
    return result


def _against(points: Tensor, test: Tensor, manifold: Manifold, seed: int) -> dict[str, float]:
    """The figures of one set of features against those of the test data."""
    (precision, recall), (density, coverage) = fidelity_variety(Manifold(points, manifold.k), manifold)
    estimate = kid(points, test, blocks=max(2, min(10, len(points) // 50, len(test) // 50)), seed=seed)
    return {
        "precision": precision,
        "recall": recall,
        "density": density,
        "coverage": coverage,
        "frechet_distance": frechet_distance(points, test),
        "kid": estimate.value,
        "kid_stderr": estimate.stderr,
    }


def _distances_between_laws(
    extractor: Features, generated: Tensor, baseline: Tensor, train: Tensor, test: Tensor, seed: int, k: int
) -> dict[str, float]:
    real = extractor.features(test)
    manifold = Manifold(real, k)
    own = _against(extractor.features(generated), real, manifold, seed)
    trivial = _against(extractor.features(baseline), real, manifold, seed)
    generator = torch.Generator().manual_seed(seed)
    draws = [train[torch.randperm(len(train), generator=generator)[: len(generated)]] for _ in range(DRAWS)]
    ceilings = [_against(extractor.features(draw), real, manifold, seed) for draw in draws]
    result = dict(own)
    for name in own:
        if name != "kid_stderr":
            short = name.removesuffix("_distance")
            result[f"{short}_baseline"] = trivial[name]
            result[f"{short}_ceiling"] = sum(ceiling[name] for ceiling in ceilings) / DRAWS
    return result


def _nearest(generated: Tensor, baseline: Tensor, train: Tensor, test: Tensor, seed: int) -> dict[str, Any]:
    """Distances to the nearest training item, in the units of the states, over those of real test items."""
    rows = torch.randperm(len(generated), generator=torch.Generator().manual_seed(seed))[:MOST_NEAREST]
    distances, indices = (column[:, 0] for column in nearest_distances(generated[rows], train))
    real = nearest_distances(_draw(test, None, MOST_NEAREST, seed)[0], train)[0][:, 0]
    trivial = nearest_distances(_draw(baseline, None, MOST_NEAREST // 4, seed)[0], train)[0][:, 0]
    scale = float(real.median())
    order = distances.argsort(stable=True)
    typical = torch.linspace(0, len(order) - 1, PAIRS // 2 + 2)[1:-1].long()
    shown = torch.cat([order[: PAIRS // 2], order[typical]])
    return {
        "nearest_ratio": float(distances.median()) / scale if scale else None,
        "nearest_ratio_baseline": float(trivial.median()) / scale if scale else None,
        "nearest_ratio_ceiling": 1.0,
        "copy_share": float((distances < real.quantile(COPY_QUANTILE)).double().mean()),
        "copy_share_ceiling": COPY_QUANTILE,
        "nearest": {
            "generated": rows[shown].tolist(),
            "train": indices[shown].tolist(),
            "distance": distances[shown].tolist(),
        },
    }

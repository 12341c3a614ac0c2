"""Is a text of the class that was asked for? Read by n-grams of each class: the class under which it costs least.

That is the Bayes rule of n-gram models with equal priors; its share on real held-out text is the ceiling.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perrin.metrics import class_accuracy, shuffled_accuracy
from perrin.metrics.ngrams import NGrams, fit

ORDER = 4  # of the n-grams that tell classes apart


def class_figures(
    written: Sequence[np.ndarray],
    asked: Sequence[int],
    pieces: Sequence[np.ndarray],
    piece_labels: Sequence[int],
    training: Sequence[np.ndarray],
    labels: Sequence[int],
    categories: int,
    seed: int = 0,
) -> dict[str, float]:
    """`class_accuracy` with `_ceiling` (held-out pieces), `_control` (asked classes shuffled) and `_baseline` (characters
    drawn by how often they occur in the class).

    Args:
        written, pieces, training: texts as numbers 0 .. `categories` - 1; labels: of each, -1 for none.

    Returns:
        Nothing where fewer than two classes have training texts, or no sample or piece has one of them.
    """
    present = sorted(
        {label for label, text in zip(labels, training, strict=True) if label >= 0 and len(text)}
    )
    if len(present) < 2:
        return {}
    of_class = {
        label: fit([t for t, own in zip(training, labels, strict=True) if own == label], ORDER, categories)
        for label in present
    }
    sets = {"": (written, asked), "_ceiling": (pieces, piece_labels)}
    kept = {
        suffix: [(t, c) for t, c in zip(*pair, strict=True) if c in of_class and len(t)]
        for suffix, pair in sets.items()
    }
    if not all(kept.values()):
        return {}
    wanted = [c for _, c in kept[""]]
    kept["_baseline"] = [
        (of_class[c].sample(1, len(text), seed + i, 1)[0], c) for i, (text, c) in enumerate(kept[""])
    ]
    found = {}
    for suffix, pairs in kept.items():
        read = np.array([nearest(text, of_class) for text, _ in pairs])
        found[f"class_accuracy{suffix}"] = class_accuracy(read, np.array([c for _, c in pairs]))
        if not suffix:
            found["class_accuracy_control"] = shuffled_accuracy(read, np.array(wanted), seed=seed)
    return found


def nearest(text: np.ndarray, of_class: dict[int, NGrams]) -> int:
    """The class whose n-grams give the text the fewest bits."""
    return min(of_class, key=lambda label: of_class[label].bits(text).sum())

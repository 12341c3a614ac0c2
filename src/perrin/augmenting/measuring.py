"""What a synthetic set is worth: the same classifier trained on real, on synthetic and on both, tested on real items.

Every seed is one initialisation of the classifier, the same for all sets, so the sets are compared in pairs: the difference
of two is measured seed by seed, and its spread is smaller than theirs. All classifiers are shown as many items in all. For
pictures, the control is what needs no model: the real ones flipped, shifted, turned and zoomed anew at every showing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from perrin.augmenting.real import Part
from perrin.errors import PerrinError
from perrin.evaluate.feature_classifier import FeatureClassifier, is_image, train_classifier

SHOWN = 12_800
"""Items that a classifier is shown by default: 200 batches of 64."""
CONTROL = ", flipped, shifted, turned"
TURN, SHIFT, ZOOM = (
    math.radians(10),
    1 / 8,
    0.1,
)  # the largest; a shift is in halves of a side, as sampling grids have it

Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class Worth:
    """Accuracies on held-out items.

    Attributes:
        accuracy, balanced: set -> one value a seed; balanced: the mean of the classes' own accuracies.
        sizes: set -> items; tested: held-out items; chance: the share of their largest class.
    """

    accuracy: dict[str, list[float]]
    balanced: dict[str, list[float]]
    sizes: dict[str, int]
    tested: int
    chance: float

    def summary(self) -> dict[str, Any]:
        """JSON-able: mean and spread of each set, and its paired difference from real."""
        rows = {}
        for name, values in self.accuracy.items():
            less = [own - real for own, real in zip(values, self.accuracy["real"], strict=True)]
            rows[name] = {
                "items": self.sizes[name],
                "accuracy": fmean(values),
                "spread": stdev(values),
                "balanced_accuracy": fmean(self.balanced[name]),
                "minus_real": fmean(less),
                "minus_real_stderr": stdev(less) / math.sqrt(len(less)),
                "of_real": fmean(values) / max(fmean(self.accuracy["real"]), 1e-12),
                "each": values,
            }
        return {"tested": self.tested, "chance": self.chance, "sets": rows}

    def lines(self) -> list[str]:
        """The table for people."""
        facts = self.summary()
        seeds = len(self.accuracy["real"])
        found = [f"a classifier trained on, {seeds} seeds, tested on {self.tested} real held-out items:"]
        found.append(f"{'':<38}{'items':>7}{'accuracy':>23}{'minus real':>19}{'of real':>9}")
        for name, row in facts["sets"].items():
            spread = f"{row['accuracy']:.3f} (spread {row['spread']:.3f})"
            less = "" if name == "real" else f"{row['minus_real']:+.3f} +- {row['minus_real_stderr']:.3f}"
            found.append(f"{name:<38}{row['items']:>7}{spread:>23}{less:>19}{row['of_real']:>9.0%}")
        return [*found, f"always the largest class: {self.chance:.3f}"]


def worth(
    real: Part,
    synthetic: Part,
    held: Part,
    *,
    seeds: int = 5,
    shown: int = SHOWN,
    control: bool = True,
    advance: Advance | None = None,
) -> Worth:
    """Train and test the classifier on every set with every seed.

    Args:
        real, synthetic, held: labelled states; items without a label are left out.
        seeds: at least 2; shown: items that each classifier is shown; control: whether pictures are altered too.
        advance: called with (classifiers trained, in all).

    Raises:
        PerrinError: no labels, fewer than 2 seeds, or held-out items without a label.
    """
    if seeds < 2:
        raise PerrinError(f"seeds = {seeds}: a spread takes at least 2")
    parts = {
        name: _labelled(part) for name, part in (("real", real), ("synthetic", synthetic), ("held-out", held))
    }
    tested = parts.pop("held-out")
    parts["both"] = joined(parts["real"], parts["synthetic"])
    runs = [(name, name, False) for name in parts]
    if control and is_image(tuple(real.states.shape[1:])):
        runs += [(name + CONTROL, name, True) for name in ("real", "both")]
    accuracy: dict[str, list[float]] = {title: [] for title, _, _ in runs}
    balanced: dict[str, list[float]] = {title: [] for title, _, _ in runs}
    for seed in range(seeds):
        for place, (title, name, altered) in enumerate(runs):
            plain, fair = scored(trained(parts[name], seed, shown, altered), tested)
            accuracy[title].append(plain)
            balanced[title].append(fair)
            if advance is not None:
                advance(seed * len(runs) + place + 1, seeds * len(runs))
    known = _labels(tested)
    sizes = {title: len(parts[name]) for title, name, _ in runs}
    return Worth(accuracy, balanced, sizes, len(tested), int(known.bincount().max()) / len(known))


def trained(part: Part, seed: int, shown: int = SHOWN, altered: bool = False) -> FeatureClassifier:
    """A classifier of labelled states, shown so many items; `altered`: pictures as `standard` makes them."""
    moved = standard if altered else None
    return train_classifier(part.states, _labels(part), seed=seed, shown=shown, moved=moved)


def scored(net: FeatureClassifier, tested: Part) -> tuple[float, float]:
    """(accuracy, mean of the classes' own accuracies) on labelled states."""
    known = _labels(tested)
    right = (net.predict(tested.states) == known).double()
    return float(right.mean()), fmean(float(right[known == label].mean()) for label in set(known.tolist()))


def standard(states: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures [B, C, H, W], each mirrored half of the time, turned by up to 10 degrees, shifted by up to a sixteenth of
    its sides and zoomed by up to a tenth; beyond the border stands what stands on it."""
    draws = 2 * torch.rand(len(states), 5, generator=generator) - 1
    angle, zoom = TURN * draws[:, 0], 1 + ZOOM * draws[:, 1]
    mirror = torch.where(draws[:, 4] < 0, -1.0, 1.0)
    cosine, sine = angle.cos() * zoom, angle.sin() * zoom
    rows = [
        torch.stack([cosine * mirror, -sine, SHIFT * draws[:, 2]], dim=1),
        torch.stack([sine * mirror, cosine, SHIFT * draws[:, 3]], dim=1),
    ]
    where = F.affine_grid(torch.stack(rows, dim=1).to(states), list(states.shape), align_corners=False)
    return F.grid_sample(states, where, mode="bilinear", padding_mode="border", align_corners=False)


def _labels(part: Part) -> Tensor:
    assert part.labels is not None
    return part.labels


def _labelled(part: Part) -> Part:
    """The items that have a label."""
    if part.labels is None or not bool((part.labels >= 0).any()):
        raise PerrinError(
            "what a set is worth to a classifier is known of data with classes alone; these have no labels"
        )
    rows = part.labels >= 0
    return Part(part.states[rows], part.labels[rows])


def joined(real: Part, synthetic: Part) -> Part:
    """Real items and synthetic ones."""
    return Part(torch.cat([real.states, synthetic.states]), torch.cat([_labels(real), _labels(synthetic)]))


__all__ = ["CONTROL", "SHOWN", "Worth", "joined", "scored", "standard", "trained", "worth"]

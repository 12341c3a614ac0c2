"""Properties that molecules are drawn for: their scale, the range that was trained on, and how large such molecules are.

A state's number of atoms is chosen before it is drawn, and properties go with it (heavy molecules are large). So with
a property y near a target the number n of atoms is drawn from

    p(n | y near t) proportional to p(n) prod_k p(y_k near t_k | n)

counted in the training molecules, "near" being the same or the next of 24 bins that hold equally many of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.molecules.describing import LIMITS
from perrin.registry import unknown

BINS = 24


@dataclass(frozen=True)
class Property:
    """One property in the training molecules.

    Args:
        mean, std, least, most: of its values.
        edges: between the bins, ascending; counts: of each bin, how many molecules of 0, 1, .. N atoms there are.
    """

    name: str
    mean: float
    std: float
    least: float
    most: float
    edges: list[float]
    counts: list[list[int]]

    @classmethod
    def measured(cls, name: str, values: np.ndarray, sizes: np.ndarray, largest: int) -> Self:
        """Of training molecules, by their values (NaN: not known) and their numbers of atoms."""
        known = np.isfinite(values)
        if not known.any():
            raise PerrinError(f"no training molecule has a property {name!r}")
        values, sizes = values[known], sizes[known]
        std = float(values.std()) or 1.0
        edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
        counts = np.zeros((len(edges) + 1, largest + 1), np.int64)
        np.add.at(counts, (np.searchsorted(edges, values, "right"), sizes), 1)
        ends = float(values.min()), float(values.max())
        return cls(name, float(values.mean()), std, *ends, edges.tolist(), counts.tolist())

    def checked(self, asked: Any) -> float:
        """A target as a number.

        Raises:
            PerrinError: no finite number, one that no molecule has, or one far from the training molecules'.
        """
        try:
            target = float(asked)
        except (TypeError, ValueError) as error:
            raise PerrinError(f"{self.name}={asked!r} is no number") from error
        low, high = LIMITS.get(self.name, (-math.inf, math.inf))
        if not math.isfinite(target):
            raise PerrinError(f"{self.name}={asked} is not finite")
        if not low <= target <= high:
            bound = f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} and more"
            raise PerrinError(f"{self.name}={target:g} is impossible: it is {bound} of any molecule")
        if not self.least - self.std <= target <= self.most + self.std:
            raise PerrinError(
                f"{self.name}={target:g} is far from the training molecules, which have {self.least:.4g} to {self.most:.4g}"
            )
        return target

    def near(self, target: float) -> np.ndarray:
        """How many training molecules of 0 .. N atoms have about this value, float64 [N + 1]."""
        bin_ = int(np.searchsorted(self.edges, target, "right"))
        return np.sum(self.counts[max(0, bin_ - 1) : bin_ + 2], axis=0).astype(np.float64)


@dataclass(frozen=True)
class Targets:
    """The sizes of the training molecules, and the properties that a model is told.

    Args:
        sizes: how many training molecules have 0, 1, .. N atoms.
    """

    sizes: list[int]
    properties: list[Property]

    @property
    def names(self) -> list[str]:
        """In the order of the condition's vector."""
        return [one.name for one in self.properties]

    def vector(self, values: Mapping[str, float]) -> np.ndarray:
        """Standardised values, float32 [K]; NaN where a molecule has none."""
        found = [(values.get(one.name, math.nan) - one.mean) / one.std for one in self.properties]
        return np.array(found, np.float32)

    def checked(self, wanted: Mapping[str, Any]) -> dict[str, float]:
        """What is asked of samples, as numbers.

        Raises:
            UnknownName: a property that the model was not told in training. PerrinError: see `Property.checked`.
        """
        by_name = {one.name: one for one in self.properties}
        for name in wanted:
            if not by_name:
                raise PerrinError(f"{name!r} cannot be asked for: this model was trained without properties")
            if name not in by_name:
                raise unknown("property", name, by_name)
        return {name: by_name[name].checked(value) for name, value in wanted.items()}

    def weights(self, wanted: Mapping[str, float], least: int = 1) -> np.ndarray:
        """The probability of each number of atoms 0 .. N for samples with these properties, float64 [N + 1].

        Args:
            least: fewer atoms than that are left out.

        Raises:
            PerrinError: no training molecule has so many.
        """
        sizes = np.array(self.sizes, np.float64)
        found = sizes.copy()
        for one in self.properties:
            if one.name in wanted:
                found = found * one.near(wanted[one.name]) / np.maximum(sizes, 1)
        found[:least] = 0
        if not found.any():  # no training molecule has all of that: let the sizes alone decide
            found = np.where(np.arange(len(sizes)) >= least, sizes, 0)
        if not found.any():
            raise PerrinError(
                f"{least} atoms are more than the {len(sizes) - 1} of the largest training molecule"
            )
        return found / found.sum()

    def size(self, u: float, wanted: Mapping[str, float] | None = None, least: int = 1) -> int:
        """The quantile u in [0, 1] of `weights`."""
        cumulative = np.cumsum(self.weights(wanted or {}, least))
        below = u * cumulative[-1]
        return min(
            int(np.searchsorted(cumulative, below, "right")),
            int(np.flatnonzero(np.diff(cumulative)).max()) + 1,
        )

    def config(self) -> dict[str, Any]:
        """JSON-able, complete."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Those of a `config()`."""
        return cls(list(config["sizes"]), [Property(**one) for one in config["properties"]])


def measured(
    names: Sequence[str], sizes: Sequence[int], values: Sequence[Mapping[str, float]], largest: int
) -> Targets:
    """Sizes and properties of training molecules."""
    counted = np.array(sizes, np.int64)
    histogram = np.bincount(counted, minlength=largest + 1)
    table = {name: np.array([one.get(name, math.nan) for one in values]) for name in names}
    made = [Property.measured(name, column, counted, largest) for name, column in table.items()]
    return Targets(histogram.tolist(), made)

r"""How far one law of a number is from another, in the number's own units, with an honest error.

    W_1(P, Q) = \int |F_P(x) - F_Q(x)| dx

the least mean distance that carries one law onto the other (Vallender 1974, doi:10.1137/1118101). Of N values of the
same law it is not zero but about N^(-1/2) of their spread, so it is read beside that of two real sets. The standard
error is the bootstrap's over independent items: a molecule's twelve bonds are not twelve molecules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from perrin.errors import PerrinError

Values: TypeAlias = np.ndarray | Sequence[np.ndarray]


class Wasserstein(NamedTuple):
    """The distance and its standard error (None without draws, or where a set is a single item)."""

    value: float
    stderr: float | None


def wasserstein(generated: Values, real: Values, *, draws: int = 0, seed: int = 0) -> Wasserstein:
    """Wasserstein-1 distance of two sets of numbers.

    Args:
        generated, real: [N] numbers, each an item of its own, or one array of numbers for each item.
        draws: bootstrap draws of items for the standard error; 0 for none.
        seed: of the draws.
    Raises:
        PerrinError: a set without numbers, or with some that are not finite.
    """
    (a, a_item), (b, b_item) = _items(generated, "generated"), _items(real, "real")
    order = np.argsort(np.concatenate([a, b]), kind="stable")
    gaps = np.diff(np.concatenate([a, b])[order])
    value = _distance(gaps, order, np.ones(len(a)), np.ones(len(b)))
    counts = int(a_item[-1]) + 1, int(b_item[-1]) + 1
    if not draws or min(counts) < 2:
        return Wasserstein(value, None)
    generator = np.random.default_rng(seed)
    found = [
        _distance(gaps, order, _times(counts[0], generator)[a_item], _times(counts[1], generator)[b_item])
        for _ in range(draws)
    ]
    return Wasserstein(value, float(np.std(found, ddof=1)))


def _items(values: Values, name: str) -> tuple[np.ndarray, np.ndarray]:
    """All numbers [N], and the item that each belongs to, 0, 1, ...; items without numbers are left out."""
    if isinstance(values, np.ndarray):
        joined = np.asarray(values, np.float64).ravel()
        item = np.arange(len(joined))
    else:
        parts = [part for part in (np.asarray(v, np.float64).ravel() for v in values) if len(part)]
        joined = np.concatenate(parts) if parts else np.zeros(0)
        item = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    if not len(joined):
        raise PerrinError(f"{name}: no numbers, so there is no distance")
    if not np.isfinite(joined).all():
        raise PerrinError(f"{name}: number {int(np.argmin(np.isfinite(joined)))} is not finite")
    return joined, item


def _times(count: int, generator: np.random.Generator) -> np.ndarray:
    """How often each of so many items is in a draw with replacement."""
    return np.bincount(generator.integers(count, size=count), minlength=count).astype(np.float64)


def _distance(gaps: np.ndarray, order: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """The distance for weights of the values; `order` sorts both sets together, `gaps` lie between neighbours."""
    difference = np.cumsum(np.concatenate([a / a.sum(), -b / b.sum()])[order])[:-1]
    return float(np.abs(difference) @ gaps)

"""Samples that are asked for differently and share network calls: one value for all, or a list with one for each.

What several samples ask for alike is settled once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from perrin.errors import PerrinError

Found = TypeVar("Found")


def each(n: int, value: Any, what: str) -> list[Any]:
    """A value for each of n samples.

    Args:
        value: one for all, or a list, a tuple, an array or a tensor with one for each.
        what: they are, in the plural.

    Raises:
        PerrinError: another number of them.
    """
    value = value.tolist() if hasattr(value, "tolist") else value  # of NumPy and torch
    if not isinstance(value, list | tuple):
        return [value] * n
    if len(value) != n:
        raise PerrinError(f"{len(value)} {what} for {n} samples; give one, or one each")
    return list(value)


def once(make: Callable[..., Found], rows: Iterable[tuple[Any, ...]]) -> list[Found]:
    """`make(*row)` of every row, made once of rows that are equal."""
    made: dict[tuple[Any, ...], Found] = {}
    found = []
    for row in rows:
        if row not in made:
            made[row] = make(*row)
        found.append(made[row])
    return found


def keys_of(n: int, seed: int | Sequence[int], first: int) -> list[tuple[int, int]]:
    """(seed, index) of each sample: from `first` on of one seed, and `first` itself of each seed of a list.

    Raises:
        PerrinError: another number of seeds, or one that is no whole number.
    """
    if isinstance(seed, int):
        return [(seed, first + i) for i in range(n)]
    seeds = each(n, seed, "seeds")
    for one in seeds:
        if isinstance(one, bool) or not isinstance(one, int):
            raise PerrinError(f"seed = {one!r} must be a whole number")
    return [(one, first) for one in seeds]

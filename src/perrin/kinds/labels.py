"""Labels as people write them (names, integers, nothing) <-> indices into a list of class names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from perrin.errors import PerrinError
from perrin.registry import unknown

UNLABELLED = -1
MOST_CLASSES = 65_536  # integers above it are identifiers or measurements, not classes


class Labels(NamedTuple):
    """`of_item` int64 [n], -1 for an item without one, and the class names; both None if no item has one."""

    of_item: np.ndarray | None
    classes: list[str] | None


def index_labels(raw: Sequence[Any], where: str, names: Sequence[Any] | None = None) -> Labels:
    """Raw labels to indices and class names.

    Integers are indices already; `names`, one per item, names their classes (else they are named by their
    number). Strings are the names, in their natural order. None means that an item has no label.

    Args:
        where: what the labels belong to, for messages ("labels of 'metadata.jsonl'").

    Raises:
        PerrinError: labels of several types, negative or very large integers, two names for one index.
    """
    present = [label for label in raw if label is not None]
    if not present:
        return Labels(None, None)
    if all(isinstance(label, str) for label in present):
        classes = natural(set(present))
        index = {name: i for i, name in enumerate(classes)}
        return Labels(np.array([UNLABELLED if label is None else index[label] for label in raw]), classes)
    if not all(isinstance(label, int | np.integer) and not isinstance(label, bool) for label in present):
        kinds = sorted({type(label).__name__ for label in present})
        raise PerrinError(f"{where} must be all integers or all names, found {', '.join(kinds)}")
    if min(present) < 0 or max(present) >= MOST_CLASSES:
        raise PerrinError(
            f"{where} run from {min(present)} to {max(present)}; "
            f"write integers from 0 to {MOST_CLASSES - 1:,}, or names"
        )
    labels = np.array([UNLABELLED if label is None else label for label in raw], np.int64)
    return Labels(labels, _named(labels, names, where))


def _named(labels: np.ndarray, names: Sequence[Any] | None, where: str) -> list[str]:
    classes = [str(i) for i in range(int(labels.max()) + 1)]
    if names is None:
        return classes
    found: dict[int, str] = {}
    for label, name in zip(labels.tolist(), names, strict=True):
        if label == UNLABELLED or name is None:
            continue
        if found.setdefault(label, str(name)) != str(name):
            raise PerrinError(f"{where}: label {label} is called both {found[label]!r} and {str(name)!r}")
    return [found.get(i, name) for i, name in enumerate(classes)]


def natural(names: set[str]) -> list[str]:
    """Sorted; names that are all whole numbers are sorted as numbers (2 before 10)."""
    return sorted(names, key=int) if all(n.isascii() and n.isdigit() for n in names) else sorted(names)


def find_label(classes: Sequence[str] | None, wanted: str | int) -> int:
    """The index of a class by its name or its index; where both fit, the name wins.

    Raises:
        PerrinError: there are no classes. UnknownName: no such class, with the nearest name.
    """
    if classes is None:
        raise PerrinError(f"no class {str(wanted)!r}: the data have no labels")
    text = str(wanted)
    if text in classes:
        return list(classes).index(text)
    if text.isascii() and text.isdigit() and int(text) < len(classes):
        return int(text)
    raise unknown("class", wanted, classes)


def class_name(label: Any, classes: Sequence[str] | None) -> str | None:
    """The name of a class given by its index or its name; None for no label."""
    if label is None or label == UNLABELLED:
        return None
    if classes is not None and isinstance(label, int) and 0 <= label < len(classes):
        return classes[label]
    return str(label)

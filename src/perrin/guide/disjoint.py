"""Boxes that overlap as boxes that do not, which together cover the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Box: TypeAlias = tuple[tuple[float, float], ...]
"""(lower, upper) of every coordinate; empty where a lower bound is not below its upper one."""


def disjoint(boxes: Sequence[Box]) -> list[Box]:
    """The union of boxes, in pieces that share no more than faces; none where all are empty.

    Example:
        >>> disjoint([((0.0, 2.0),), ((1.0, 3.0),)])
        [((0.0, 2.0),), ((2.0, 3.0),)]
    """
    found: list[Box] = []
    for box in boxes:
        pieces = [box] if _is_box(box) else []
        for earlier in list(found):
            pieces = [part for piece in pieces for part in _without(piece, earlier)]
        found += pieces
    return found


def _without(box: Box, other: Box) -> list[Box]:
    """What of a box lies outside another: beside it along the first coordinate, then along the next, and so on."""
    if not all(
        low < other_high and other_low < high for (low, high), (other_low, other_high) in _pairs(box, other)
    ):
        return [box]
    pieces, rest = [], list(box)
    for k, ((low, high), (other_low, other_high)) in enumerate(_pairs(box, other)):
        for side in ((low, other_low), (other_high, high)):
            if side[0] < side[1]:
                pieces.append((*rest[:k], side, *rest[k + 1 :]))
        rest[k] = (max(low, other_low), min(high, other_high))
    return pieces


def _pairs(box: Box, other: Box) -> zip[tuple[tuple[float, float], tuple[float, float]]]:
    return zip(box, other, strict=True)


def _is_box(box: Box) -> bool:
    return all(low < high for low, high in box)

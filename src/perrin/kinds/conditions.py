"""The condition that every kind's items have in common: their label."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perrin.contracts import Item
from perrin.errors import PerrinError
from perrin.kinds.labels import UNLABELLED


def label_condition(items: Sequence[Item], classes: Sequence[str] | None) -> dict[str, Tensor] | None:
    """`{"label": int64 [B]}`, -1 for an item without one; None for a codec without classes."""
    if classes is None:
        return None
    labels = [UNLABELLED if item["label"] is None else item["label"] for item in items]
    for item, label in zip(items, labels, strict=True):
        if label >= len(classes):
            raise PerrinError(f"{item['name']}: label {label} is beyond the model's {len(classes)} classes")
    return {"label": torch.tensor(labels, dtype=torch.int64)}

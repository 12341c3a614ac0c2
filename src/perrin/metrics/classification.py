"""Is the sample what was asked for? The share of right classes, and what chance alone would score."""

from __future__ import annotations

import torch

from perrin.errors import PerrinError
from perrin.metrics.points import Points


def class_accuracy(predicted: Points, asked: Points) -> float:
    """Share of items whose predicted class [N] is the asked one [N].

    Raises:
        PerrinError: no items, or lists of different length.
    """
    a, b = torch.as_tensor(predicted), torch.as_tensor(asked)
    if a.shape != b.shape or a.ndim != 1 or len(a) == 0:
        raise PerrinError(
            f"predicted {tuple(a.shape)} and asked {tuple(b.shape)} must be lists of one length"
        )
    return float((a == b).double().mean())


def shuffled_accuracy(predicted: Points, asked: Points, *, seed: int = 0, times: int = 100) -> float:
    """The control of `class_accuracy`: its mean over `times` shuffles of the asked labels.

    Its expectation is `sum_c P(predicted = c) P(asked = c)`; a figure that the control reaches says nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.as_tensor(asked)
    shuffles = (labels[torch.randperm(len(labels), generator=generator)] for _ in range(times))
    return sum(class_accuracy(predicted, shuffled) for shuffled in shuffles) / times

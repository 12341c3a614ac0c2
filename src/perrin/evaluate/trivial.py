"""The baseline: what a model that knows nothing but averages would generate.

    state = mean_c + std_c * noise        each number on its own, mean and std of class c's training states

clipped to the range of the training states. It has the right class by construction of its mean and no
structure at all: a figure that it reaches is no evidence of a good model.
"""

from __future__ import annotations

import torch
from torch import Tensor

NAME = "independent Gaussian for each number of the state"


def gaussian_states(
    count: int, states: Tensor, labels: Tensor | None, asked: Tensor | None, *, seed: int = 0
) -> Tensor:
    """`count` states of the baseline.

    Args:
        states: [N, *shape] training states; labels: [N] int64 or None for one Gaussian over all.
        asked: [count] classes wanted; None draws them with the frequencies of `labels`.
    """
    generator = torch.Generator().manual_seed(seed)
    if labels is None:
        labels, asked = torch.zeros(len(states), dtype=torch.long), torch.zeros(count, dtype=torch.long)
    elif asked is None:
        asked = labels[torch.randint(0, len(labels), (count,), generator=generator)]
    noise = torch.randn(count, *states.shape[1:], generator=generator)
    drawn = torch.empty_like(noise)
    for label in asked.unique():
        members = states[labels == label]
        members = members if len(members) else states  # a class that was asked for and never seen
        where = asked == label
        drawn[where] = members.mean(0) + members.std(0, correction=0) * noise[where]
    return drawn.clamp(float(states.min()), float(states.max()))

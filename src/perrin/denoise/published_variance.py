r"""The learned variance of published networks: v = (output + 1) / 2 in the place of a sigmoid.

Nichol and Dhariwal 2021, equation 15; the DiT's second half. It is `learned_variance` at arctanh(output), since
sigmoid(2 u) = (1 + tanh u) / 2. An output outside [-1, 1] counts as its nearest end: there the posterior variance of the
clean state would be below zero, or above all that is unknown of it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from perrin.denoise.learned_variance import LearnedRange, learned_range


class PublishedRange(LearnedRange):
    """v = (output + 1) / 2 between the two variances of a step of `chain`."""

    def __call__(self, output: Tensor, level: Tensor) -> Tensor:
        """The posterior variance of the clean state, within [0, sigma^2], in the dtype of `output`."""
        most = 1 - torch.finfo(output.dtype).eps  # arctanh is infinite at one
        return super().__call__(torch.atanh(output.clamp(-most, most)), level)


def published_range(schedule: str | dict[str, Any] = "ddpm_linear") -> PublishedRange:
    """The interpolated log-variance as published networks say it.

    Args:
        schedule: the chain whose steps bound the variance, by its name or as `{name: ..., **options}`.

    Raises:
        PerrinError: a schedule in continuous time, which has no steps.
    """
    return PublishedRange(learned_range(schedule).chain)

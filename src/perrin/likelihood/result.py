r"""What every likelihood returns: nats per item with their error, whether to trust them, and their parts.

A log-density of states changes by log |d state / d value| in the user's units: `plus` adds such a part.
Bits per dimension are -log p / (d log 2), of the data as the log-density measures them (Theis et al. 2016).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LogProb:
    """Log-likelihoods (or bounds from below) of a batch, float64, in nats per item.

    Attributes:
        value: [B]; NaN where an item has no number.
        stderr: [B], the Monte Carlo standard error; 0 where nothing was drawn, NaN where one draw cannot tell.
        converged: bool [B]; False where `value` is NaN or its error estimate exceeds the tolerance.
        parts: name -> [B]; they sum to `value`.
        evaluations: calls of the denoiser.
        mismatch: [B] or None: the nats by which N(0, I) in place of the true noise end may change `value`
            on average, KL(q(x at the noise end | item) || N(0, I)), where `parts` does not hold it already.
    """

    value: Tensor
    stderr: Tensor
    converged: Tensor
    parts: dict[str, Tensor]
    evaluations: int
    mismatch: Tensor | None = None

    def bits_per_dimension(self, dimensions: int) -> Tensor:
        """-value / (dimensions log 2), [B]; `dimensions` counts the entries of one item."""
        return -self.value / (dimensions * math.log(2))

    def mean(self) -> tuple[float, float]:
        """(mean, its standard error) of the values over the converged items; NaN where too few have."""
        values = self.value[self.converged]
        if len(values) < 2:
            return float(values.mean()), math.nan
        return float(values.mean()), float(values.std() / math.sqrt(len(values)))

    def plus(self, name: str, nats: Tensor | float) -> LogProb:
        """With one more part, such as the codec's log-determinant: a number or [B]."""
        part = torch.as_tensor(nats, dtype=self.value.dtype, device=self.value.device).expand_as(self.value)
        return LogProb(
            self.value + part,
            self.stderr,
            self.converged,
            {**self.parts, name: part},
            self.evaluations,
            self.mismatch,
        )


def join(results: Sequence[LogProb]) -> LogProb:
    """The results of several batches as one; their parts have the same names."""
    mismatches = [r.mismatch for r in results if r.mismatch is not None]
    return LogProb(
        torch.cat([r.value for r in results]),
        torch.cat([r.stderr for r in results]),
        torch.cat([r.converged for r in results]),
        {name: torch.cat([r.parts[name] for r in results]) for name in results[0].parts},
        sum(r.evaluations for r in results),
        torch.cat(mismatches) if len(mismatches) == len(results) else None,
    )

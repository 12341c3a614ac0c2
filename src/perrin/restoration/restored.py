"""What restoration gives: samples of the clean data given what was measured, and what they say together."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perrin.contracts import Codec
from perrin.errors import PerrinError
from perrin.restoration.problem import Problem, scale_of


@dataclass(frozen=True)
class Restored:
    """Samples of n restored items, K of each.

    Attributes:
        state: [n, K, *shape], clean states of `codec`.
        problem: what was measured, in these coordinates.
        codec: turns states into the user's format; of models whose states a network decodes that of what it decodes to.
        evaluations: of the network, per sample, counted; passes backwards through it are not.
        provenance: of each item, what is needed to restore it again from the same measurement.
        drawn: [n, K, ...], what the model drew: `state` itself, or what it was decoded from; None where that is not kept.
    """

    state: Tensor
    problem: Problem
    codec: Codec
    evaluations: float
    provenance: list[dict[str, Any]] = field(default_factory=list)
    drawn: Tensor | None = None

    def __len__(self) -> int:
        return len(self.state)

    @cached_property
    def mean(self) -> Tensor:
        """The posterior mean [n, *shape], states: the restoration of the least squared error."""
        return self.state.mean(1)

    @cached_property
    def std(self) -> Tensor:
        """The posterior standard deviation of every entry [n, *shape], states.

        Raises:
            PerrinError: of a single sample.
        """
        self._several("a standard deviation")
        return self.state.std(1)

    def interval(self, share: float = 0.9) -> tuple[Tensor, Tensor]:
        """Low and high [n, *shape], states, between which a further sample lies with probability `share`.

        With at least 2 / (1 - share) - 1 samples they are interpolated between order statistics, the j-th of K being the
        quantile j / (K + 1), which holds for any distribution (K = 19 and .9: the least and the largest); with fewer
        they are those of Student's t.

        Raises:
            PerrinError: of a single sample, or a share that is none.
        """
        if not 0 < share < 1:
            raise PerrinError(f"share = {share} of an interval must lie between 0 and 1")
        self._several("an interval")
        count, tail = self.state.shape[1], (1 - share) / 2
        if tail * (count + 1) < 1:
            from scipy.stats import t  # takes half a second to import

            reach = float(t.ppf(1 - tail, count - 1)) * (1 + 1 / count) ** 0.5 * self.std
            return self.mean - reach, self.mean + reach
        ends = np.quantile(self.state.numpy(), [tail, 1 - tail], axis=1, method="weibull")
        low, high = torch.from_numpy(ends).to(self.state)
        return low, high

    @cached_property
    def residual(self) -> Tensor:
        """Root mean square of y - A x over what is measured [n, K], in the states' units.

        At or below the noise's deviation (of complex measurements that of each part) samples explain the measurement.
        """
        problem = self.problem
        found = []
        for states, y in zip(self.state, problem.measurement, strict=True):
            apart = (y - problem.operator(states.double()))[:, problem.seen[0]]
            parts = torch.view_as_real(apart) if apart.is_complex() else apart
            found.append(parts.reshape(len(states), -1).square().mean(1).sqrt())
        return torch.stack(found)

    @cached_property
    def decoded(self) -> list[list[Any]]:
        """K values of every item, in the user's format."""
        return [self.codec.decode(states) for states in self.state]

    def values(self, state: Tensor) -> Tensor:
        """States in the user's units, float64, neither rounded nor clipped."""
        offset, gain = scale_of(self.codec)
        return offset + gain * state.double()

    def spread(self) -> Tensor:
        """The standard deviation [n, *shape] in the user's units, float64."""
        return abs(scale_of(self.codec)[1]) * self.std.double()

    def _several(self, what: str) -> None:
        if self.state.shape[1] < 2:
            raise PerrinError(f"{what} needs at least 2 samples of every item")

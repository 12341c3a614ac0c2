"""A rule: a solver written as prose, with what it promises.

A rule is a function of a `Step` that returns the state at the step's end. It may use the state, predictions,
earlier predictions and noise, in sums with numbers that depend on levels alone; see `perrin.sample.tracing`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perrin.sample.tracing import Linear


def finite_steps(grid: Sequence[float]) -> int:
    """How many steps of a grid touch no infinite level."""
    return sum(math.isfinite(a) and math.isfinite(b) for a, b in pairwise(grid))


def two_stage(grid: Sequence[float], **options: Any) -> int:
    """Evaluations of a rule that evaluates twice in a step, once where the step touches an infinite level."""
    return len(grid) - 1 + finite_steps(grid)


@dataclass(frozen=True)
class Rule:
    """A solver and its promises, each of which a test measures.

    Attributes:
        name: registry name.
        function: `step -> state at the step's end`, with keyword options.
        order: global order in the step, history supplied; weak order where `stochastic`; 0 where a bias stays
            however fine the grid is.
        start_order: the order when started by itself, from one state.
        stochastic: whether it draws noise.
        exact_on_point_mass: whether the state's true noise level is what the denoiser is told, at any step
            size, when all data are one point.
        evaluations: `(grid levels, options) -> network evaluations`.
        raw_noise: whether it steps with the raw noise prediction (the E column of the table).
    """

    name: str
    function: Callable[..., Linear]
    order: int
    start_order: int
    stochastic: bool = False
    exact_on_point_mass: bool = True
    evaluations: Callable[..., int] = lambda grid, **options: len(grid) - 1
    raw_noise: bool = False

    @property
    def summary(self) -> str:
        """The first line of the rule's docstring."""
        return (self.function.__doc__ or "").strip().split("\n")[0]


def rule(
    name: str,
    *,
    order: int,
    start_order: int | None = None,
    **promises: Any,
) -> Callable[[Callable[..., Linear]], Rule]:
    """Declare a function of a `Step` to be the rule `name`; see `Rule` for the promises.

    Example:
        >>> from perrin.sample import make_plan
        >>> from perrin.sample.rule import rule
        >>> @rule("my_euler", order=1)
        ... def my_euler(step):
        ...     s, t = step.s, step.t
        ...     mean = step.predict().mean
        ...     return t.alpha * mean + t.sigma / s.sigma * (step.x - s.alpha * mean)
        >>> make_plan(my_euler, grid=[-4.0, 0.0, 4.0]).nfe
        2
    """

    def declare(function: Callable[..., Linear]) -> Rule:
        return Rule(name, function, order, order if start_order is None else start_order, **promises)

    return declare

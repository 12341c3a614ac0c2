"""`make_plan`: trace a rule over a grid and freeze the table."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any
from weakref import WeakSet

import torch

from perrin.errors import PerrinError
from perrin.process.schedule import Schedule
from perrin.registry import grids, kernels, rules
from perrin.sample.compiling import compile_lines
from perrin.sample.jumping import Leap
from perrin.sample.kernel import Kernel
from perrin.sample.plan import Plan, Row
from perrin.sample.rule import Rule
from perrin.sample.tracing import trace

MAX_SLOTS = 5
_REPLAYED: WeakSet[Callable[..., Any]] = WeakSet()
"""Rules that gave the same table twice."""


def make_plan(
    rule: str | Rule | Kernel | Mapping[str, str],
    schedule: Schedule | None = None,
    *,
    steps: int | None = None,
    grid: str | Sequence[float] = "logsnr",
    **options: Any,
) -> Plan:
    """Compile a rule on a grid.

    Args:
        rule: a registry name (`perrin.sample.rules`), or a `Rule`; of tokens a name of `perrin.sample.kernels`, or a
            `Kernel`; of a product leaf -> name.
        schedule: lays the named grid; not needed for explicit levels.
        steps: number of steps of a named grid.
        grid: 'time', 'logsnr', 'karras' or 'cosine', or rising levels (the last may be inf, the first -inf).
        options: of the rule, such as `churn` of edm_heun. Of a product `options`, leaf -> options, and `clocks`, leaf ->
            (slope, shift) of those that have a clock of their own.

    Raises:
        PerrinError: an unknown name, levels that do not rise, an option that the rule does not have, or a
            rule that is not linear.

    Example:
        >>> from perrin.process import vp
        >>> make_plan("dpmpp_2m", vp(), steps=12).nfe
        12
    """
    levels = _levels(schedule, steps, grid)
    if isinstance(rule, Mapping):
        from perrin.sample.combining import combine

        return combine(rule, levels, **options)
    found = solver(rule) if isinstance(rule, str) else rule
    _check_options(found, options)
    if isinstance(found, Kernel):
        return _of_tokens(found, levels, options)
    if isinstance(rule, str) and all(isinstance(v, Hashable) for v in options.values()):
        return _remembered(found, tuple(levels), tuple(sorted(options.items())))
    return _traced(found, levels, options)


@lru_cache(maxsize=64)
def _remembered(rule: Rule, levels: tuple[float, ...], options: tuple[tuple[str, Any], ...]) -> Plan:
    """The plan of a registered rule, which is a function of levels and options: who asks again has the same one."""
    return _traced(rule, levels, dict(options))


def _traced(rule: Rule, levels: Sequence[float], options: dict[str, Any]) -> Plan:
    with torch.inference_mode(False):  # the table may serve a run with gradients later
        lines, slots = compile_lines(trace(rule.function, levels, rule.raw_noise, options))
        if rule.function not in _REPLAYED:
            again, _ = compile_lines(trace(rule.function, levels, rule.raw_noise, options))
            if lines != again:
                raise PerrinError(
                    f"rule {rule.name!r} gives another table each time it runs; it must depend on levels alone"
                )
            _REPLAYED.add(rule.function)
        rows = tuple(line.row for line in lines)
    declared = rule.evaluations(levels, **options)
    return Plan(rule.name, tuple(levels), rows, slots, dict(options), declared, rule.exact_on_point_mass)


def solver(name: str) -> Rule | Kernel:
    """The rule or the kernel of that name."""
    found: Rule | Kernel = kernels[name] if name in kernels else rules[name]
    return found


def _levels(schedule: Schedule | None, steps: int | None, grid: str | Sequence[float]) -> list[float]:
    if isinstance(grid, str):
        lay = grids[grid]
        if schedule is None or steps is None:
            raise PerrinError(
                f"grid {grid!r} needs a schedule and a number of steps: make_plan(rule, vp(), steps=20)"
            )
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise PerrinError(f"steps = {steps!r} must be a whole number of at least 1")
        levels: list[float] = lay(schedule, steps).tolist()
    else:
        levels = [float(v) for v in grid]
    if len(levels) < 2 or not all(a < b for a, b in pairwise(levels)):
        raise PerrinError(f"a grid needs at least two levels, each above the one before; got {levels[:6]}")
    return levels


def _of_tokens(kernel: Kernel, levels: list[float], options: dict[str, Any]) -> Plan:
    """Rows that leave continuous leaves alone and move tokens from each level to the next."""
    stay = torch.zeros(2, 4, dtype=torch.float64)
    stay[:, 0] = 1.0
    rows = [
        Row(s, s, stay, leap=Leap(kernel.name, dict(options), s, t, levels[0])) for s, t in pairwise(levels)
    ]
    return Plan(kernel.name, tuple(levels), tuple(rows), 2, dict(options), len(rows), exact=False)


def _check_options(rule: Rule | Kernel, options: dict[str, Any]) -> None:
    import inspect

    from perrin.registry import unknown

    known = [n for n, p in inspect.signature(rule.function).parameters.items() if p.kind is p.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise unknown(f"option of solver {rule.name!r}", name, known)

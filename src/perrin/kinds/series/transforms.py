r"""Invertible transforms of a column, each with its inverse and the logarithm of its slope.

    identity   y                          log      ln y,  y > 0
    box_cox    (y^lambda - 1) / lambda    asinh    asinh(y / s): linear near 0, logarithmic far out, of either sign
    difference y_t - y_{t-1}

A column's transform is a chain of them with at most one difference: `x_t = outer(inner(y_t) - inner(y_{t-1}))`, whose
Jacobian is triangular with `outer' inner'` on the diagonal. `cumulative` is difference, then asinh: counts become
increments, and corrections, which are negative increments, stay what they are. Box and Cox, 1964.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perrin.errors import PerrinError
from perrin.registry import unknown

NAMES = ("identity", "log", "box_cox", "asinh", "difference", "cumulative")
SPELT_OUT = {"cumulative": ("difference", "asinh"), "identity": ()}


@dataclass(frozen=True)
class Elementwise:
    """One transform of single values; `parameter`: lambda of box_cox, s of asinh."""

    name: str
    parameter: float = 1.0

    def forward(self, y: np.ndarray) -> np.ndarray:
        """The transformed values; NaN where it takes none."""
        if self.name == "asinh":
            return np.arcsinh(y / self.parameter)
        with np.errstate(invalid="ignore", divide="ignore"):
            logarithm = np.log(np.where(y > 0, y, np.nan))
        if self.name == "log" or self.parameter == 0:
            return logarithm
        return np.expm1(self.parameter * logarithm) / self.parameter

    def inverse(self, x: np.ndarray) -> np.ndarray:
        """The values again; box_cox ends at 0, where the power of a negative number would be."""
        if self.name == "asinh":
            return self.parameter * np.sinh(x)
        if self.name == "log" or self.parameter == 0:
            return np.exp(x)
        base = np.maximum(self.parameter * x, -1 + 1e-12)
        return np.exp(np.log1p(base) / self.parameter)

    def log_slope(self, y: np.ndarray) -> np.ndarray:
        """`log dx/dy` at the values."""
        if self.name == "asinh":
            return -np.log(np.hypot(y, self.parameter))
        with np.errstate(invalid="ignore", divide="ignore"):
            logarithm = np.log(np.where(y > 0, y, np.nan))
        return -logarithm if self.name == "log" else (self.parameter - 1) * logarithm

    @property
    def positive(self) -> bool:
        """Whether it takes positive values alone."""
        return self.name in ("log", "box_cox")


@dataclass(frozen=True)
class Chain:
    """The transform of a column: elementwise ones, a difference or none, elementwise ones."""

    inner: tuple[Elementwise, ...] = ()
    difference: bool = False
    outer: tuple[Elementwise, ...] = ()

    def forward(self, extended: np.ndarray) -> np.ndarray:
        """`[..., 1 + T]`, the value before the window and the window's, to `[..., T]`; NaN where one is missing."""
        x = _all(self.inner, extended)
        return _all(self.outer, np.diff(x) if self.difference else x[..., 1:])

    def inverse(self, x: np.ndarray, given: np.ndarray) -> np.ndarray:
        """The values `[..., T]` of x [..., T]; what is `given` [..., 1 + T] (NaN: not) stays as it is, to the bit."""
        steps = _undone(self.outer, x)
        if not self.difference:
            return np.where(np.isnan(given[..., 1:]), _undone(self.inner, steps), given[..., 1:])
        level = _all(self.inner, given)
        known = ~np.isnan(level)
        for t in range(1, level.shape[-1]):  # onwards from what is known
            level[..., t] = np.where(known[..., t], level[..., t], level[..., t - 1] + steps[..., t - 1])
        for t in range(level.shape[-1] - 1, 1, -1):  # and back to what lies before it
            empty = np.isnan(level[..., t - 1])
            level[..., t - 1] = np.where(empty, level[..., t] - steps[..., t - 1], level[..., t - 1])
        return np.where(np.isnan(given[..., 1:]), _undone(self.inner, level[..., 1:]), given[..., 1:])

    def log_det(self, extended: np.ndarray, drawn_y: np.ndarray, drawn_x: np.ndarray) -> np.ndarray:
        """`log |dx/dy|` [...] of the drawn values among `extended` [..., 1 + T]; masks [..., T]."""
        total = np.where(drawn_y, _slopes(self.inner, extended[..., 1:]), 0.0).sum(-1)
        if self.outer:
            steps = (
                np.diff(_all(self.inner, extended))
                if self.difference
                else _all(self.inner, extended[..., 1:])
            )
            total = total + np.where(drawn_x, _slopes(self.outer, steps), 0.0).sum(-1)
        found: np.ndarray = total
        return found

    @property
    def positive(self) -> bool:
        """Whether the values themselves must be positive."""
        return any(one.positive for one in self.inner[:1])

    def config(self) -> list[Any]:
        """JSON-able: names, with the parameter where there is one."""
        written = [[one.name, one.parameter] for one in self.inner]
        return [
            *written,
            *([["difference", 1]] if self.difference else []),
            *([o.name, o.parameter] for o in self.outer),
        ]

    @classmethod
    def from_config(cls, config: Sequence[Sequence[Any]]) -> Chain:
        """The chain of a `config()`."""
        parts: tuple[list[Elementwise], list[Elementwise]] = ([], [])
        difference = False
        for name, parameter in config:
            if name == "difference":
                difference = True
            else:
                parts[difference].append(Elementwise(name, float(parameter)))
        return cls(tuple(parts[0]), difference, tuple(parts[1]))


def fitted_chain(names: str | Sequence[str], values: Sequence[np.ndarray], column: str) -> Chain:
    """The chain of those names for a column, its parameters measured on series [T] of training values.

    Raises:
        PerrinError: a name that is not known, or two differences.
    """
    asked = [names] if isinstance(names, str) else list(names)
    for name in asked:
        if name not in NAMES:
            raise unknown(f"transform of column {column!r}", name, NAMES)
    spelt = [part for name in asked for part in SPELT_OUT.get(name, (name,))]
    if spelt.count("difference") > 1:
        raise PerrinError(f"column {column!r}: {', '.join(asked)} takes two differences; one is the most")
    parts: tuple[list[Elementwise], list[Elementwise]] = ([], [])
    now, difference = [np.asarray(v, np.float64) for v in values], False
    for name in spelt:
        if name == "difference":
            now, difference = [np.diff(v) for v in now], True
            continue
        made = Elementwise(name, _parameter(name, np.concatenate(now)))
        if made.positive and difference:
            raise PerrinError(
                f"column {column!r}: {name} takes positive values, and differences have either sign"
            )
        parts[difference].append(made)
        now = [made.forward(v) for v in now]
    return Chain(tuple(parts[0]), difference, tuple(parts[1]))


def _parameter(name: str, values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    if name == "asinh":
        size = float(np.median(np.abs(known))) if len(known) else 1.0
        return size or float(np.abs(known).mean()) or 1.0
    if name == "box_cox":
        from scipy.stats import boxcox_normmax

        positive = known[known > 0]
        if len(positive) < 3 or np.ptp(positive) == 0:
            return 1.0
        return float(np.clip(boxcox_normmax(positive[-5_000:], brack=(-1.0, 1.0), method="mle"), -1, 2))
    return 1.0


def _all(steps: Sequence[Elementwise], y: np.ndarray) -> np.ndarray:
    for one in steps:
        y = one.forward(y)
    return np.array(y, np.float64)


def _undone(steps: Sequence[Elementwise], x: np.ndarray) -> np.ndarray:
    for one in reversed(steps):
        x = one.inverse(x)
    return x


def _slopes(steps: Sequence[Elementwise], y: np.ndarray) -> np.ndarray:
    total = np.zeros_like(y)
    for one in steps:
        total, y = total + one.log_slope(y), one.forward(y)
    return total

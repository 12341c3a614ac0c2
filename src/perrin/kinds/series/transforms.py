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
import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.registry import unknown

NAMES = ("identity", "log", "box_cox", "asinh", "difference", "cumulative")
SPELT_OUT = {"cumulative": ("difference", "asinh"), "identity": ()}


@dataclass(frozen=True)
class Elementwise:
    """One transform of single values; `parameter`: lambda of box_cox, s of asinh."""

    name: str
    parameter: float = 1.0

    def forward(self, y: Tensor) -> Tensor:
        """The transformed values, float64; NaN where it takes none."""
        if self.name == "asinh":
            return torch.asinh(y / self.parameter)
        logarithm = torch.log(torch.where(y > 0, y, torch.nan))
        if self.name == "log" or self.parameter == 0:
            return logarithm
        return torch.expm1(self.parameter * logarithm) / self.parameter

    def inverse(self, x: Tensor) -> Tensor:
        """The values again; box_cox ends at 0, where the power of a negative number would be."""
        if self.name == "asinh":
            return self.parameter * torch.sinh(x)
        if self.name == "log" or self.parameter == 0:
            return torch.exp(x)
        return torch.exp(torch.log1p((self.parameter * x).clamp(min=-1 + 1e-12)) / self.parameter)

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

    def inverse(self, x: Tensor | np.ndarray, given: Tensor | np.ndarray) -> Tensor:
        """The values `[..., T]` of x [..., T], float64 and differentiable; what is `given` stays, to the bit.

        Args:
            x: transformed values. given: [..., 1 + T], the row before the window and the window's; NaN: not given.
        """
        held = torch.as_tensor(given, dtype=torch.float64)
        steps = _undone(self.outer, torch.as_tensor(x, dtype=torch.float64))
        found = _undone(self.inner, self._level(steps, held) if self.difference else steps)
        return torch.where(held[..., 1:].isnan(), found, held[..., 1:])

    def _level(self, steps: Tensor, given: Tensor) -> Tensor:
        """Sums of steps [..., T]: onwards from the last known level, and back from the first to what lies before it."""
        level = _applied(self.inner, given)
        known = ~level.isnan()
        place = torch.arange(level.shape[-1], device=level.device).expand(level.shape)
        last = torch.where(known, place, -1).cummax(-1).values
        first = torch.where(known, place, level.shape[-1]).amin(-1, keepdim=True)
        begun = torch.where(last < 0, first.clamp(max=level.shape[-1] - 1), last)
        # steps between known levels are not looked at, whatever they are, nor is one from before that is not known
        unused = known[..., 1:] & (last[..., :-1] >= 0)
        unused[..., :1] |= ~known[..., :1]
        summed = torch.where(unused, 0.0, steps).cumsum(-1)
        summed = torch.cat([torch.zeros_like(level[..., :1]), summed], -1)
        return (level.gather(-1, begun) + summed - summed.gather(-1, begun))[..., 1:]

    def log_det(self, extended: np.ndarray, drawn_y: np.ndarray, drawn_x: np.ndarray) -> np.ndarray:
        """`log |dx/dy|` [...] of the drawn values among `extended` [..., 1 + T]; masks [..., T].

        Steps say how values go on from the first one after a gap, and nothing of that one: it counts as given.
        """
        if self.difference:
            drawn_y = drawn_y & ~_adrift(extended, drawn_y)
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

    def level(self, y: Tensor) -> Tensor:
        """The values where steps add up: transformed, but before a difference; differentiable."""
        return _applied(self.inner, y)

    @property
    def walks(self) -> bool:
        """Whether what is standardised is the steps of a walk."""
        return self.difference and not self.outer

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


def _adrift(extended: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """First values [..., T] of runs of known values `extended` [..., 1 + T] of which none is given."""
    known = ~np.isnan(extended)
    given = known & np.concatenate([np.ones_like(known[..., :1]), ~drawn], -1)
    place = np.arange(known.shape[-1])
    first = known & np.concatenate([np.ones_like(known[..., :1]), ~known[..., :-1]], -1)
    # the next given value, unless a gap comes before it
    ahead = np.minimum.accumulate(np.where(given, place, len(place))[..., ::-1], -1)[..., ::-1]
    gap = np.minimum.accumulate(np.where(known, len(place), place)[..., ::-1], -1)[..., ::-1]
    found: np.ndarray = (first & (gap <= ahead))[..., 1:]
    return found


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
        now = [_all([made], v) for v in now]
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
    found: np.ndarray = _applied(steps, torch.from_numpy(np.array(y, np.float64))).numpy()
    return found


def _applied(steps: Sequence[Elementwise], y: Tensor) -> Tensor:
    for one in steps:
        y = one.forward(y)
    return y


def _undone(steps: Sequence[Elementwise], x: Tensor) -> Tensor:
    for one in reversed(steps):
        x = one.inverse(x)
    return x


def _slopes(steps: Sequence[Elementwise], y: np.ndarray) -> np.ndarray:
    total = np.zeros_like(y)
    for one in steps:
        total, y = total + one.log_slope(y), _all([one], y)
    return total

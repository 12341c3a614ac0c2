r"""A plan: a rule on a grid, compiled to a float64 table. Running it is the only sampling loop there is.

A row evaluates the denoiser at x_eval and then maps

    [x_base, x_eval, kept..., D, E, z...]  ->  [x_base, x_eval, kept...]

D is the predicted clean state, E the raw noise prediction (only for rules that use it), z the row's unit
normals. A plan depends on levels alone: it serves every model, schedule and state shape. The rows of a plan for tokens
name a kernel instead, which is no table. In a plan of a product every leaf has rows of its own, and all meet where the
denoiser is evaluated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.registry import kernels
from perrin.sample.jumping import Leap
from perrin.sample.tracing import Draw

FORMAT = 1
MEAN, NOISE, DRAW = -1, -2, -3


@dataclass(frozen=True)
class Row:
    """One tick of a plan.

    Attributes:
        level: where the denoiser is evaluated (at x_eval); None for a row that only mixes noise in.
        base: the level of x_base before the row.
        matrix: float64 [slots, slots + 2 + draws].
        draws: the unit normals it needs.
        variance: (a, b): its draw is scaled by sqrt(a + b * variance of the prediction).
        leap: how it moves leaves that are moved by kernels; None: not at all.
        parts: leaf -> how it moves that leaf, where leaves move each in their own way.
    """

    level: float | None
    base: float
    matrix: Tensor
    draws: tuple[Draw, ...] = ()
    variance: tuple[float, float] | None = None
    leap: Leap | None = None
    parts: Mapping[str, Row | Leap] = field(default_factory=dict)

    def table_of(self, leaf: str) -> Row | None:
        """The row that moves a continuous leaf; None: this plan does not."""
        found = self.parts.get(leaf, self)
        return found if isinstance(found, Row) and found.leap is None else None

    def leap_of(self, leaf: str) -> Leap | None:
        """How a leaf of tokens or on a manifold is moved; None: this plan does not."""
        found = self.parts.get(leaf, self)
        return found if isinstance(found, Leap) else found.leap

    @cached_property
    def program(self) -> list[list[tuple[int, float]]]:
        """Per new slot the (source, coefficient) pairs that are not zero, in a fixed order.

        Source i >= 0 is slot i, `MEAN` and `NOISE` the prediction, `DRAW - i` the row's draw i.
        """
        slots = self.matrix.shape[0]
        return [
            [(i if i < slots else slots - i - 1, c) for i, c in enumerate(line) if c != 0.0]
            for line in self.matrix.tolist()
        ]

    @cached_property
    def ready(self) -> dict[Any, Any]:
        """Where `preparing` keeps the program's coefficients, cast to a dtype."""
        return {}

    @cached_property
    def uses_noise(self) -> bool:
        """Whether the raw noise prediction is used."""
        return any(source == NOISE for line in self.program for source, _ in line)


@dataclass(frozen=True, eq=False)
class Plan:
    """A compiled sampler.

    Attributes:
        rule: the rule's name, or the kernel's; options: what it was given. Of a product leaf -> solver and leaf ->
            options, and `clocks`, leaf -> (slope, shift).
        grid: the levels of the grid, rising.
        rows: the table.
        slots: how many states are carried (x_base, x_eval and what is kept).
        levels: the start level, then the level after every row.
        declared: evaluations that the rule promises on this grid.
        exact: whether the rule is exact on a point mass.
        fitted: of a fitted plan (`perrin.learn.tune`): to what, and how it did.
    """

    rule: str | dict[str, str]
    grid: tuple[float, ...]
    rows: tuple[Row, ...]
    slots: int
    options: dict[str, Any] = field(default_factory=dict)
    declared: int | None = None
    exact: bool = True
    fitted: dict[str, Any] | None = None
    clocks: dict[str, tuple[float, float]] = field(default_factory=dict)

    @cached_property
    def nfe(self) -> int:
        """Network evaluations per sample."""
        return sum(row.level is not None for row in self.rows)

    @cached_property
    def evaluated(self) -> tuple[float, ...]:
        """The levels at which the denoiser is evaluated, in order."""
        return tuple(row.level for row in self.rows if row.level is not None)

    @cached_property
    def levels(self) -> tuple[float, ...]:
        """The start level, then the level of x_eval after every row; the last is the end of the grid."""
        after = [row.level for row in self.rows[1:] if row.level is not None]
        return (self.grid[0], *after, self.grid[-1])

    @cached_property
    def base_levels(self) -> tuple[float, ...]:
        """The level of the state (x_base) before the first row, then after every row."""
        return (*(row.base for row in self.rows), self.grid[-1])

    @property
    def stochastic(self) -> bool:
        """Whether any row draws noise."""
        parts = [part for row in self.rows for part in (row, row.leap, *row.parts.values())]
        return any(
            kernels[part.kernel].stochastic if isinstance(part, Leap) else part is not None and part.draws
            for part in parts
        )

    @property
    def leaps(self) -> bool:
        """Whether this is a plan of a kernel alone, which has no table."""
        return self.rows[0].leap is not None

    @property
    def name(self) -> str:
        """The solver, or those of the leaves."""
        if isinstance(self.rule, str):
            return self.rule
        return ", ".join(f"{leaf}: {solver}" for leaf, solver in self.rule.items())

    def check(self) -> None:
        """Lint the table: causality, endpoints, declared evaluations, the point mass where the rule is exact.

        Raises:
            PerrinError: the first thing that is wrong, with its row.
        """
        from perrin.sample.linting import check

        check(self)

    def starting_at(self, level: float) -> Plan:
        """The same rule over the rest of the grid from `level` on, traced afresh (no history is kept).

        A level between two of the grid's becomes the first of the new grid.
        """
        from perrin.sample.making import make_plan

        if self.fitted is not None:
            raise PerrinError(
                f"this plan was fitted from level {self.grid[0]} on; it cannot start at {level}: use a rule's plan"
            )
        rest = [v for v in self.grid if v > level]
        if not rest:
            raise PerrinError(f"the grid ends at level {self.grid[-1]}; it cannot start at {level}")
        return make_plan(self.rule, grid=[level, *rest], **self._asked())

    def recipe(self) -> dict[str, Any]:
        """What `from_recipe` needs to have this plan again: rule, options and grid, or the table where no rule gives it."""
        from perrin.sample.making import make_plan

        short = {"rule": self.rule, "options": self.options, "grid": [_number(v) for v in self.grid]}
        if self.clocks:
            short["clocks"] = self.clocks
        try:
            again = make_plan(self.rule, grid=self.grid, **self._asked())
        except PerrinError:  # a rule that is not registered
            return self.to_json()
        same = again is self or again.to_json() == self.to_json()
        return short if same else self.to_json()

    @staticmethod
    def from_recipe(data: dict[str, Any], where: str = "plan") -> Plan:
        """The plan of `recipe`."""
        from perrin.sample.making import make_plan

        if "rows" in data:
            return Plan.from_json(data, where)
        return make_plan(data["rule"], grid=[float(v) for v in data["grid"]], **_asked(data))

    def _asked(self) -> dict[str, Any]:
        return _asked({"rule": self.rule, "options": self.options, "clocks": self.clocks})

    def to_json(self) -> dict[str, Any]:
        """A JSON-able form; floats survive exactly."""
        return {
            "format": "perrin-plan",
            "version": FORMAT,
            "rule": self.rule,
            "options": self.options,
            "grid": [_number(v) for v in self.grid],
            **({"tokens": True} if self.leaps else {}),
            **({"clocks": self.clocks} if self.clocks else {}),
            "slots": self.slots,
            "declared": self.declared,
            "exact": self.exact,
            **({} if self.fitted is None else {"fitted": self.fitted}),
            "rows": [
                {
                    "level": None if row.level is None else _number(row.level),
                    "base": _number(row.base),
                    "matrix": row.matrix.tolist(),
                    "draws": [[d.stream, _number(d.start), _number(d.stop), d.visit] for d in row.draws],
                    "variance": row.variance,
                }
                for row in self.rows
            ],
        }

    @staticmethod
    def from_json(data: dict[str, Any], where: str = "plan") -> Plan:
        """The plan of `to_json`.

        Raises:
            PerrinError: anything that is not a plan of this version.
        """
        if not isinstance(data, dict) or data.get("format") != "perrin-plan":
            raise PerrinError(f"{where} is not a plan (no 'format': 'perrin-plan')")
        if data.get("version") != FORMAT:
            raise PerrinError(
                f"{where} has plan version {data.get('version')}; this Perrin reads version {FORMAT}"
            )
        try:
            return _read(data)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError, RuntimeError) as error:
            raise PerrinError(f"{where} is a damaged plan: {error!r}") from error

    def save(self, path: str | Path) -> None:
        """Write the plan as JSON."""
        Path(path).write_text(json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n")

    @staticmethod
    def load(path: str | Path) -> Plan:
        """Read a plan that `save` wrote."""
        try:
            data = json.loads(Path(path).read_text())
        except OSError as error:
            raise PerrinError(f"cannot read the plan {path}: {error.strerror}") from error
        except ValueError as error:
            raise PerrinError(f"{path} is not a plan: {error}") from error
        return Plan.from_json(data, str(path))


def _asked(data: dict[str, Any]) -> dict[str, Any]:
    """Options as `make_plan` takes them: of a product by leaf, with the clocks."""
    if isinstance(data["rule"], str):
        return dict(data["options"])
    return {"options": data["options"], "clocks": data.get("clocks", {})}


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)  # JSON knows no infinity


def _read(data: dict[str, Any]) -> Plan:
    if data.get("tokens") or isinstance(
        data["rule"], dict
    ):  # a kernel is code: its levels and options are all
        from perrin.sample.making import make_plan

        return make_plan(data["rule"], grid=[float(v) for v in data["grid"]], **_asked(data))
    slots = int(data["slots"])
    rows: list[Row] = []
    for r in data["rows"]:
        draws = tuple(Draw(str(d[0]), float(d[1]), float(d[2]), int(d[3])) for d in r["draws"])
        matrix = torch.tensor(r["matrix"], dtype=torch.float64)
        if matrix.shape != (slots, slots + 2 + len(draws)):
            raise ValueError(f"row {len(rows)} has a matrix of shape {tuple(matrix.shape)}")
        if not bool(torch.isfinite(matrix).all()):
            raise ValueError(f"row {len(rows)} holds a number that is not finite")
        variance = None if r["variance"] is None else (float(r["variance"][0]), float(r["variance"][1]))
        level = None if r["level"] is None else float(r["level"])
        rows.append(Row(level, float(r["base"]), matrix, draws, variance))
    return Plan(
        rule=str(data["rule"]),
        grid=tuple(float(v) for v in data["grid"]),
        rows=tuple(rows),
        slots=slots,
        options=dict(data["options"]),
        declared=data["declared"],
        exact=bool(data["exact"]),
        fitted=data.get("fitted"),
    )

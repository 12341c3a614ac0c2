r"""Events of paths: `WTI[30] > 90 and max(WTI) < 120`, written, counted on paths, and as a margin to be guided by.

    event       clause { "or" clause }           clause    comparison { "and" comparison }
    comparison  statistic ( > | >= | < | <= ) number
    statistic   NAME[step]  |  FUNCTION(NAME)  |  FUNCTION(NAME[first:last]),    FUNCTION one of `FUNCTIONS`

Steps are those that are drawn: 1 is the first, -1 the last, and a range holds both its ends. `change` is the range's last
value minus its first, `last(NAME)` is `NAME[-1]`. With one column its name may be left out (`max > 120`, `[30] > 90`); a
name with blanks or signs stands in quotes or backticks.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.kinds.series.event_text import Words
from perrin.registry import unknown

FUNCTIONS = ("max", "min", "mean", "sum", "change", "last")
HOLDS: dict[str, Callable[[Tensor, float], Tensor]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(frozen=True)
class Statistic:
    """A number of a path. `function`: one of `FUNCTIONS`, or "at" for the value at one step.

    Attributes:
        column, name: of the values. first, last: steps of the range, 1-based, or negative from the end.
    """

    function: str
    column: int
    name: str
    first: int = 1
    last: int = -1

    def of(self, values: Tensor) -> Tensor:
        """[n], of values [n, C, H].

        Raises:
            PerrinError: a step that is not drawn.
        """
        start, stop = self.rows(values.shape[-1])
        part = values[:, self.column, start:stop]
        if self.function == "max":
            return part.amax(-1)
        if self.function == "min":
            return part.amin(-1)
        if self.function == "mean":
            return part.mean(-1)
        if self.function == "sum":
            return part.sum(-1)
        return part[:, -1] - part[:, 0] if self.function == "change" else part[:, -1]

    def rows(self, horizon: int) -> tuple[int, int]:
        """Of `horizon` drawn steps the range's first row, counted from 0, and the one after its last.

        Raises:
            PerrinError: a step that is not drawn, or a range without one.
        """
        first, last = (step if step > 0 else step + horizon + 1 for step in (self.first, self.last))
        for step, place in ((self.first, first), (self.last, last)):
            if not 1 <= place <= horizon:
                raise PerrinError(f"{self}: step {step} is not drawn; there are {horizon} steps")
        if first > last:
            raise PerrinError(
                f"{self}: of {horizon} steps the range holds none, since it ends before it begins"
            )
        return first - 1, last

    def __str__(self) -> str:
        plain = re.fullmatch(r"[^\W\d][\w.]*", self.name) and self.name not in FUNCTIONS
        quote = "" if plain else "`" if '"' in self.name else '"'
        name = f"{quote}{self.name}{quote}"
        if self.function == "at":
            return f"{name}[{self.first}]"
        steps = "" if (self.first, self.last) == (1, -1) else f"[{self.first}:{self.last}]"
        return f"{self.function}({name}{steps})"


@dataclass(frozen=True)
class Comparison:
    """`statistic sign number`, such as `WTI[30] > 90`."""

    statistic: Statistic
    sign: str
    number: float

    def holds(self, values: Tensor) -> Tensor:
        """bool [n]; false where the statistic is not known."""
        return HOLDS[self.sign](self.statistic.of(values), self.number)

    def margin(self, values: Tensor) -> Tensor:
        """[n], how far inside."""
        inside = self.statistic.of(values) - self.number
        return inside if self.above else -inside

    @property
    def above(self) -> bool:
        """Whether the statistic is to be above the number."""
        return self.sign in (">", ">=")

    def __str__(self) -> str:
        return f"{self.statistic} {self.sign} {self.number:.15g}"


@dataclass(frozen=True)
class Event:
    """What may come true of a path: one of the `clauses`, of which all comparisons hold. `str` writes it canonically."""

    clauses: tuple[tuple[Comparison, ...], ...]

    def holds(self, values: np.ndarray | Tensor) -> np.ndarray:
        """bool [n], of values [n, C, H] in the user's units, the drawn steps alone."""
        own = torch.as_tensor(values)
        every = [torch.stack([c.holds(own) for c in clause]).all(0) for clause in self.clauses]
        found: np.ndarray = torch.stack(every).any(0).numpy()
        return found

    def margin(self, values: Tensor) -> Tensor:
        """[n], of values [n, C, H]: positive where it holds, in the user's units and differentiable.

        A clause is as far inside as its worst comparison, an event as its best clause.
        """
        every = [torch.stack([c.margin(values) for c in clause]).amin(0) for clause in self.clauses]
        return torch.stack(every).amax(0)

    def check(self, horizon: int) -> None:
        """Refuse steps beyond the `horizon` drawn ones."""
        for clause in self.clauses:
            for comparison in clause:
                comparison.statistic.rows(horizon)

    def __str__(self) -> str:
        return " or ".join(" and ".join(map(str, clause)) for clause in self.clauses)


def parse_event(text: str, names: Sequence[str]) -> Event:
    """The event that a text says, of columns `names`.

    Raises:
        PerrinError: what cannot be read, where, and what would be right; names that are not known, with the nearest.

    Example:
        >>> event = parse_event("[3] > 90 or max < 5", ["WTI"])
        >>> str(event)
        'WTI[3] > 90 or max(WTI) < 5'
        >>> event.holds(np.array([[[1.0, 7.0, 99.0]], [[1.0, 7.0, 4.0]]])).tolist()
        [True, False]
    """
    words = Words(text)
    clauses: list[list[Comparison]] = [[]]
    while True:
        clauses[-1].append(_comparison(words, names))
        joint = words.take()
        if joint == "or":
            clauses.append([])
        elif joint != "and":
            break
    if joint is not None:
        raise words.error(
            f"{joint!r} stands where 'and', 'or' or the end should; comparisons are joined by them"
        )
    return Event(tuple(tuple(clause) for clause in clauses))


def _comparison(words: Words, names: Sequence[str]) -> Comparison:
    statistic = read_statistic(words, names)
    sign = words.take()
    if sign not in HOLDS:
        raise words.error(
            f"{statistic} is followed by {sign!r}, not by one of {' '.join(HOLDS)}"
            if sign is not None
            else f"{statistic} is compared with nothing; write {statistic} > 90"
        )
    return Comparison(statistic, sign, words.number(f"{statistic} {sign}"))


def read_statistic(words: Words, names: Sequence[str]) -> Statistic:
    """The statistic that comes next.

    Raises:
        PerrinError: none, or one that cannot be read.
    """
    word = words.peek()
    if word is None or word in HOLDS:
        raise words.error(
            "a statistic is missing: NAME[step], or " + ", ".join(f"{f}(NAME)" for f in FUNCTIONS)
        )
    if word == "(":
        raise words.error("comparisons are not put in brackets; 'and' binds before 'or': a and c or b and c")
    function = "at"
    if not words.quoted and (words.then("(") or (word in FUNCTIONS and word not in names)):
        if word not in FUNCTIONS:
            raise unknown(f"{words.where()}function", word, FUNCTIONS)
        function = str(words.take())
    closed = function != "at" and words.peek() == "("
    if closed:
        words.take()
    column, name = _column(words, names, closed)
    steps = _steps(words) if words.peek() == "[" else None
    if closed and words.take() != ")":
        raise words.error(f"{function}( is not closed by )")
    if function == "at" and (steps is None or steps[0] != steps[1]):
        raise words.error(f"{name} is of which step? Write {name}[1], {name}[-1], or max({name}) of a range")
    first, last = steps or (1, -1)
    if function == "last":
        return Statistic("at", column, name, last, last)
    return Statistic(function, column, name, first, last)


def _column(words: Words, names: Sequence[str], closed: bool) -> tuple[int, str]:
    """The column that is named, or the only one where none is."""
    word = words.peek()
    left_out = not words.quoted and (word is None or word in ("[", ")", *HOLDS, "="))
    if left_out:
        if len(names) != 1:
            raise words.error(f"which column? There are {', '.join(names)}")
        return 0, names[0]
    words.take()
    if word not in names:
        raise unknown(f"{words.where()}column", word, names)
    return list(names).index(str(word)), str(word)


def _steps(words: Words) -> tuple[int, int]:
    """Of `[a]`, `[a:b]`, `[a:]` or `[:b]`."""
    words.take()
    inside: list[str] = []
    while (word := words.take()) not in ("]", None):
        inside.append(str(word))
    said = "".join(inside)
    found = re.fullmatch(r"([+-]?\d+)|([+-]?\d+)?:([+-]?\d+)?", said)
    if word is None or found is None:
        raise words.error(f"[{said}{']' if word else ''} says no step; write [3], [-1] or a range [5:10]")
    one, first, last = found.groups()
    steps = (int(one), int(one)) if one else (int(first or 1), int(last or -1))
    if 0 in steps:
        raise words.error("steps are counted from 1, the first that is drawn; -1 is the last")
    return steps

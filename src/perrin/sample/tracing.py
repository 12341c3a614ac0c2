r"""Running a rule on symbols: every value is a linear combination of what a sampler may know.

The inputs, called atoms, are the start state, each prediction (mean D, raw noise E) and each normal draw z.
States and evaluation points become atoms of their own as they are made, so that the table built from a trace
carries the state itself and never rebuilds it from its history. `perrin.sample.compiling` turns a trace into
rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from perrin.errors import PerrinError
from perrin.process import gaussian, levels


class Linear:
    """A linear combination of atoms; only sums and multiples exist, so a rule cannot be non-linear."""

    __array_ufunc__ = None  # numpy's scalars must leave the arithmetic to us
    __slots__ = ("terms",)

    def __init__(self, terms: dict[int, float]) -> None:
        self.terms = terms

    def __add__(self, other: Linear) -> Linear:
        if not isinstance(other, Linear):
            raise _not_linear(f"adds {other!r} to a state")
        keys = dict.fromkeys([*self.terms, *other.terms])
        return Linear({k: self.terms.get(k, 0.0) + other.terms.get(k, 0.0) for k in keys})

    def __mul__(self, factor: float) -> Linear:
        if isinstance(factor, Linear):
            raise _not_linear("multiplies two states")
        factor = float(factor)
        if not math.isfinite(factor):
            raise PerrinError(
                f"a rule multiplies a state by {factor}; a row at an infinite level needs its own form"
            )
        return Linear({k: factor * v for k, v in self.terms.items() if factor * v != 0.0})

    def __radd__(self, other: Linear | int) -> Linear:
        if isinstance(other, int) and other == 0:  # the start of Python's own sum()
            return self
        raise _not_linear(f"adds {other!r} to a state")

    def __rmul__(self, factor: float) -> Linear:
        return self * factor

    def __sub__(self, other: Linear) -> Linear:
        return self + (-1.0) * other

    def __neg__(self) -> Linear:
        return -1.0 * self

    def __truediv__(self, factor: float) -> Linear:
        if isinstance(factor, Linear):
            raise _not_linear("divides by a state")
        return self * (1.0 / factor)

    def __bool__(self) -> bool:
        raise _not_linear("branches on the value of a state")

    def __eq__(self, other: object) -> bool:
        raise _not_linear("compares a state")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python's own questions, such as those of copy
            raise AttributeError(name)
        raise _not_linear(f"uses .{name} of a state")


def _not_linear(what: str) -> PerrinError:
    return PerrinError(
        f"the rule is not linear: it {what}; a rule may only add states and multiply them by numbers"
    )


@dataclass(frozen=True)
class Point:
    """A level with its coefficients as floats: alpha, sigma, ratio = sigma/alpha, lam = log(alpha/sigma)."""

    level: float
    alpha: float
    sigma: float
    ratio: float
    lam: float

    @staticmethod
    def of(grid: Sequence[float]) -> list[Point]:
        """The points of many levels, made at once."""
        every = torch.tensor(grid, dtype=torch.float64)
        parts = (every, levels.alpha(every), levels.sigma(every), levels.ratio(every), 0.5 * every)
        return [Point(*numbers) for numbers in zip(*(part.tolist() for part in parts), strict=True)]

    @property
    def finite(self) -> bool:
        """Whether the level is neither pure noise nor clean."""
        return math.isfinite(self.level)


@dataclass(frozen=True)
class Draw:
    """The name of one normal draw: its stream, the interval of levels it belongs to, and the visit."""

    stream: str
    start: float
    stop: float
    visit: int = 0


@dataclass(frozen=True)
class Output:
    """A prediction in a trace: where it was made, its mean, its noise (raw where the rule asks for it)."""

    at: Point
    mean: Linear
    noise: Linear


@dataclass
class Atom:
    """An input, or a value defined by others; `segment` counts the evaluations before it came to be."""

    kind: str
    segment: int
    definition: Linear | None = None
    draw: Draw | None = None
    variance: tuple[float, float] | None = None


class Tracer:
    """Records what a rule does over a grid."""

    def __init__(self, start: float, raw_noise: bool) -> None:
        self.raw_noise = raw_noise
        self.atoms: list[Atom] = [Atom("start", 0)]
        # (atom evaluated, its level, base atom at that time, its level)
        self.evaluations: list[tuple[int, float, int, float]] = []
        self.base, self.base_level = 0, start
        self.path: list[tuple[Draw, int]] = []

    def new(self, atom: Atom) -> int:
        self.atoms.append(atom)
        return len(self.atoms) - 1

    @property
    def segment(self) -> int:
        return len(self.evaluations)

    def define(self, kind: str, value: Linear) -> int:
        """An atom for `value`; a value that is one atom already stays that atom."""
        if not isinstance(value, Linear):
            raise PerrinError(f"a rule must work on states; it gave {type(value).__name__} for its {kind}")
        terms = {k: v for k, v in value.terms.items() if v != 0.0}
        if len(terms) == 1 and next(iter(terms.values())) == 1.0:
            return next(iter(terms))
        return self.new(Atom(kind, self.segment, Linear(terms)))

    def evaluate(self, value: Linear, at: Point) -> Output:
        if at.level == math.inf:
            raise PerrinError("a rule evaluates the denoiser at level +inf, where the state is clean already")
        atom = self.define("evaluation", value)
        self.evaluations.append((atom, at.level, self.base, self.base_level))
        mean = Linear({self.new(Atom("mean", self.segment)): 1.0})
        if self.raw_noise:
            noise = Linear({self.new(Atom("noise", self.segment)): 1.0})
        else:
            noise = (Linear({atom: 1.0}) - at.alpha * mean) / at.sigma
        return Output(at, mean, noise)

    def draw(self, draw: Draw, variance: tuple[float, float] | None = None) -> Linear:
        return Linear({self.new(Atom("draw", self.segment, draw=draw, variance=variance)): 1.0})

    def increment(self, start: float, stop: float, variance: tuple[float, float] | None) -> Linear:
        """The path's unit normal over [start, stop]: pieces drawn before, and fresh ones between them.

        The path is a Wiener process whose clock is the SNR (the noise of the information alpha x / sigma^2),
        so a union of disjoint intervals weighs each by the root of its share of the SNR.
        """
        inside = sorted((d.start, d.stop, a) for d, a in self.path if d.start < stop and d.stop > start)
        if any(a < start or b > stop for a, b, _ in inside):
            raise PerrinError(
                f"a rule asks for noise over ({start}, {stop}), a part of an interval drawn before"
            )
        pieces, low = [], start
        for a, b, atom in [*inside, (stop, stop, -1)]:
            if a > low:
                pieces.append((low, a, self._fresh(low, a, variance)))
            if atom >= 0:
                pieces.append((a, b, Linear({atom: 1.0})))
            low = b
        if len(pieces) == 1:
            return pieces[0][2]
        total = Linear({})
        for a, b, z in pieces:
            total = total + snr_share(a, b, start, stop) * z
        return total

    def _fresh(self, start: float, stop: float, variance: tuple[float, float] | None) -> Linear:
        draw = Draw("path", start, stop)
        z = self.draw(draw, variance)
        self.path.append((draw, next(iter(z.terms))))
        return z


def snr_share(a: float, b: float, start: float, stop: float) -> float:
    """sqrt((SNR_b - SNR_a) / (SNR_stop - SNR_start)), for infinite levels too."""
    scale = 1.0 if b == stop else math.exp(b - stop)
    return math.sqrt(scale * float(gaussian.shrink(a, b)) / float(gaussian.shrink(start, stop)))


class Step:
    """What a rule sees: one interval of the grid, from level `s` to the cleaner level `t`.

    Attributes:
        s, t: the interval's ends (`Point`: level, alpha, sigma, ratio, lam, finite).
        x: the state at s.
        index, count: this step's number and how many there are.
        history: predictions of earlier evaluations, the latest first.
    """

    def __init__(
        self, tracer: Tracer, s: Point, t: Point, x: Linear, history: list[Output], index: int, count: int
    ):
        self._tracer = tracer
        self.s, self.t, self.x = s, t, x
        self.history, self.index, self.count = history, index, count

    @property
    def finite(self) -> bool:
        """Whether both ends are finite; a step that touches an infinite level is first order."""
        return self.s.finite and self.t.finite

    def at(self, level: float) -> Point:
        """The coefficients at another level."""
        return Point.of([level])[0]

    def predict(self, x: Linear | None = None, at: Point | None = None) -> Output:
        """Evaluate the denoiser (at the state and level s unless told otherwise)."""
        output = self._tracer.evaluate(self.x if x is None else x, self.s if at is None else at)
        self.history.insert(0, output)
        return output

    def path(self, start: Point, stop: Point, variance: tuple[float, float] | None = None) -> Linear:
        """A unit normal of the path over [start, stop]; overlapping intervals share their increments.

        `variance = (a, b)`: the draw is multiplied by sqrt(a + b * the model's variance of the clean state).
        """
        return self._tracer.increment(start.level, stop.level, variance)

    def fresh(self, stream: str, at: Point, visit: int = 0) -> Linear:
        """A unit normal independent of the path: stream 'corrector' or 'churn', counted by visit."""
        return self._tracer.draw(Draw(stream, at.level, at.level, visit))


def transfer(x: Linear, mean: Linear, s: Point, t: Point) -> Linear:
    """alpha_t mean + sigma_t noise: along the probability flow for a constant mean (DDIM, any two levels)."""
    return t.alpha * mean + (t.sigma / s.sigma) * (x - s.alpha * mean)


def trace(
    function: Callable[..., Linear], grid: Sequence[float], raw_noise: bool, options: dict[str, Any]
) -> Tracer:
    """Run the rule over the grid on symbols.

    Raises:
        PerrinError: a rule that is not linear in its inputs.
    """
    tracer = Tracer(grid[0], raw_noise)
    points = Point.of(grid)
    x, history = Linear({0: 1.0}), list[Output]()
    for index in range(len(points) - 1):
        step = Step(tracer, points[index], points[index + 1], x, history, index, len(points) - 1)
        try:
            value = function(step, **options)
        except TypeError as error:
            line = str(error).splitlines()[0]  # torch answers in several
            raise PerrinError(f"the rule cannot be traced: {line}") from error
        tracer.base, tracer.base_level = tracer.define("state", value), grid[index + 1]
        x = Linear({tracer.base: 1.0})
        del history[8:]
    return tracer

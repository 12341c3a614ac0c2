r"""Product processes: every leaf of a state has a process and a clock of its own.

    level of a leaf = slope level + shift

The level of the state is the clock that plans and networks are told. A shift s of a Gaussian leaf is a scale e^(s/2) of
its data; of tokens it says how much earlier (s > 0) they are known than the other leaves. Given the clean state the
leaves are noised independently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from torch import Tensor

from perrin.errors import PerrinError
from perrin.process.categorical import Categorical
from perrin.process.subspace import Centred

L = TypeVar("L", float, Tensor)


@dataclass(frozen=True)
class Clock:
    """level -> slope level + shift, slope > 0: a leaf's own level, infinite where the state's is."""

    slope: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        if not self.slope > 0:
            raise PerrinError(f"slope = {self.slope} of a clock must be positive: levels rise together")

    def __call__(self, level: L) -> L:
        """The level of the leaf."""
        return level if self == Clock() else self.slope * level + self.shift


@runtime_checkable
class Moved(Protocol):
    """A process whose leaf is moved by kernels (tokens, manifolds), not by sums of a table.

    `places`: the shape of the uniforms in (0, 1) that a state of that shape takes. `prior`: the noise end from them.
    `noised`: the marginal at `level` [B].
    """

    @property
    def name(self) -> str: ...
    def config(self) -> dict[str, Any]: ...
    def places(self, shape: tuple[int, ...]) -> tuple[int, ...]: ...
    def prior(self, u: Tensor) -> Tensor: ...
    def noised(self, clean: Tensor, level: Tensor, u: Tensor) -> Tensor: ...


@runtime_checkable
class Manifold(Moved, Protocol):
    """A process on a manifold, with noise of scale s = sigma / alpha and predictions in the tangent space.

    `displacement`: s^2 grad log q(x | clean). `rms`: [B], of an entry of it. `exp`: the geodesic from x along v;
    `log`: its inverse.
    """

    def displacement(self, x: Tensor, clean: Tensor, level: Tensor) -> Tensor: ...
    def rms(self, level: Tensor) -> Tensor: ...
    def exp(self, x: Tensor, v: Tensor) -> Tensor: ...
    def log(self, x: Tensor, y: Tensor) -> Tensor: ...


LeafProcess: TypeAlias = Centred | Moved


@dataclass(frozen=True)
class Product:
    """The processes of a state.

    Attributes:
        parts: leaf -> process; a leaf that is not named has Gaussian noise. The leaf of a plain tensor is ''.
        clocks: leaf -> clock, the state's own by default.
    """

    parts: Mapping[str, LeafProcess] = field(default_factory=dict)
    clocks: Mapping[str, Clock] = field(default_factory=dict)

    def of(self, leaf: str) -> LeafProcess | None:
        """The process of a leaf, None where noise is Gaussian."""
        return self.parts.get(leaf)

    def clock(self, leaf: str) -> Clock:
        """The clock of a leaf."""
        return self.clocks.get(leaf, Clock())

    def moved(self) -> dict[str, Moved]:
        """Leaves that kernels move."""
        return {name: part for name, part in self.parts.items() if not isinstance(part, Centred)}

    def config(self) -> dict[str, Any]:
        """leaf -> the JSON-able options of its process, `clock` = [slope, shift] among them where it has its own."""
        made = {name: part.config() for name, part in self.parts.items()}
        for name, clock in self.clocks.items():
            made[name] = {**made.get(name, {"name": "gaussian"}), "clock": [clock.slope, clock.shift]}
        return made


Process: TypeAlias = Categorical | Product | LeafProcess | Mapping[str, LeafProcess] | None
"""What noise does to a state: of a plain tensor a process, else leaf -> process; None: Gaussian noise everywhere."""


def as_product(process: Process) -> Product:
    """Any process as a product."""
    if process is None:
        return Product()
    if isinstance(process, Product):
        return process
    return Product(dict(process)) if isinstance(process, Mapping) else Product({"": process})

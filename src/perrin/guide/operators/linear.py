r"""Linear measurements y = A x + noise of a clean state: what is common to all of them.

The adjoint is with respect to Re <y, y'>, so that real states may have complex measurements:

    Re <A x, y> = <x, A* y>      for all x and y

By default it is the derivative of <A x, y> in x, which for a linear map is exact and costs one reverse pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from perrin.errors import PerrinError


class Operator(ABC):
    """A linear map of states [B, *shape] to measurements [B, *measured].

    Attributes:
        shape: of a state, without the batch.
    """

    complex_valued = False

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(int(size) for size in shape)
        if not self.shape or min(self.shape) < 1:
            raise PerrinError(f"shape = {self.shape} of a state that is measured must be sizes of at least 1")

    @abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """A x of checked states."""

    def __call__(self, x: Tensor) -> Tensor:
        """A x, [B, *measured], of states [B, *shape].

        Raises:
            PerrinError: states of another shape, or complex ones.
        """
        self._fits(x, self.shape, "states")
        if x.is_complex():
            raise PerrinError(
                f"{self.name} measures real states and was given complex ones: give real and imaginary part as channels, "
                "or the magnitude"
            )
        return self.apply(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """A* y, [B, *shape], of measurements [B, *measured].

        Raises:
            PerrinError: measurements of another shape, or complex ones of real measurements.
        """
        self._fits(y, self.measured, "measurements")
        if y.is_complex() != self.complex_valued:
            kinds = ("real", "complex")
            raise PerrinError(
                f"{self.name} has {kinds[self.complex_valued]} measurements and was given {kinds[y.is_complex()]} ones"
            )
        return self.transposed(y)

    def transposed(self, y: Tensor) -> Tensor:
        """A* y of checked measurements."""
        like = torch.zeros((len(y), *self.shape), dtype=y.real.dtype, device=y.device)
        found: Tensor = torch.func.vjp(self.apply, like)[1](y)[0]
        return found

    def in_states(self, y: Tensor, offset: float, gain: float) -> tuple[Operator, Tensor]:
        """Of measurements of values offset + gain x: the operator on states x, and its measurements [B, *measured]."""
        level = torch.full((1, *self.shape), offset, dtype=y.real.dtype, device=y.device)
        return self, (y - self(level)) / gain

    def around(self, mean: Tensor, y: Tensor, variance: Tensor, noise: float) -> tuple[Operator, Tensor]:
        """The linear operator A that tells of a clean state about as much, and y - A mean, [B, *measured].

        A linear one is its own; see `Clip` for one that is not.

        Args:
            mean: [B, *shape]; variance: [B, 1, ...]: what is known of clean states. y: measurements. noise: theirs.
        """
        return self, y - self(mean)

    def log_likelihood(self, x: Tensor, y: Tensor, noise: float) -> Tensor:
        """log N(y; A x, noise^2) [B] up to a constant, of clean states [B, *shape]."""
        apart = y - self(x)
        return -0.5 * inner(apart, apart) / noise**2

    @property
    def measured(self) -> tuple[int, ...]:
        """Shape of one state's measurements."""
        return tuple(self.apply(torch.zeros(1, *self.shape)).shape[1:])

    @property
    def name(self) -> str:
        """For messages."""
        return type(self).__name__

    def _fits(self, value: Tensor, shape: tuple[int, ...], what: str) -> None:
        if tuple(value.shape[1:]) != shape:
            raise PerrinError(
                f"{self.name} takes {what} of shape {shape} and was given {tuple(value.shape[1:])} (without the batch)"
            )


def inner(one: Tensor, other: Tensor) -> Tensor:
    """Re <one, other> of every row, [B] float64."""
    product = one.conj() * other if one.is_complex() else one * other
    return product.real.double().flatten(1).sum(1)

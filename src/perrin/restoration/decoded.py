r"""Measurements of what a network decodes: y = A D(z) + noise, which is not linear in the state z.

Near a clean state m it is linear (Gauss and Newton's step; of Kalman's filter the extended one, Jazwinski 1970):

    y - A D(m) = J (z - m) + noise,    J = A D'(m),    J u = A (D' u),    J* u = D'* (A* u)

The methods of linear measurements take J around the mean that every step predicts, so that it is D' where samples end. What
they miss is the curvature of D over what is not known of z at that step; particles weigh by A D(z) itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.guide.operators import Operator
from perrin.learn.forward_mode import forward_mode
from perrin.process.state import Shape, entries

Decoder = Callable[[Tensor], Tensor]
"""States [B, *shape] to values [B, *operator.shape], row by row and differentiable."""

VALUES_AT_A_TIME = 500_000
"""Of a decoder that is differentiated, which keeps what it computes: one picture of 512 x 512, or many small ones."""


class Decoded(Operator):
    """y = A D(z).

    Nothing that the decoder computes is kept from one product to the next: a product of J takes two evaluations, one of its
    transpose an evaluation and a reverse pass, and memory is that of one picture.

    Args:
        operator: A, linear. decode: D. shape: of z.

    Raises:
        PerrinError: an operator that is not linear itself.
    """

    def __init__(self, operator: Operator, decode: Decoder, shape: Sequence[int]) -> None:
        super().__init__(shape)
        if type(operator).around is not Operator.around:
            raise PerrinError(
                f"{operator.name} is not linear: it is undone of states that are the values, not of decoded ones"
            )
        self.operator, self.decode = operator, decode
        self.complex_valued = operator.complex_valued

    @property
    def measured(self) -> tuple[int, ...]:
        """Shape of one state's measurements."""
        return self.operator.measured

    @property
    def name(self) -> str:
        """For messages."""
        return self.operator.name

    def values(self, x: Tensor) -> Tensor:
        """D(x), [B, *operator.shape], without a derivative."""
        return decoded(self.decode, x, self.operator.shape)

    def apply(self, x: Tensor) -> Tensor:
        """A D(x)."""
        return self.operator(self.values(x))

    def transposed(self, y: Tensor) -> Tensor:
        """J* y around 0, the mean of latents."""
        like = torch.zeros((len(y), *self.shape), dtype=y.real.dtype, device=y.device)
        return Tangent(self, like).transposed(y)

    def around(self, mean: Tensor, y: Tensor, variance: Tensor, noise: float) -> tuple[Operator, Tensor]:
        """J at these clean states, and y - A D(mean)."""
        return Tangent(self, mean), y - self(mean)


class Tangent(Operator):
    """J of a decoded measurement, every row at its own clean state `at` [B, *shape]."""

    def __init__(self, decoded: Decoded, at: Tensor) -> None:
        super().__init__(decoded.shape)
        self.decoded, self.at = decoded, at.detach()
        self.complex_valued = decoded.complex_valued

    @property
    def measured(self) -> tuple[int, ...]:
        """Shape of one state's measurements."""
        return self.decoded.measured

    def apply(self, x: Tensor) -> Tensor:
        """J x, by a derivative along x."""
        with forward_mode():
            return self.decoded.operator(in_parts(self._along, self._values, self.at, x.to(self.at)))

    def transposed(self, y: Tensor) -> Tensor:
        """J* y, by a reverse pass."""
        return in_parts(self._back, self._values, self.at, self.decoded.operator.adjoint(y).to(self.at))

    @property
    def _values(self) -> tuple[int, ...]:
        return self.decoded.operator.shape

    def _along(self, at: Tensor, x: Tensor) -> Tensor:
        found: Tensor = torch.func.jvp(self.decoded.decode, (at,), (x,))[1]
        return found

    def _back(self, at: Tensor, v: Tensor) -> Tensor:
        # unlike autograd.grad it works where gradients are off (`run`)
        vjp: Any = torch.func.vjp
        found: Tensor = vjp(self.decoded.decode, at)[1](v)[0]
        return found


def decoded(decode: Decoder, states: Tensor, shape: Shape) -> Tensor:
    """States [B, ...] decoded to values [B, *shape], without a derivative."""
    with torch.no_grad():
        return in_parts(decode, shape, states)


def in_parts(work: Callable[..., Tensor], shape: Shape, *rows: Tensor) -> Tensor:
    """`work` on as many rows at a time as memory is meant for, of values of this shape."""
    size = max(1, VALUES_AT_A_TIME // entries(shape))
    starts = range(0, len(rows[0]), size)
    return torch.cat([work(*(one[i : i + size] for one in rows)) for i in starts])

r"""Conjugate gradients (Hestenes and Stiefel 1952) for many systems at once, each with steps of its own.

M u = b,   M self-adjoint and positive with respect to Re <u, v>
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from perrin.guide.operators.linear import inner
from perrin.process.levels import expand


def solve(
    product: Callable[[Tensor], Tensor], b: Tensor, iterations: int = 30, tolerance: float = 1e-6
) -> Tensor:
    """u with M u = b, [B, ...].

    Args:
        product: u -> M u, row by row. b: right sides [B, ...], real or complex.
        iterations: at most so many products. tolerance: of the residual's norm, relative to b's.

    A row that has arrived, or along whose direction M is not positive (the Jacobian of a network may not be), stops.
    """
    return solve_through(lambda u: (u, product(u)), b, iterations, tolerance)[1]


def solve_through(
    product: Callable[[Tensor], tuple[Tensor, Tensor]],
    b: Tensor,
    iterations: int = 30,
    tolerance: float = 1e-6,
) -> tuple[Tensor | None, Tensor]:
    """(B u, u) of a product that goes through another one: u -> (B u, M u), with no product more than `solve`.

    B u is None where nothing had to be done, u being 0.
    """
    u, residual = torch.zeros_like(b), b
    direction, square = residual, inner(b, b)
    enough, through = tolerance**2 * square, None
    for _ in range(iterations):
        going = square > enough
        if not bool(going.any()):
            break
        inside, image = product(direction)
        bent = inner(direction, image)
        going = going & (bent > 0)
        step = torch.where(going, square / torch.where(going, bent, 1.0), 0.0)
        u = u + _times(step, direction)
        through = _times(step, inside) if through is None else through + _times(step, inside)
        residual = residual - _times(step, image)
        after = inner(residual, residual)
        turn = torch.where(going, after / torch.where(square > 0, square, 1.0), 0.0)
        direction = residual + _times(turn, direction)
        square = torch.where(going, after, 0.0)
    return through, u


def _times(step: Tensor, value: Tensor) -> Tensor:
    return expand(step, value.real) * value

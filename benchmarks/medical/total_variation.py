r"""Total-variation reconstruction of images with values in a known range: the classical baseline (Rudin et al. 1992).

    min over low <= x <= high of  1/2 |A x - y|^2 + weight sum over pixels of |grad x|

by the alternating direction method of multipliers (Boyd et al. 2011): x by conjugate gradients, the gradients by
shrinkage, the range by clipping.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.guide.conjugate_gradients import solve
from perrin.guide.operators import Operator

STEP = 0.05  # gradients below it are shrunk to zero at once, in states' units; sets the penalty


def reconstruct(
    operator: Operator,
    y: Tensor,
    weight: float,
    low: float = -1.0,
    high: float = 1.0,
    rounds: int = 150,
) -> Tensor:
    """Images [B, 1, H, W] of measurements y [B, *measured].

    Args:
        weight: of the total variation. low, high: the range of an image. rounds: of the alternation.
    """
    penalty, back = weight / STEP, operator.adjoint(y)
    x = back.clamp(low, high)
    jumps, boxed = gradient(x), x
    owed_jumps, owed_box = torch.zeros_like(jumps), torch.zeros_like(x)

    def product(u: Tensor) -> Tensor:
        return operator.adjoint(operator(u)) + penalty * (divergence(gradient(u)) + u)

    for _ in range(rounds):
        right = back + penalty * (divergence(jumps - owed_jumps) + boxed - owed_box)
        x = x + solve(product, right - product(x), 8)
        found = gradient(x)
        jumps = shrunk(found + owed_jumps, STEP)
        boxed = (x + owed_box).clamp(low, high)
        owed_jumps, owed_box = owed_jumps + found - jumps, owed_box + x - boxed
    return boxed


def gradient(x: Tensor) -> Tensor:
    """Differences to the pixel below and to the right, [2, B, C, H, W], 0 beyond the border."""
    found = x.new_zeros(2, *x.shape)
    found[0, ..., :-1, :] = x.diff(dim=-2)
    found[1, ..., :-1] = x.diff(dim=-1)
    return found


def divergence(g: Tensor) -> Tensor:
    """The adjoint of `gradient`."""
    found = torch.zeros_like(g[0])
    found[..., :-1, :] -= g[0, ..., :-1, :]
    found[..., 1:, :] += g[0, ..., :-1, :]
    found[..., :-1] -= g[1, ..., :-1]
    found[..., 1:] += g[1, ..., :-1]
    return found


def shrunk(g: Tensor, by: float) -> Tensor:
    """Gradients shortened by `by`: the proximal point of their length."""
    length = g.square().sum(0, keepdim=True).sqrt()
    return g * (1 - by / length.clamp(min=by))


def objective(operator: Operator, y: Tensor, weight: float, x: Tensor) -> Tensor:
    """What is minimised, [B]."""
    misfit = (operator(x) - y).abs().square().flatten(1).sum(1)
    return 0.5 * misfit + weight * gradient(x).square().sum(0).sqrt().flatten(1).sum(1)

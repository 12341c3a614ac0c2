r"""Rotations: IGSO(3) noise on the same clock as every other process.

    marginal      x = clean exp(v),   v of isotropic law with the angle density of `heat.ROTATIONS` at s(level)
    displacement  s^2 grad_x log q(x | clean) in the body frame of x: the rotation vector v of x exp(v) = clean, times
                  a factor that is 1 for small s
    s(level)      sigma / alpha = e^{-level / 2}: for small s the rotation vector is N(0, s^2 I_3) in radians

The noise is variance exploding, and uniform (Haar) as level -> -inf (Leach et al. 2022; Yim et al. 2023). A state is
[B, ..., 3, 3], matrices that turn column vectors; a tangent is [B, ..., 3], a rotation vector (axis times angle) in
the body frame, so that a step is x exp(v). Items of a state are independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process.heat import NARROWEST, ROTATIONS
from perrin.process.levels import float64, ratio


@dataclass(frozen=True)
class Rotations:
    """What noise does to rotation matrices [B, ..., 3, 3]."""

    name: ClassVar[str] = "rotations"

    def config(self) -> dict[str, Any]:
        """The JSON-able options that rebuild it, with its registry name."""
        return {"name": self.name}

    def places(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of uniforms that `prior` and `noised` take for a state of this shape: three for each rotation."""
        if tuple(shape[-2:]) != (3, 3):
            raise PerrinError(f"a state of rotations has shape [..., 3, 3], not {tuple(shape)}")
        return (*shape[:-2], 3)

    def prior(self, u: Tensor) -> Tensor:
        """The noise end: uniform rotations [..., 3, 3] float64 of uniforms u [..., 3] in (0, 1) (Shoemake 1992)."""
        small, large = torch.sqrt(u[..., 0]), torch.sqrt(1 - u[..., 0])
        a, b = 2 * math.pi * u[..., 1], 2 * math.pi * u[..., 2]
        return _matrix(small * torch.cos(b), large * torch.sin(a), large * torch.cos(a), small * torch.sin(b))

    def noised(self, clean: Tensor, level: Tensor, u: Tensor) -> Tensor:
        """The marginal: `clean` [B, ..., 3, 3] at `level` [B], by uniforms u [B, ..., 3] in (0, 1), float64."""
        s, chances = ratio(float64(level)).to(u.device), u[..., 0].reshape(len(u), -1)
        angle = _angles(s, chances).reshape(u.shape[:-1])
        height, turn = 2 * u[..., 1] - 1, 2 * math.pi * u[..., 2]
        across = torch.sqrt((1 - height) * (1 + height))
        axis = torch.stack([across * torch.cos(turn), across * torch.sin(turn), height], -1)
        return self.exp(clean, angle[..., None] * axis)

    def displacement(self, x: Tensor, clean: Tensor, level: Tensor) -> Tensor:
        """s^2 grad_x log q(x | clean): [B, ..., 3] in the dtype of x. `level` [B]; x and clean broadcast."""
        back = _between(x, clean)
        angle = _length(back)
        return (ROTATIONS.pull(angle, _spread(level, angle))[..., None] * back).to(x.dtype)

    def log_density(self, x: Tensor, clean: Tensor, level: Tensor) -> Tensor:
        """log q(x | clean) of every rotation against the uniform measure of total 1: [B, ...] float64, nats."""
        angle = _length(_between(x, clean))
        return ROTATIONS.log_density(angle, _spread(level, angle))

    def rms(self, level: Tensor) -> Tensor:
        """Root mean square of a component of `displacement` at `level` [B] when x is the noisy clean: float64 [B].

        s for small s; never 0 but at the clean end.
        """
        return ROTATIONS.rms(ratio(level))

    def exp(self, x: Tensor, v: Tensor) -> Tensor:
        """x exp(v): [B, ..., 3, 3] of the dtype of x, orthonormal again where rounding has hurt x."""
        y = _product(x.to(torch.float64), turned(v.to(torch.float64)))
        # a step of Newton's for the nearest orthonormal matrix: the error of float32 becomes its square
        square = _product(y.transpose(-1, -2), y)
        return (1.5 * y - 0.5 * _product(y, square)).to(x.dtype)

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """The shortest v with exp(x, v) = y: [B, ..., 3] of the dtype of x."""
        return _between(x, y).to(x.dtype)


def turned(v: Tensor) -> Tensor:
    """The matrix [..., 3, 3] of a rotation vector [..., 3]."""
    half = 0.5 * _length(v)
    share = 0.5 * torch.sinc(half / math.pi)
    x, y, z = (share * part for part in v.unbind(-1))
    return _matrix(torch.cos(half), x, y, z)


def vector(matrix: Tensor) -> Tensor:
    """The rotation vector [..., 3], of length at most pi, of matrices [..., 3, 3]: exact near 0 and near pi.

    By the unit quaternion, from that of its four products q_i (q_0, .., q_3) which has the largest q_i (Shepperd 1978).
    """
    a, b, c, d, e, f, g, h, i = matrix.flatten(-2).unbind(-1)
    rows = torch.stack(
        [
            torch.stack([1 + a + e + i, h - f, c - g, d - b], -1),
            torch.stack([h - f, 1 + a - e - i, d + b, c + g], -1),
            torch.stack([c - g, d + b, 1 - a + e - i, h + f], -1),
            torch.stack([d - b, c + g, h + f, 1 - a - e + i], -1),
        ],
        -2,
    )
    largest = rows.diagonal(dim1=-2, dim2=-1).argmax(-1)[..., None, None]
    q = rows.gather(-2, largest.expand(*largest.shape[:-2], 1, 4))[..., 0, :]
    q = torch.where(q[..., :1] < 0, -q, q)
    length = _length(q[..., 1:])
    angle = 2 * torch.atan2(length, q[..., 0])
    return (angle / length.clamp(min=1e-300))[..., None] * q[..., 1:]


def _angles(s: Tensor, u: Tensor, cells: int = 512) -> Tensor:
    """Angles [B, n] of IGSO(3) at s [B], by uniforms u [B, n]: the inverse of the distribution function of each s.

    On even cells over 9 s or pi the density is taken to be linear, which puts the distribution function wrong by
    less than 4e-5.
    """
    s = s.clamp(NARROWEST, ROTATIONS.widest)[:, None]
    angle = torch.linspace(0, 1, cells + 1, dtype=torch.float64, device=s.device) * (9 * s).clamp(max=math.pi)
    log_q = ROTATIONS.log_density(angle, s)
    # in units of s, and of the density at 0: neither overflows when s is small
    density = (angle / s * torch.sinc(angle / (2 * math.pi))).square() * torch.exp(log_q - log_q[:, :1])
    total = torch.nn.functional.pad((0.5 * (density[:, 1:] + density[:, :-1])).cumsum(1), (1, 0))
    wanted = u * total[:, -1:]
    i = torch.searchsorted(total, wanted, right=True).clamp(1, cells) - 1
    low, high, rest = density.gather(1, i), density.gather(1, i + 1), wanted - total.gather(1, i)
    root = torch.sqrt((low.square() + 2 * (high - low) * rest).clamp(min=0))
    return angle[:, 1:2] * (i + (2 * rest / (low + root).clamp(min=1e-300)).clamp(0, 1))


def _between(x: Tensor, y: Tensor) -> Tensor:
    """The rotation vector v [..., 3] of x exp(v) = y, float64."""
    return vector(_product(x.to(torch.float64).transpose(-1, -2), y.to(torch.float64)))


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a b, written out: matrix multiplication may round an item otherwise in another batch."""
    first, second, third = (a[..., :, k, None] * b[..., k, None, :] for k in range(3))
    return first + second + third


def _length(v: Tensor) -> Tensor:
    """Of vectors of three, [...]."""
    x, y, z = v.unbind(-1)
    return torch.sqrt(x * x + y * y + z * z)


def _matrix(w: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """The rotation [..., 3, 3] of the unit quaternion w + x i + y j + z k."""
    entries = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(entries, -1).reshape(*w.shape, 3, 3)


def _spread(level: Tensor, like: Tensor) -> Tensor:
    """s [B, 1, ...] float64."""
    return ratio(float64(level)).reshape(-1, *[1] * (like.dim() - 1)).to(like.device)

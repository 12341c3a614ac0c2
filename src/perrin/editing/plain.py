r"""What a measurement shows without a model: with holes, enlarged, zero-filled, back-projected.

Filtered back-projection of a sinogram p over angles theta (Kak and Slaney 1988, chapter 3):

    x = sum over theta of dtheta A* (h * p),    h the ramp |f| up to half a cycle a pixel
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from perrin.guide.operators import Compressed, Downsample, Grey, KSpace, Operator, Radon
from perrin.restoration.problem import Problem


def plain(problem: Problem) -> Tensor:
    """States [n, *shape], float64; entries of which nothing is known are -1, or what a method makes of them."""
    operator, y = problem.operator, problem.measurement
    if isinstance(operator, Downsample):
        return (
            functional.interpolate(y, operator.shape[1:], mode="bicubic")
            if y.dim() == 4
            else _nearest(operator, y)
        )
    if isinstance(operator, Grey):
        return y.expand(len(y), *operator.shape)
    if isinstance(operator, KSpace):
        return _zero_filled(operator, y)
    if isinstance(operator, Radon):
        return back_projected(operator, y)
    if isinstance(operator, Compressed):
        return operator.adjoint(y) * (y[0].numel() / math.prod(operator.shape))
    return torch.where(problem.seen, y, -1.0)


def _nearest(operator: Downsample, y: Tensor) -> Tensor:
    for axis in range(2, y.dim()):
        y = y.repeat_interleave(operator.factor, axis)
    return y


def _zero_filled(operator: KSpace, y: Tensor) -> Tensor:
    image = operator.adjoint(y)
    if operator.coils is None:
        return image
    weight = operator.coils.abs().square().sum(0).to(image)
    return image / weight.clamp(min=1e-3 * float(weight.max()))


def back_projected(operator: Radon, y: Tensor) -> Tensor:
    """Filtered back-projection, of states whose background is -1 rather than 0."""
    ground = torch.ones(1, *operator.shape, dtype=y.dtype)
    sinogram = y + operator(ground)
    count = 2 ** math.ceil(math.log2(2 * operator.rays))
    ramp = torch.zeros(count, dtype=y.dtype)  # of the kernel in space, so that its mean is right
    ramp[0] = 0.25
    odd = torch.arange(1, count // 2, 2)
    ramp[odd] = ramp[-odd] = -1 / (math.pi * odd.to(y)) ** 2
    filtered = torch.fft.irfft(torch.fft.rfft(sinogram, count) * torch.fft.rfft(ramp), count)[
        ..., : operator.rays
    ]
    angles = operator.angles.sort().values
    spacing = float(angles.diff().median()) if len(angles) > 1 else 180.0
    return operator.adjoint(filtered) * math.radians(spacing) - ground


def name_of(operator: Operator) -> str:
    """What the plain picture is called."""
    names = {Downsample: "bicubic", KSpace: "zero-filled", Radon: "filtered back-projection", Grey: "grey"}
    return names.get(type(operator), "damaged")

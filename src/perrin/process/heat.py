r"""Heat kernels of the circle and of the rotation group: normal noise of standard deviation s that goes round.

With w the angle between two points, 0 to pi,

    circle     q(w) = sum_k N(w + 2 pi k; 0, s^2) = (1 + 2 sum_m e^{-m^2 s^2/2} cos m w) / 2 pi
    rotations  q(w) = sum_l (2l + 1) e^{-l(l+1) s^2/2} sin((l + 1/2) w) / sin(w/2)
                    = sqrt(2 pi) e^{s^2/8} / s^3 sum_k (-1)^k (w + 2 pi k) e^{-(w + 2 pi k)^2 / 2 s^2} / sin(w/2)

a density per radian, and one against the uniform (Haar) measure of total 1: the wrapped normal and IGSO(3)
(Nikolayev and Savyolova 1997; Leach et al. 2022; Jing et al. 2022; Yim et al. 2023). s^2 is the time of a Brownian
motion whose small steps dt are N(0, dt I) in the tangent space: for small s a rotation vector is N(0, s^2 I_3), and
s = sqrt(2) epsilon in the notation of Leach et al. Two such noises in a row are one, of s^2 = s_1^2 + s_2^2.

Sums over images k converge for small s, sums of waves for large s (Poisson); at s = 1 both are exact to float64 with
the terms that stand here. All arithmetic is float64.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

MEETING = 1.0
"""The s up to which images are summed: the next of them weighs e^{-4 pi^2 / s^2}, the next wave about as little."""

NARROWEST = 1e-100
"""Stands for s = 0: its square is a number still."""

_STRAIGHT = 2e-5  # below this angle a quotient that is even in the angle is taken there


class HeatKernel(ABC):
    """Noise on a homogeneous space, as a function of the angle that it turns by.

    Attributes:
        dimensions: of the tangent space.
        widest: the s from which on the noise is uniform to the last digit. Larger s count as this one, so that the
            score, which vanishes faster than any number can show, still has a direction in proportion to its `rms`.
    """

    dimensions: int
    widest: float

    def log_density(self, angle: Tensor, s: Tensor) -> Tensor:
        """log q at angles in [0, pi] and s >= 0, float64 tensors that broadcast."""
        s = s.clamp(NARROWEST, self.widest)
        waves = _waves(self._coefficients(s.clamp(min=MEETING)), angle)
        near = self._log_images(angle, s.clamp(max=MEETING))
        return torch.where(s <= MEETING, near, torch.log(waves / self._unit))

    def pull(self, angle: Tensor, s: Tensor) -> Tensor:
        """-s^2 (d log q / d angle) / angle: the share of the way back to the centre that s^2 times the score goes.

        It is 1 for small s, and 0 at the far side.
        """
        s = s.clamp(NARROWEST, self.widest)
        wide = s.clamp(min=MEETING)
        coefficients = self._coefficients(wide)
        far = wide.square() * _slope(coefficients, angle) / _waves(coefficients, angle)
        return torch.where(s <= MEETING, self._pull_of_images(angle, s.clamp(max=MEETING)), far)

    def rms(self, s: Tensor) -> Tensor:
        """Root mean square of an entry of s^2 score under q itself, of the shape of s; relative accuracy 2e-5."""
        table = self._table.to(s.device)
        s = s.clamp(max=self.widest)
        place = s * ((len(table) - 1) / self.widest)
        i = place.long().clamp(max=len(table) - 2)
        return s * torch.exp(torch.lerp(table[i], table[i + 1], place - i))

    @cached_property
    def _table(self) -> Tensor:
        """log(rms / s) at even steps of s from 0, where it is 0, to the widest."""
        s = torch.linspace(0, self.widest, 1025, dtype=torch.float64, device="cpu")[1:, None]
        angle = torch.linspace(0, 1, 257, dtype=torch.float64, device="cpu") * (12 * s).clamp(max=math.pi)
        # the trapezoidal rule is exact here: even at both ends, or nothing left at the second
        way = self.pull(angle, s) * angle / s
        square = torch.exp(self.log_density(angle, s)) * self.measure(angle) * way.square()
        mean = torch.trapezoid(square, angle) / self.dimensions
        return torch.nn.functional.pad(0.5 * torch.log(mean), (1, 0))

    @abstractmethod
    def measure(self, angle: Tensor) -> Tensor:
        """How much of the space lies at an angle: q times it is the density of the angle on [0, pi]."""

    @abstractmethod
    def _log_images(self, angle: Tensor, s: Tensor) -> Tensor: ...

    @abstractmethod
    def _pull_of_images(self, angle: Tensor, s: Tensor) -> Tensor: ...

    @abstractmethod
    def _coefficients(self, s: Tensor) -> Sequence[Tensor]:
        """A_0, A_1, ... of q = (A_0 + 2 sum_m A_m cos m w) / unit."""

    @property
    @abstractmethod
    def _unit(self) -> float: ...


class Circle(HeatKernel):
    """The wrapped normal distribution: q(w) per radian."""

    dimensions, widest, _unit = 1, 9.0, 2 * math.pi

    def measure(self, angle: Tensor) -> Tensor:
        """Two points of the circle."""
        return torch.full_like(angle, 2.0)

    def _coefficients(self, s: Tensor) -> Sequence[Tensor]:
        return [torch.exp(-0.5 * (m * s).square()) for m in range(10)]

    def _log_images(self, angle: Tensor, s: Tensor) -> Tensor:
        _, near, far, _ = _neighbours(angle, s)
        return torch.log((1 + near + far) / (math.sqrt(2 * math.pi) * s)) - 0.5 * (angle / s).square()

    def _pull_of_images(self, angle: Tensor, s: Tensor) -> Tensor:
        w, near, far, gap = _neighbours(angle, s)
        return 1 - 2 * math.pi * gap / ((1 + near + far) * w)


class RotationGroup(HeatKernel):
    """IGSO(3), the isotropic normal distribution of rotations: q(w) against the uniform measure."""

    dimensions, widest, _unit = 3, 6.5, 1.0

    def measure(self, angle: Tensor) -> Tensor:
        """(1 - cos w) / pi, uniform rotations' density of their angle."""
        return 2 * torch.sin(0.5 * angle).square() / math.pi

    def _coefficients(self, s: Tensor) -> Sequence[Tensor]:
        # sin((l + 1/2) w) / sin(w / 2) = 1 + 2 cos w + ... + 2 cos l w
        terms = [(2 * l + 1) * torch.exp(-0.5 * l * (l + 1) * s.square()) for l in range(11)]
        for l in range(len(terms) - 2, -1, -1):
            terms[l] = terms[l] + terms[l + 1]
        return terms

    def _log_images(self, angle: Tensor, s: Tensor) -> Tensor:
        total = 2 * (1 - _change(*_neighbours(angle, s))) / torch.sinc(angle / (2 * math.pi))
        log_unit = 0.5 * math.log(2 * math.pi) - 3 * torch.log(s) + 0.125 * s.square()
        return torch.log(total) + log_unit - 0.5 * (angle / s).square()

    def _pull_of_images(self, angle: Tensor, s: Tensor) -> Tensor:
        w, near, far, gap = _neighbours(angle, s)
        turn, s2, change = 2 * math.pi, s.square(), _change(w, near, far, gap)
        slope = turn * change - 2 * turn * (1 + turn / w) * far + turn * s2 / w**2 * gap  # s^2 d change / dw
        return 1 - s2 * _bend(angle) + slope / ((1 - change) * w)


CIRCLE, ROTATIONS = Circle(), RotationGroup()


def _neighbours(angle: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The angle w; the images e^{-(2 pi -+ w)^2 / 2 s^2} at both sides over that at w itself; their difference."""
    w, rate = angle.clamp(min=_STRAIGHT), -2 * math.pi / s.square()
    near = torch.exp(rate * (math.pi - w).clamp(min=0))  # an angle that rounds to more than pi is pi
    return w, near, near * torch.exp(2 * rate * w), -near * torch.expm1(2 * rate * w)


def _change(w: Tensor, near: Tensor, far: Tensor, gap: Tensor) -> Tensor:
    """What the images of k = -1 and 1 take away from that of k = 0, as a share of it."""
    return near + far - 2 * math.pi / w * gap


def _bend(w: Tensor) -> Tensor:
    """(1 - (w/2) cot(w/2)) / w^2, the slope of -log sin(w/2) / w over w."""
    series = 1 / 12 + w**2 / 720 + w**4 / 30240 + w**6 / 1209600
    large = w.clamp(min=0.1)
    return torch.where(w < 0.1, series, (1 - 0.5 * large / torch.tan(0.5 * large)) / large.square())


def _waves(coefficients: Sequence[Tensor], angle: Tensor) -> Tensor:
    """A_0 + 2 sum_m A_m cos m w, by Clenshaw's recurrence."""
    twice = 2 * torch.cos(angle)
    now, last = coefficients[-1], torch.zeros_like(angle)
    for a in reversed(coefficients[1:-1]):
        now, last = a + twice * now - last, now
    return coefficients[0] + twice * now - 2 * last


def _slope(coefficients: Sequence[Tensor], angle: Tensor) -> Tensor:
    """2 sum_m m A_m sin(m w) / w: minus the derivative of `_waves` over the angle."""
    twice = 2 * torch.cos(angle)
    now = last = torch.zeros_like(angle)
    for m in range(len(coefficients) - 1, 0, -1):
        now, last = m * coefficients[m] + twice * now - last, now
    return 2 * torch.sinc(angle / math.pi) * now

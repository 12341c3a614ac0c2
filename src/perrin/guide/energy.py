r"""Any energy of the clean state, written in Python: samples of about p(clean) exp(-w E(clean)) / Z.

The tilted law's posterior mean is mean + (sigma^2 / alpha) grad_x log <exp(-w E(clean))>, the average over clean states
given x. With the energy at the mean in the place of that average (Chung et al. 2023, "diffusion posterior sampling"; Bansal
et al. 2023, "universal guidance") it is

    mean' = mean + t v,   v = -V grad (w E)(mean),   V = (sigma^2 / alpha) (dmean/dx)^T

with t = 1. That forgets that the clean state is uncertain, and overshoots the more, the sharper the energy and the higher
the noise. The minimum of w E along v, together with what the noisy state itself says of the clean one, is at

    t = a / (a + max(b, 0)),   a = g . V g,   g = grad (w E)(mean),   b = v . (second derivative of w E) v

which costs another derivative of the energy and none of the network. It is exact for Gaussian data and energies that are
quadratic in one linear statistic, or in independent entries of equal variance. The bias that is left: several statistics
share one t, and of energies far from quadratic the average is not seen. `particles` weighs both away.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, Self, TypeAlias

import torch
from torch import Tensor, func

from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.errors import PerrinError
from perrin.guide.contrast import by_item, check_interval
from perrin.guide.moving import moved, with_reverse
from perrin.guide.wrapper import Guide, check_continuous
from perrin.process import levels
from perrin.process.levels import expand
from perrin.process.state import State, single
from perrin.sample.noise import normals

EnergyFunction: TypeAlias = Callable[[Tensor], Tensor]
"""Clean states [B, ...] -> [B], each item's from that item alone; +inf where a state is ruled out."""

Slope = Literal["network", "mean", "none"]


class Energy(Guide):
    """Push the prediction towards clean states of low energy.

    Args:
        denoiser: of continuous states of one leaf.
        energy: E, minus a reward; of clean states [B, ...] to [B].
        weight: w; 0 leaves the denoiser alone.
        interval: (low, high) levels within which to guide; everywhere by default.
        slope: 'network' takes the gradient through the network, as above; 'mean' at the mean alone, with V the posterior
            variance of an entry by itself: no reverse pass, and what has no gradient of its own stays as it is; 'none' is
            for energies without a derivative, which `particles` alone can follow.
        curved: whether t is the minimum along the step, for which the energy is differentiated twice; else 1.
        deviation: of clean states' entries, a model's `sigma_data`, for 'mean' and for `draws`.
        draws: of the clean state around its mean, by which `particles` judge a noisy state; 0: by the energy's slope, or
            without one by the mean alone. An energy that is infinite somewhere needs some, 16 for instance.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        energy: EnergyFunction,
        weight: float = 1.0,
        interval: tuple[float, float] | None = None,
        *,
        slope: Slope = "network",
        curved: bool = True,
        deviation: float = 1.0,
        draws: int = 0,
    ) -> None:
        super().__init__(denoiser)
        check_interval(interval)
        if slope not in ("network", "mean", "none"):
            raise PerrinError(f"slope = {slope!r} must be 'network', 'mean' or 'none'")
        if not 0 <= weight < torch.inf or not 0 < deviation < torch.inf or draws < 0:
            raise PerrinError(
                f"weight = {weight} must be 0 or above, deviation = {deviation} above 0, draws = {draws} not negative"
            )
        self.energy, self.weight, self.interval = energy, weight, interval
        self.slope, self.curved, self.deviation, self.draws = slope, curved, deviation, draws

    def forward(self, x: State, level: Tensor, condition: Condition = None) -> Prediction:
        """The guided prediction at x [B, ...], level [B]."""
        if self.slope == "none":
            raise PerrinError(
                "an energy without a derivative (slope 'none') steers particles alone: guide.particles"
            )
        check_continuous(x, "an energy")
        found, shift = self.shift(single(x, "an energy"), level, condition)
        return moved(found, shift, level)

    def shift(self, x: Tensor, level: Tensor, condition: Condition) -> tuple[Prediction, Tensor]:
        """The denoiser's prediction, and what is added to its mean."""
        inside = self._inside(level)
        if self.slope != "network" or not self.weight or not bool(inside.any()):
            found = self.denoiser(x, level, condition)
            mean = single(found.mean, "an energy")
            if self.slope == "none" or not self.weight or not bool(inside.any()):
                return found, torch.zeros_like(mean)
            step = self._step(mean, lambda g: self.alone(level, g) * g)
        else:
            found, reverse = with_reverse(self.denoiser, x, level, condition)
            gain = expand(levels.sigma(level) ** 2 / levels.alpha(level), x)
            step = self._step(single(found.mean), lambda g: gain * reverse(g))
        return found, torch.where(expand(inside.to(torch.float64), step) > 0, step, 0.0)

    def _step(self, mean: Tensor, spread: Callable[[Tensor], Tensor]) -> Tensor:
        """t v, where `spread` is the product with V."""

        def total(clean: Tensor) -> Tensor:
            return self.weight * self._of(clean).sum()  # an item's energy is its own, and so is its gradient

        slope: Any = func.grad(total)
        g = torch.nan_to_num(slope(mean), nan=0.0, posinf=0.0, neginf=0.0)
        v = -spread(g)
        if not self.curved:
            return v
        bent = torch.nan_to_num(func.jvp(slope, (mean,), (v,))[1], nan=0.0, posinf=0.0, neginf=0.0)
        a, b = by_item(_dot, -g, v), by_item(_dot, v, bent).clamp(min=0)
        # a network's V need not be positive: a step that would raise the energy is not taken
        return torch.where(a > 0, a / torch.where(a > 0, a + b, 1.0), 0.0) * v

    def _inside(self, level: Tensor) -> Tensor:
        low, high = self.interval or (-torch.inf, torch.inf)
        return (level >= low) & (level <= high)

    def _of(self, clean: Tensor) -> Tensor:
        """E [B] in the states' dtype, refused where it is no number for each state."""
        found = self.energy(clean)
        if found.shape != clean.shape[:1]:
            raise PerrinError(
                f"energy {name_of(self.energy)!r} gives shape {tuple(found.shape)} for {len(clean)} states; "
                f"it must give one number each, ({len(clean)},)"
            )
        return found

    def alone(self, level: Tensor, like: Tensor) -> Tensor:
        """r^2 = sigma^2 d^2 / (alpha^2 d^2 + sigma^2): the variance of Gaussian entries that are independent."""
        alpha, sigma, d = levels.alpha(level), levels.sigma(level), self.deviation
        return expand((sigma * d) ** 2 / ((alpha * d) ** 2 + sigma**2), like)

    def log_likelihood(self, clean: Tensor) -> Tensor:
        """-w E [B] of clean states [B, ...], -inf where one is ruled out."""
        found = (
            -self.weight * self._of(clean).double() if self.weight else clean.new_zeros(len(clean)).double()
        )
        if bool(found.isnan().any()):
            raise PerrinError(
                f"energy {name_of(self.energy)!r} is not a number for {int(found.isnan().sum())} states"
            )
        return found

    def log_twist(self, mean: Tensor, level: Tensor) -> Tensor:
        """log of about <exp(-w E(clean))> [B] over clean states near the posterior mean, always finite.

        Of draws their average; else of the best state near by, -w E(mean + t v) - |t v|^2 / (2 r^2), which is exact up to
        a constant of the level where t is (with entries taken to be independent); without a slope the mean's own.
        Where every draw is ruled out, less than one of them counts: a noisy state is not given up before it is clean.
        """
        count = max(self.draws, 1)
        r2 = self.alone(level, mean)
        if self.draws:
            # the same for every state, so that a sample is a function of its key
            z = normals(torch.arange(count, device=mean.device), mean.shape[1:], mean.dtype)
            logs = torch.stack([self.log_likelihood(mean + r2.sqrt() * noise) for noise in z])
            found = torch.logsumexp(logs, 0) - math.log(count)
        elif self.slope == "none" or not self.weight:
            found = self.log_likelihood(mean)
        else:
            step = self._step(mean, lambda g: r2 * g)
            found = self.log_likelihood(mean + step) - 0.5 * (step.square() / r2).flatten(1).sum(1).double()
        return torch.where(found == -torch.inf, -math.log(2.0 * count), found)

    def repeated(self, count: int) -> Self:
        """The same: an energy is of one state."""
        return self

    def check(self, levels: Tensor) -> None:
        """Refuse what the denoiser refuses, and guidance at zero SNR, where sigma^2 / alpha is infinite."""
        super().check(levels)
        if self.weight and bool((torch.isneginf(levels) & self._inside(levels)).any()):
            raise PerrinError(
                "an energy says nothing about the clean state at zero SNR (level -inf); start at a finite level (grid "
                "'logsnr' or 'karras'), or guide on an interval of finite levels"
            )


def name_of(energy: EnergyFunction) -> str:
    """What an energy is called: its function's name, or its class's."""
    return str(getattr(energy, "__name__", type(energy).__name__))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum()

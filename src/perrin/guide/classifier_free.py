r"""Classifier-free guidance (Ho and Salimans 2022), on an interval of levels (Kynkaanniemi et al. 2024).

    mean = unconditional + w (conditional - unconditional)

w = 1 is no guidance, w = 0 ignores the condition. The combination is linear at a fixed state, so that it is
the same for every parameterisation. Intervals are in levels and do not move with the number of steps.
Rescaling (Lin et al. 2024) is done on the clean mean for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser, Prediction, unconditional
from perrin.errors import PerrinError
from perrin.guide.wrapper import ITEM, Guide
from perrin.process.levels import expand
from perrin.process.state import State, map_leaves

WEIGHT = "guidance"
"""The condition's entry that sets the weight of each sample, [B]; it is not passed on to the network."""


class ClassifierFree(Guide):
    """Push the prediction away from the unconditional one.

    Args:
        denoiser: takes rows with and without condition in one batch.
        weight: w, one number or [B]; the condition's entry "guidance" [B] goes before it.
        interval: (low, high) levels within which to guide; everywhere by default.
        rescale: 0 to 1, how far the guided mean is brought back to the conditional mean's standard deviation.
        null: makes the unconditional condition of a conditional one.

    A branch whose weight is zero is not evaluated, row by row; both branches share one call of the denoiser.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        weight: float | Tensor = 1.5,
        *,
        interval: tuple[float, float] | None = None,
        rescale: float = 0.0,
        null: Callable[[Condition], Condition] = unconditional,
    ) -> None:
        super().__init__(denoiser)
        if interval is not None and not interval[0] < interval[1]:
            raise PerrinError(f"interval = {interval} must be (low, high) levels with low < high")
        if not 0 <= rescale <= 1:
            raise PerrinError(f"rescale = {rescale} must lie between 0 and 1")
        self.weight, self.interval, self.rescale, self.null = weight, interval, rescale, null

    def forward(self, x: State, level: Tensor, condition: Condition = None) -> Prediction:
        """The guided prediction at x [B, ...], level [B]; without a condition, the denoiser's own."""
        given = dict(condition or {})
        weight = torch.as_tensor(given.pop(WEIGHT, self.weight), dtype=torch.float64, device=level.device)
        if not given.keys() - {ITEM}:
            return self.denoiser(x, level, given or None)
        weight = weight.expand(level.shape)
        if self.interval is not None:
            inside = (level >= self.interval[0]) & (level <= self.interval[1])
            weight = torch.where(inside, weight, 1.0)
        return self._combine(x, level, given, weight)

    def _combine(self, x: State, level: Tensor, given: Mapping[str, Tensor], weight: Tensor) -> Prediction:
        with_it = torch.nonzero(weight != 0).flatten()
        without = torch.nonzero(weight != 1).flatten()
        rows = torch.cat([with_it, without])
        null = dict(self.null({n: v for n, v in given.items() if n != ITEM}) or {})
        if ITEM in given:  # the two rows of a sample are not one to a wrapper that remembers
            null[ITEM] = ~given[ITEM]
        merged = {n: torch.cat([v[with_it], null[n][without]]) for n, v in given.items()}
        found = self.denoiser(map_leaves(lambda v: v[rows], x), level[rows], merged)
        count = len(with_it)

        def mix(part: Tensor) -> Tensor:
            conditional, free = (part.new_zeros(len(level), *part.shape[1:]) for _ in range(2))
            conditional[with_it], free[without] = part[:count], part[count:]
            w = expand(weight, part)
            # rows that need one branch only take it as it is, to the bit
            guided = torch.where(w == 1, conditional, free + w * (conditional - free))
            guided = torch.where(w == 0, free, guided)
            return _rescaled(guided, conditional, w, self.rescale) if self.rescale else guided

        def pick(part: Tensor) -> Tensor:
            chosen = part.new_zeros(len(level), *part.shape[1:])
            chosen[without], chosen[with_it] = part[count:], part[:count]
            return chosen

        noise = None if found.noise is None else map_leaves(mix, found.noise)
        variance = None if found.variance is None else map_leaves(pick, found.variance)
        return Prediction(map_leaves(mix, found.mean), noise, variance)


def _rescaled(guided: Tensor, conditional: Tensor, w: Tensor, amount: float) -> Tensor:
    """Bring each item's standard deviation back towards its conditional one's, never over the batch."""
    now, wanted = _spreads(guided), _spreads(conditional)
    ratio = torch.where(now > 0, wanted / now, 1.0)
    return torch.where((w == 0) | (w == 1), guided, (amount * ratio + (1 - amount)) * guided)


def _spreads(x: Tensor) -> Tensor:
    """Standard deviation of each item [B, 1, ...]; one by one, since a reduction's rounding depends on the batch."""
    found = torch.stack([item.std(correction=0) for item in x])
    return found.reshape(-1, *[1] * (x.dim() - 1))

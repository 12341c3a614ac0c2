r"""Classifier-free guidance (Ho and Salimans 2022), on an interval of levels (Kynkaanniemi et al. 2024).

    mean = unconditional + w (conditional - unconditional)

and of tokens the same of log-probabilities, a product of powers that is normalised,

    p(token) ~ unconditional^(1 - w) conditional^w

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
from perrin.guide.wrapper import ITEM, Guide, check_continuous, timeless
from perrin.process.levels import expand
from perrin.process.state import State, leaves, like, map_leaves

WEIGHT = "guidance"
"""The condition's entry that sets the weight of each sample, [B]; it is not passed on to the network."""


class ClassifierFree(Guide):
    """Push the prediction away from the unconditional one.

    Args:
        denoiser: takes rows with and without condition in one batch.
        weight: w, one number or [B]; the condition's entry "guidance" [B] goes before it.
        interval: (low, high) levels within which to guide; everywhere by default.
        rescale: 0 to 1, how far the guided mean is brought back to the conditional mean's standard deviation; not
            of tokens.
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

    @property
    def timeless(self) -> bool:
        return self.interval is None and timeless(self.denoiser)

    def forward(self, x: State, level: Tensor, condition: Condition = None) -> Prediction:
        """The guided prediction at x [B, ...], level [B]; without a condition, the denoiser's own."""
        given = dict(condition or {})
        weight = torch.as_tensor(given.pop(WEIGHT, self.weight), dtype=torch.float64, device=level.device)
        if not given.keys() - {ITEM}:
            return self.denoiser(x, level, given or None)
        if self.rescale:
            check_continuous(x, "rescale")
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
        branches = _Branches(weight, with_it, without, self.rescale)
        if all(v.is_floating_point() for v in leaves(x).values()):
            return branches.continuous(found)
        return branches.with_tokens(found, x)


class _Branches:
    """A prediction of conditional rows and then of unconditional ones, combined."""

    def __init__(self, weight: Tensor, with_it: Tensor, without: Tensor, rescale: float) -> None:
        self.weight, self.with_it, self.without, self.rescale = weight, with_it, without, rescale

    def continuous(self, found: Prediction) -> Prediction:
        noise = None if found.noise is None else map_leaves(self.mix, found.noise)
        variance = None if found.variance is None else map_leaves(self.pick, found.variance)
        return Prediction(map_leaves(self.mix, found.mean), noise, variance)

    def with_tokens(self, found: Prediction, x: State) -> Prediction:
        """Leaf by leaf: of tokens the log-probabilities are combined."""
        means, logs = dict(leaves(found.mean)), leaves(found.log_mean())
        raw = logs if found.logits is None else leaves(found.logits)
        alone = (self.weight == 0) | (self.weight == 1)
        logits = {}
        for name, value in leaves(x).items():
            if value.is_floating_point():
                means[name] = self.mix(means[name])
                continue
            one = alone.reshape(-1, *[1] * value.dim()).to(value.device)
            logits[name] = torch.where(one, self.pick(raw[name]), self.mix(logs[name]))
            means[name] = torch.where(one, self.pick(means[name]), torch.softmax(logits[name], -1))
        return Prediction(like(means, x), logits=like(logits, x))

    def mix(self, part: Tensor) -> Tensor:
        count, shape = len(self.with_it), (len(self.weight), *part.shape[1:])
        conditional, free = part.new_zeros(shape), part.new_zeros(shape)
        conditional[self.with_it], free[self.without] = part[:count], part[count:]
        w = expand(self.weight, part)
        # rows that need one branch only take it as it is, to the bit
        guided = torch.where(w == 1, conditional, free + w * (conditional - free))
        guided = torch.where(w == 0, free, guided)
        return _rescaled(guided, conditional, w, self.rescale) if self.rescale else guided

    def pick(self, part: Tensor) -> Tensor:
        """Of the conditional rows where there are any."""
        count, chosen = len(self.with_it), part.new_zeros(len(self.weight), *part.shape[1:])
        chosen[self.without], chosen[self.with_it] = part[count:], part[:count]
        return chosen


def _rescaled(guided: Tensor, conditional: Tensor, w: Tensor, amount: float) -> Tensor:
    """Bring each item's standard deviation back towards its conditional one's, never over the batch."""
    now, wanted = _spreads(guided), _spreads(conditional)
    ratio = torch.where(now > 0, wanted / now, 1.0)
    return torch.where((w == 0) | (w == 1), guided, (amount * ratio + (1 - amount)) * guided)


def _spreads(x: Tensor) -> Tensor:
    """Standard deviation of each item [B, 1, ...]; one by one, since a reduction's rounding depends on the batch."""
    found = torch.stack([item.std(correction=0) for item in x])
    return found.reshape(-1, *[1] * (x.dim() - 1))

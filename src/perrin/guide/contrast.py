r"""What guidance by two predictions shares: one to go towards, one to go away from, and a weight for each row.

    mean = away + w (towards - away)

and of tokens the same of log-probabilities, a product of powers that is normalised,

    p(token) ~ away^(1 - w) towards^w

w = 1 is the first alone and w = 0 the second, to the bit: the other is then not evaluated. The combination is linear at
a fixed state, so that it is the same for every parameterisation; what changes it (`Rescale`, `projected.Projection`) acts
on the clean mean for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from perrin.denoise.prediction import Prediction
from perrin.errors import PerrinError
from perrin.guide.wrapper import check_continuous
from perrin.process import levels
from perrin.process.levels import expand
from perrin.process.state import State, leaves, like, map_leaves

WEIGHT = "guidance"
"""The condition's entry that sets the weight of each sample, [B]; it is not passed on to the network."""

Change: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(guided, towards, away [B, ...], w [B, 1, ...]) -> guided means, each row's from that row alone."""


def check_interval(interval: tuple[float, float] | None) -> None:
    """Refuse an interval of levels that is none."""
    if interval is not None and not interval[0] < interval[1]:
        raise PerrinError(f"interval = {interval} must be (low, high) levels with low < high")


def within(weight: Tensor, level: Tensor, interval: tuple[float, float] | None) -> Tensor:
    """The weight of each row [B]: 1 outside the interval of levels."""
    weight = weight.expand(level.shape)
    if interval is None:
        return weight
    return torch.where((level >= interval[0]) & (level <= interval[1]), weight, 1.0)


@dataclass(frozen=True)
class Rescale:
    """Bring each item's standard deviation back to that of the mean it goes towards (Lin et al. 2024).

    Attributes:
        amount: 0 to 1, how far.
    """

    amount: float

    def __post_init__(self) -> None:
        if not 0 <= self.amount <= 1:
            raise PerrinError(f"rescale = {self.amount} must lie between 0 and 1")

    def __call__(self, guided: Tensor, towards: Tensor, away: Tensor, w: Tensor) -> Tensor:
        """The guided means [B, ...], rescaled."""
        now, wanted = (by_item(lambda v: v.std(correction=0), part) for part in (guided, towards))
        ratio = torch.where(now > 0, wanted / now, 1.0)
        return (self.amount * ratio + (1 - self.amount)) * guided


class Contrast:
    """Which rows each of two predictions is asked for, and both combined.

    Args:
        weight: w, float64 [B]. changes: of the guided means, in turn.

    Attributes:
        towards, away: the rows with a weight other than 0, and other than 1.
        rows: both, one after the other, the first `count` of them towards; every: whether each of the two has all rows.
    """

    def __init__(self, weight: Tensor, changes: Sequence[Change] = ()) -> None:
        self.weight, self.changes = weight, changes
        self.towards, self.away = torch.nonzero(weight != 0).flatten(), torch.nonzero(weight != 1).flatten()
        self.rows = torch.cat([self.towards, self.away])
        self.count = len(self.towards)
        self.every = self.count == len(self.away) == len(weight)
        self._wide: Tensor | None = None

    def of_both(self, x: State, level: Tensor, found: Prediction) -> Prediction:
        """One prediction of all rows of x [B, ...], from that of `rows`."""
        mean, bare = found.mean, found.noise is None and found.variance is None and not self.changes
        if (
            bare and self.every and isinstance(mean, Tensor) and _numbers(x)
        ):  # the usual case, without detours
            return Prediction(self._mix(*mean.chunk(2)))
        first, last = slice(self.count), slice(self.count, None)
        return self.combined(x, level, _part(found, first), _part(found, last))

    def combined(self, x: State, level: Tensor, towards: Prediction, away: Prediction) -> Prediction:
        """Predictions of the rows `towards` and `away` of x [B, ...] as one of all rows."""
        if not all(v.is_floating_point() for v in leaves(x).values()):
            return self._with_tokens(x, towards, away)
        plain = map_leaves(self._mix, towards.mean, away.mean)
        mean = plain if not self.changes else map_leaves(self._changed, plain, towards.mean, away.mean)
        noise = variance = None
        if towards.noise is not None and away.noise is not None:
            noise = map_leaves(self._mix, towards.noise, away.noise)
            if self.changes:  # x = alpha mean + sigma noise: what is added to one is taken from the other
                ratio = levels.alpha(level) / levels.sigma(level)
                noise = map_leaves(lambda e, m, p: e - expand(ratio, e) * (m - p), noise, mean, plain)
        if towards.variance is not None and away.variance is not None:
            variance = map_leaves(self._pick, towards.variance, away.variance)
        return Prediction(mean, noise, variance)

    def _with_tokens(self, x: State, towards: Prediction, away: Prediction) -> Prediction:
        """Leaf by leaf: of tokens the log-probabilities are combined."""
        if self.changes:
            check_continuous(x, "a change of the guided mean")
        both = (towards, away)
        logs = [leaves(p.log_mean()) for p in both]
        raw = [log if p.logits is None else leaves(p.logits) for p, log in zip(both, logs, strict=True)]
        parts = [leaves(p.mean) for p in both]
        alone = (self.weight == 0) | (self.weight == 1)
        means, logits = {}, {}
        for name, value in leaves(x).items():
            if value.is_floating_point():
                means[name] = self._mix(parts[0][name], parts[1][name])
                continue
            one = alone.reshape(-1, *[1] * value.dim()).to(value.device)
            mixed, picked = self._mix(logs[0][name], logs[1][name]), self._pick(raw[0][name], raw[1][name])
            logits[name] = torch.where(one, picked, mixed)
            picked = self._pick(parts[0][name], parts[1][name])
            means[name] = torch.where(one, picked, torch.softmax(logits[name], -1))
        return Prediction(like(means, x), logits=like(logits, x))

    def _spread(self, towards: Tensor, away: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both with all rows, those not asked for zero, and w [B, 1, ...]."""
        empty = towards.new_zeros(len(self.weight), *towards.shape[1:])
        rows = (self.towards.to(empty.device), self.away.to(empty.device))
        return (
            empty.index_copy(0, rows[0], towards),
            empty.index_copy(0, rows[1], away),
            expand(self.weight, empty),
        )

    def _mix(self, towards: Tensor, away: Tensor) -> Tensor:
        if self.every:
            return (towards - away).mul_(self._w(away)).add_(away)
        one, other, w = self._spread(towards, away)
        return _exact_ends(other + w * (one - other), one, other, w)

    def _w(self, like: Tensor) -> Tensor:
        """w [B, 1, ...], the same in every step."""
        w = self._wide
        if w is None or w.dim() != like.dim() or w.dtype != like.dtype:
            self._wide = w = expand(self.weight, like)
        return w

    def _changed(self, guided: Tensor, towards: Tensor, away: Tensor) -> Tensor:
        one, other, w = self._spread(towards, away)
        for change in self.changes:
            guided = change(guided, one, other, w)
        return _exact_ends(guided, one, other, w)

    def _pick(self, towards: Tensor, away: Tensor) -> Tensor:
        """The first where there is any."""
        one, other, w = self._spread(towards, away)
        return torch.where(w == 0, other, one)


def _part(found: Prediction, rows: slice) -> Prediction:
    """Some rows of a prediction."""

    def some(part: State) -> State:
        return map_leaves(lambda v: v[rows], part)

    def of(part: State | None) -> State | None:
        return None if part is None else some(part)

    return Prediction(some(found.mean), of(found.noise), of(found.variance), of(found.logits))


def _numbers(x: State) -> bool:
    """Whether a state is one continuous leaf."""
    return isinstance(x, Tensor) and x.is_floating_point()


def _exact_ends(guided: Tensor, towards: Tensor, away: Tensor, w: Tensor) -> Tensor:
    """Rows that need one prediction alone take it as it is, to the bit."""
    return torch.where(w == 1, towards, torch.where(w == 0, away, guided))


def by_item(reduce: Callable[..., Tensor], *parts: Tensor) -> Tensor:
    """`reduce` of each item [B, 1, ...]; one by one, since a reduction's rounding depends on the batch."""
    found = torch.stack([reduce(*item) for item in zip(*parts, strict=True)])
    return found.reshape(-1, *[1] * (parts[0].dim() - 1))

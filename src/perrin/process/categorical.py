r"""Categorical processes: tokens that are kept or replaced, on the same clock as the Gaussian process.

With a = alpha^2 = sigmoid(level), position by position and independently (Austin et al. 2021; Sahoo et al. 2024),

    marginal    q(x | clean)           = a [x = clean] + (1 - a) pi(x)
    transition  q(x' | x), noisier     = r [x' = x] + (1 - r) pi(x'),   r = a' / a
    posterior   q(x | x', clean)       ~ q(x' | x) q(x | clean)

masked   pi is all on one further token, the mask, of index K: a token that is not masked is known
uniform  pi is uniform over the K tokens

A token may be ABSENT: an item shorter than its batch has no position there, and nothing happens to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from perrin.errors import PerrinError
from perrin.process.levels import float64

ABSENT = -1
"""The token of a position that an item does not have."""

Name = Literal["masked", "uniform"]


@dataclass(frozen=True)
class Categorical:
    """What noise does to tokens 0 .. classes - 1.

    Attributes:
        name: 'masked' or 'uniform'; classes: K.
    """

    name: Name
    classes: int

    def __post_init__(self) -> None:
        if self.name not in ("masked", "uniform"):
            raise PerrinError(f"categorical process {self.name!r} is not known; known: masked, uniform")
        if isinstance(self.classes, bool) or not isinstance(self.classes, int) or self.classes < 2:
            raise PerrinError(
                f"classes = {self.classes!r}: a categorical state needs a whole number of at least 2"
            )

    @property
    def masks(self) -> bool:
        """Whether noise is a mask."""
        return self.name == "masked"

    @property
    def states(self) -> int:
        """How many values a noisy token may have: K, and the mask."""
        return self.classes + self.masks

    @property
    def pi(self) -> Tensor:
        """The noise end, float64 [states]."""
        if self.masks:
            return torch.nn.functional.one_hot(torch.tensor(self.classes), self.states).to(torch.float64)
        return torch.full((self.classes,), 1 / self.classes, dtype=torch.float64)

    def config(self) -> dict[str, Any]:
        """The JSON-able options that rebuild it, with its registry name."""
        return {"name": self.name, "classes": self.classes}

    def places(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the uniforms that tokens of that shape take: one each."""
        return shape

    def prior(self, u: Tensor) -> Tensor:
        """The noise end: tokens int64 of uniforms u in (0, 1), of the shape of u."""
        if self.masks:
            return torch.full_like(u, self.classes, dtype=torch.int64)
        return (u * self.classes).long().clamp(max=self.classes - 1)

    def noised(self, clean: Tensor, level: Tensor, u: Tensor) -> Tensor:
        """The marginal: `clean` [B, ...] int64 at `level` [B], by uniforms u in (0, 1) like it, float64."""
        kept = expand(torch.sigmoid(float64(level)), clean)
        lost = expand(torch.sigmoid(-float64(level)), clean)
        # what u is beyond `kept` is uniform itself
        replaced = self.prior(((u - kept) / lost.clamp(min=1e-300)).clamp(0, 1))
        return torch.where((u < kept) | (clean == ABSENT), clean, replaced)

    def backward(self, x: Tensor, mean: Tensor, noisy: Tensor, cleaner: Tensor) -> Tensor:
        r"""p(x at the cleaner level | x) when the clean token has the probabilities `mean`.

        The posterior q(x_cleaner | x, clean) summed over clean tokens; a one-hot `mean` gives the posterior itself.

        Args:
            x: [B, ...] at `noisy` [B]; `cleaner` [B] >= noisy.
            mean: [B, ..., K] probabilities of the clean token given all of the noisy state.

        Returns:
            Probabilities [B, ..., states], in the dtype of `mean`; those of an absent position mean nothing.
        """
        a_s, lost_s = (expand(torch.sigmoid(v), mean) for v in (float64(noisy), -float64(noisy)))
        a_t, lost_t = (expand(torch.sigmoid(v), mean) for v in (float64(cleaner), -float64(cleaner)))
        r = expand(torch.exp(_log_ratio(noisy, cleaner)), mean)
        fresh = expand(-torch.expm1(_log_ratio(noisy, cleaner)), mean)
        pi = self.pi.to(mean)
        here = _one_hot(x, self.states, mean)
        # the evidence q(x | clean = c) of each c; a token that a mask process left alone is itself
        evidence = a_s * here[..., : self.classes] + lost_s * _at(pi, x)[..., None]
        share = torch.where(evidence > 0, mean / evidence, 0.0)
        wide = share if not self.masks else torch.nn.functional.pad(share, (0, 1))
        return (r * here + fresh * _at(pi, x)[..., None]) * (
            a_t * wide + lost_t * pi * share.sum(-1, keepdim=True)
        )

    def rate(self, x: Tensor, clean: Tensor, log_mean: Tensor, level: Tensor) -> Tensor:
        r"""What a position costs in the bound of -log p, in nats per unit of level.

        In continuous time the bound is E integral of it over all levels (Campbell et al. 2022; Shi et al. 2024):

            masked   a [x is masked] (-log p(clean token))
            uniform  sum over y != x of  R_y - R*_y + R*_y log(R*_y / R_y),    R_y = (1 - a)/K q(y | .) / q(x | .),

        the rates of the reversed process, R* for the clean token and R its mean under the prediction.

        Args:
            x: [B, ...] at `level` [B]; clean: [B, ...]; log_mean: log-probabilities [B, ..., K].

        Returns:
            [B, ...] in the dtype of `log_mean`; 0 where absent.
        """
        a = expand(torch.sigmoid(float64(level)), log_mean, x.dim())
        present = clean != ABSENT
        told = log_mean.gather(-1, clean.clamp(min=0)[..., None])[..., 0]
        if self.masks:
            return torch.where((x == self.classes) & present, -a * told, 0.0)
        lost = expand(torch.sigmoid(-float64(level)), log_mean, x.dim())
        found = self._jumps(x, log_mean.exp(), a, lost)
        right = self._jumps(x, _one_hot(clean, self.classes, log_mean), a, lost)
        cost = found - right + right * (right.log() - found.log())
        cost = cost.masked_fill(_one_hot(x, self.classes, log_mean) > 0, 0.0)
        return torch.where(present, cost.sum(-1), 0.0)

    def changes(self, x: Tensor, told: Tensor, noisy: Tensor, cleaner: Tensor) -> tuple[Tensor, Tensor]:
        """`backward` as a sampler needs it: the probabilities [B, ...] of two ways in which x may change.

        With the first it becomes a token of the prediction, with the second any with the same probability; both without
        x itself.

        Args:
            told: [B, ...] float64, the predicted probability of x (0 of a mask).
        """
        lost, after, a = (
            expand(torch.sigmoid(s * float64(v)), told) for s, v in ((-1, noisy), (-1, cleaner), (1, noisy))
        )
        predicted = (lost - after) / lost * (1 - told)
        if self.masks:
            return torch.where(x == self.classes, predicted, 0.0), torch.zeros_like(told)
        fresh = expand(-torch.expm1(_log_ratio(noisy, cleaner)), told)
        return predicted, fresh * after * self._evenly(told, a, lost)

    def jumps(self, x: Tensor, told: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Rates of the reversed process, per unit of rising level, of the two changes of `changes`."""
        a, lost = (expand(torch.sigmoid(s * float64(level)), told) for s in (1, -1))
        if self.masks:
            return torch.where(x == self.classes, a * (1 - told), 0.0), torch.zeros_like(told)
        return a * (1 - told), lost.square() * self._evenly(told, a, lost)

    def _evenly(self, told: Tensor, a: Tensor, lost: Tensor) -> Tensor:
        share = (1 - told) * self.classes / lost + told / (a + lost / self.classes)
        return (self.classes - 1) / self.classes**2 * share

    def _jumps(self, x: Tensor, mean: Tensor, a: Tensor, lost: Tensor) -> Tensor:
        a, lost = a[..., None], lost[..., None] / self.classes
        share = mean / (a * _one_hot(x, self.classes, mean) + lost)
        return lost * (a * share + lost * share.sum(-1, keepdim=True))

    def divergence(
        self, x: Tensor, clean: Tensor, log_mean: Tensor, noisy: Tensor, cleaner: Tensor
    ) -> Tensor:
        """KL(q(x_cleaner | x, clean) || p(x_cleaner | x)) of a position: [B, ...], nats; 0 where absent."""
        present = clean != ABSENT
        if self.masks:
            lost, after = torch.sigmoid(-float64(noisy)), torch.sigmoid(-float64(cleaner))
            known = expand((lost - after) / lost, log_mean, x.dim())
            told = log_mean.gather(-1, clean.clamp(min=0)[..., None])[..., 0]
            return torch.where((x == self.classes) & present, -known * told, 0.0)
        right = self.backward(x, _one_hot(clean, self.classes, log_mean), noisy, cleaner)
        found = self.backward(x, log_mean.exp(), noisy, cleaner)
        return torch.where(present, torch.special.xlogy(right, right / found).sum(-1), 0.0)

    def prior_divergence(self, clean: Tensor, level: Tensor) -> Tensor:
        """KL(q(x at `level` | clean) || the noise end) of a position: [B, ...] float64, nats; 0 where absent."""
        a = expand(torch.sigmoid(float64(level)), torch.empty(0, dtype=torch.float64), clean.dim())
        if self.masks:
            # a token that is still to be seen has no place in a noise end of masks alone
            cost = torch.where(a > 0, torch.inf, 0.0).expand(clean.shape)
        else:
            hit, miss = a + (1 - a) / self.classes, (1 - a) / self.classes
            cost = torch.special.xlogy(hit, hit * self.classes)
            cost = (cost + (self.classes - 1) * torch.special.xlogy(miss, miss * self.classes)).expand(
                clean.shape
            )
        return torch.where(clean != ABSENT, cost.to(clean.device), 0.0)


def masked(classes: int) -> Categorical:
    """Tokens become a mask, one by one (absorbing diffusion)."""
    return Categorical("masked", classes)


def uniform(classes: int) -> Categorical:
    """Tokens become any other, one by one."""
    return Categorical("uniform", classes)


def expand(coefficient: Tensor, like: Tensor, dim: int | None = None) -> Tensor:
    """`coefficient` [B] with trailing axes up to `dim`, those of `like` by default; never narrower than float32."""
    dim = like.dim() if dim is None else dim
    dtype = like.dtype if like.is_floating_point() else torch.float64
    return coefficient.reshape(-1, *[1] * (dim - 1)).to(device=like.device, dtype=dtype)


def _log_ratio(noisy: Tensor, cleaner: Tensor) -> Tensor:
    """log of a at the noisy level over a at the cleaner one; 0 between equal levels, infinite ones included."""
    noisy, cleaner = float64(noisy), float64(cleaner)
    return torch.where(noisy == cleaner, 0.0, logsigmoid(noisy) - logsigmoid(cleaner))


def _one_hot(x: Tensor, count: int, like: Tensor) -> Tensor:
    """[..., count] in the dtype of `like`; zeros where x is no number below count."""
    hot = torch.zeros(*x.shape, count, dtype=like.dtype, device=like.device)
    inside = (x >= 0) & (x < count)
    return hot.scatter_(-1, x.clamp(0, count - 1)[..., None], inside[..., None].to(like.dtype))


def _at(pi: Tensor, x: Tensor) -> Tensor:
    return pi[x.clamp(min=0)]

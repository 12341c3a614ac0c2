r"""The variational bound of log p of tokens: term by term what `bounds.py` is for continuous states.

Over all levels, with a = sigmoid(level) and the process's rate, nothing is left over at either end
(Campbell et al. 2022; Shi et al. 2024):

    -log p(x) <= integral over a in (0, 1) of  E rate / (a (1 - a))

masked   The integral is a sum over how many tokens n of the L are masked, each with the same weight (Uria et al. 2014;
         Ou et al. 2024), so n is what is stratified:

             sum over n of  1/n E sum over masked i of  -log p(x_i | the others)

         The n tokens of the largest of L uniforms are masked, at the level a of the n-th of them, whose law is that of
         a given n; it is independent of which tokens these are.
uniform  a = 1 - w^2 with w stratified: near the clean end a share 1 - a of tokens is replaced, each at a cost of
         1 / (1 - a), whose variance would be infinite in a itself. The denoiser of even tokens, for which the integral is
         log K a token, is a control variate: most of a replaced token's cost, log(K / (1 - a)), is one to both.

A chain of levels has a divergence at its noisiest level, one for each step, and the reconstruction at its last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from perrin.denoise.adapter import Function
from perrin.denoise.prediction import Condition, Denoiser
from perrin.denoise.tokens import TokenDenoiser
from perrin.errors import PerrinError
from perrin.likelihood.draws import Draws, Rows
from perrin.likelihood.given import free
from perrin.likelihood.result import LogProb
from perrin.likelihood.strata import steps, unit
from perrin.process.categorical import ABSENT, Categorical
from perrin.process.state import Masks, State
from perrin.sample.noise import Key

_ENTRIES = 2**25  # of the predictions of one network call, by default


@torch.no_grad()
def token_bound(
    denoiser: Denoiser,
    tokens: State,
    process: Categorical,
    *,
    levels: Tensor | Sequence[float] | None = None,
    samples: int = 128,
    seeds: Sequence[Key] | None = None,
    condition: Condition = None,
    masks: Masks | None = None,
    batch: int | None = None,
) -> LogProb:
    """A lower bound of log p of tokens int64 [B, ...], nats per item; see `perrin.likelihood.bound`."""
    x = _checked(tokens, process)
    strata = unit(samples) if levels is None else steps(levels, samples, clean=True)
    rows = batch or max(1, min(512, _ENTRIES // max(1, x[0].numel() * process.classes)))
    draws = Draws(x, condition, masks, seeds, rows, tokens=True)
    each = _Terms(denoiser, process)

    def one(rows: Rows) -> list[Tensor]:
        clean, rest, own, number, u, v = rows
        assert isinstance(clean, Tensor)
        assert isinstance(v, Tensor)
        at, after = strata.pick(number // strata.draws, u)
        if levels is None:
            return [each.rate(clean, _free(clean, own), at, v, rest)]
        return [each.divergence(clean, _free(clean, own), at, after, v, rest)]

    def last(rows: Rows) -> list[Tensor]:
        clean, rest, own, _, u, v = rows
        assert isinstance(clean, Tensor)
        assert isinstance(v, Tensor)
        level = torch.full_like(u, float(strata.edges[-1]))
        return [each.reconstruction(clean, _free(clean, own), level, v, rest)]

    shape = (len(strata.weights), strata.draws, draws.items)
    (nats,) = draws.table(shape[0] * shape[1], "bound", one)
    diffusion, error = strata.integral(nats.reshape(shape))
    variance = error.square().sum(0)
    parts = {"prior": torch.zeros_like(variance), "diffusion": -diffusion.sum(0)}
    parts["reconstruction"] = torch.zeros_like(variance)
    if levels is not None:
        start = strata.edges[:1].to(x.device)
        parts["prior"] = -_sum(process.prior_divergence(x, start), _free(x, draws.masks))
    if levels is not None and math.isfinite(float(strata.edges[-1])):
        count = max(2, samples // 8)
        (found,) = draws.table(count, "reconstruction", last)
        parts["reconstruction"] = -found.mean(0)
        variance = variance + found.var(0) / count
    value = torch.stack(list(parts.values())).sum(0)
    return LogProb(value, variance.sqrt(), torch.isfinite(value), parts, draws.calls)


class _Terms:
    """What one draw of one item adds, nats [R] float64: clean [R, ...] of which `free` are noised by uniforms v."""

    def __init__(self, denoiser: Denoiser, process: Categorical) -> None:
        self.denoiser, self.process = denoiser, process
        even = Function(lambda x, *_: torch.zeros(*x.shape, process.classes, device=x.device))
        self.even = TokenDenoiser(even, process)
        self.log_classes = math.log(process.classes)

    def rate(self, clean: Tensor, free: Tensor, w: Tensor, v: Tensor, condition: Condition) -> Tensor:
        """Of the integral over all levels, at w in (0, 1)."""
        count = free.flatten(1).sum(1)
        if self.process.masks:
            # n-th largest uniform of those that may be masked; without any, nothing is
            n = (w * count).long().clamp(max=(count - 1).clamp(min=0))
            a = (
                v.masked_fill(~free, 0.0)
                .flatten(1)
                .sort(1, descending=True)
                .values.gather(1, n[:, None])[:, 0]
            )
            a, weight = torch.where(count > 0, a, 0.5), count / ((n + 1) * a.clamp(min=1e-300))
            hidden = free & (v >= a.reshape(-1, *[1] * (v.dim() - 1)))
            x, level = torch.where(hidden, self.process.classes, clean), torch.log(a) - torch.log1p(-a)
        else:
            lost = w.square()
            level, weight = torch.log1p(-lost) - lost.log(), 2 / ((1 - lost) * w)
            x = self._noised(clean, free, level, v)
        found = self._log_mean(x, level, condition)
        cost = _sum(self.process.rate(x, clean, found, level), free)
        if self.process.masks:
            return weight * cost
        even = self.even(x, level).log_mean()
        return (
            weight * (cost - _sum(self.process.rate(x, clean, even, level), free)) + count * self.log_classes
        )

    def divergence(
        self, clean: Tensor, free: Tensor, noisy: Tensor, cleaner: Tensor, v: Tensor, condition: Condition
    ) -> Tensor:
        """Of a step of a chain, between levels [R]."""
        x = self._noised(clean, free, noisy, v)
        found = self._log_mean(x, noisy, condition)
        return _sum(self.process.divergence(x, clean, found, noisy, cleaner), free)

    def reconstruction(
        self, clean: Tensor, free: Tensor, level: Tensor, v: Tensor, condition: Condition
    ) -> Tensor:
        """-log p(clean tokens | x at the last level)."""
        x = self._noised(clean, free, level, v)
        found = self._log_mean(x, level, condition)
        hidden = free & (x == self.process.classes) if self.process.masks else free
        return _sum(-found.gather(-1, clean.clamp(min=0)[..., None])[..., 0], hidden)

    def _noised(self, clean: Tensor, free: Tensor, level: Tensor, v: Tensor) -> Tensor:
        return torch.where(free, self.process.noised(clean, level, v), clean)

    def _log_mean(self, x: Tensor, level: Tensor, condition: Condition) -> Tensor:
        found = self.denoiser(x, level, condition).log_mean()
        assert isinstance(found, Tensor)
        return found


def _checked(x: State, process: Categorical) -> Tensor:
    if not isinstance(x, Tensor) or x.is_floating_point() or x.dim() < 2:
        raise PerrinError("the bound of tokens is of one int64 tensor [B, ...] of them")
    if not isinstance(process, Categorical):
        raise PerrinError(f"process = {process!r}: give masked(K) or uniform(K)")
    if bool(((x < ABSENT) | (x >= process.classes)).any()):
        raise PerrinError(
            f"clean tokens are 0 to {process.classes - 1}, and {ABSENT} where an item has no position; these are "
            f"{int(x.min())} to {int(x.max())}"
        )
    return x


def _free(x: Tensor, masks: Masks) -> Tensor:
    """Which tokens the bound is of: those that are there and not observed."""
    mask = free(x, masks)[""]
    return x != ABSENT if mask is None else (x != ABSENT) & mask


def _sum(nats: Tensor, free: Tensor) -> Tensor:
    return torch.where(free, nats.to(torch.float64), 0.0).flatten(1).sum(1)

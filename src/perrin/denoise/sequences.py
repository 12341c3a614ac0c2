r"""Exact denoisers of tokens: laws of sequences whose posteriors can be computed.

With q(x | clean) the marginal of the process, position by position, and p the law of clean sequences (Bayes),

    p(clean token k at i | x) = sum over sequences with k at i of  p(sequence) prod_j q(x_j | sequence_j) / Z

`Sequences` sums over a list, `Markov` by the forward and backward recursions of a chain. All arithmetic is float64.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from perrin.denoise.prediction import Condition, Prediction
from perrin.errors import PerrinError
from perrin.process.categorical import ABSENT, Categorical, expand
from perrin.process.levels import float64


def _evidence(process: Categorical, x: Tensor, level: Tensor) -> Tensor:
    """log q(x_i | clean token k) up to a constant, float64 [B, ..., K]; 0 where absent.

    In a masked process it is the same at all levels, so that tokens may be given even at the noise end.
    """
    here = one_hot(x.clamp(min=0), process.states)[..., : process.classes].to(torch.float64)
    if process.masks:
        return torch.where(((x >= 0) & (x < process.classes))[..., None], here.log(), 0.0)
    a, lost = (
        expand(torch.sigmoid(v), torch.empty(0, dtype=torch.float64), x.dim() + 1)
        for v in (float64(level).to(x.device), -float64(level).to(x.device))
    )
    pi = process.pi.to(x.device)[x.clamp(min=0)][..., None]
    return torch.where((x == ABSENT)[..., None], 0.0, torch.log(a * here + lost * pi))


class Sequences:
    """The denoiser of a finite law of sequences.

    Args:
        process: masked or uniform.
        points: int64 [N, *shape]; weights: [N], equal by default.
    """

    def __init__(self, process: Categorical, points: Tensor, weights: Tensor | None = None) -> None:
        if bool(((points < 0) | (points >= process.classes)).any()):
            raise PerrinError(f"the points must be tokens 0 to {process.classes - 1}")
        self.process, self.points = process, points
        given = torch.ones(len(points)) if weights is None else weights
        self.log_weights = torch.log(given.to(torch.float64) / given.to(torch.float64).sum())

    def __call__(self, x: Tensor, level: Tensor, condition: Condition = None) -> Prediction:
        """The posterior at tokens `x` [B, *shape], `level` [B]: float64 [B, *shape, K]."""
        points = one_hot(self.points, self.process.classes).to(x.device, torch.float64).flatten(1)
        evidence = _evidence(self.process, x, level).clamp(min=-1e6).flatten(1)  # 0 times -inf is no number
        share = torch.softmax(self.log_weights.to(x.device) + evidence @ points.T, 1)
        return Prediction((share @ points).reshape(*x.shape, self.process.classes))

    @property
    def entropy(self) -> float:
        """Of a sequence, in nats."""
        return float(-torch.special.xlogy(self.log_weights.exp(), self.log_weights.exp()).sum())


class Markov:
    """The denoiser of a Markov chain of tokens, a bigram source, of any length.

    Args:
        process: masked or uniform.
        initial: [K] probabilities of the first token; transition: [K, K], rows sum to one.
    """

    def __init__(self, process: Categorical, initial: Tensor, transition: Tensor) -> None:
        self.process = process
        self.initial, self.transition = initial.to(torch.float64), transition.to(torch.float64)
        shape = (process.classes, process.classes)
        if tuple(transition.shape) != shape or not torch.allclose(
            self.transition.sum(1), torch.ones(process.classes, dtype=torch.float64)
        ):
            raise PerrinError(f"transition must be {shape} with rows that sum to one")

    def __call__(self, x: Tensor, level: Tensor, condition: Condition = None) -> Prediction:
        """The posterior at tokens `x` [B, L], `level` [B]: float64 [B, L, K]. Absent positions only at the end."""
        evidence = _evidence(self.process, x, level)
        evidence = torch.exp(evidence - evidence.amax(-1, keepdim=True))
        table, length = self.transition.to(x.device), x.shape[1]
        before = [_unit(self.initial.to(x.device) * evidence[:, 0])]
        for i in range(1, length):
            before.append(_unit((before[-1] @ table) * evidence[:, i]))
        after = [torch.ones_like(before[0])]
        for i in range(length - 1, 0, -1):
            after.append(_unit((after[-1] * evidence[:, i]) @ table.T))
        found = torch.stack(before, 1) * torch.stack(after[::-1], 1)
        return Prediction(_unit(found))

    def sample(self, u: Tensor) -> Tensor:
        """Sequences int64 [B, L] of uniforms [B, L]."""
        tokens = [torch.searchsorted(self.initial.cumsum(0), u[:, 0].contiguous())]
        steps = self.transition.cumsum(1)
        for i in range(1, u.shape[1]):
            tokens.append((steps[tokens[-1].clamp(max=len(steps) - 1)] < u[:, i, None]).sum(1))
        return torch.stack(tokens, 1).clamp(max=self.process.classes - 1)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p of clean sequences [B, L]: [B] float64, nats."""
        first, steps = self.initial.log(), self.transition.log()
        return first[x[:, 0]] + steps[x[:, :-1], x[:, 1:]].sum(1)


def _unit(weights: Tensor) -> Tensor:
    return weights / weights.sum(-1, keepdim=True)

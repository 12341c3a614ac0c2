r"""Grids that know the data: levels placed where a denoiser's own prediction turns, without any gradient.

Over one step a sampler's prediction stands still, or goes on as it did before. What either misses, along fine
reference trajectories of some seeds, from level s to level t with level r before them, is

    e(r, s, t) = mean over seeds of max( rms(alpha_t D_s + sigma_t E_s - x_t), rms(the same with D_s + slope - x_t) )

with the slope of D in log(alpha/sigma) between r and s. `spaced` finds the levels of n steps with the least sum of e,
over all choices from a fine set of nodes, by dynamic programming. The second term keeps neighbouring steps alike,
which rules with a history need. With many steps the first is the larger one, (alpha/4) |dD/dlevel| h^2, and the density
of levels is proportional to sqrt(alpha |dD/dlevel|). The idea of fitting a grid to the model is of Sabour et al. 2024
(arXiv:2404.14507), who descend a bound on the KL divergence instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser
from perrin.errors import PerrinError
from perrin.process import levels
from perrin.process.schedule import Schedule
from perrin.process.state import Shape, State, leaves
from perrin.sample import Trace, make_plan, run
from perrin.sample.noise import Key

CHUNK = 32
"""Seeds whose trajectories are in memory at a time."""


def spaced(
    denoiser: Denoiser,
    schedule: Schedule,
    steps: int,
    *,
    shape: Shape,
    seeds: int | Sequence[Key] = 64,
    condition: Condition = None,
    nodes: int = 128,
) -> list[float]:
    """The levels of `steps` steps on which this denoiser is sampled best: `make_plan(rule, grid=spaced(...))`.

    They begin where the schedule's `level_range` does and end at +inf. One set of levels serves every rule.

    Args:
        denoiser: what will sample; under guidance, the guided one.
        schedule: whose `level_range` is covered.
        steps: how many.
        shape: of a state without the batch.
        seeds: of the trajectories, or how many; the levels are a function of them. About a hundred are enough.
        condition: tensors with a row for each seed.
        nodes: evaluations of a reference trajectory, at even levels; the steps' ends are chosen among them.

    Raises:
        PerrinError: steps or nodes that are not whole numbers, or more steps than nodes.

    Example:
        >>> from perrin.denoise import exact
        >>> from perrin.process import vp
        >>> grid = spaced(exact.Gaussian(0.0, 0.1), vp(), 4, shape=(2,), seeds=8)
        >>> [round(level, 1) for level in (grid[0], grid[-1])], len(grid)
        ([-10.0, inf], 5)
    """
    for name, value, least in (("nodes", nodes, 2), ("steps", steps, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise PerrinError(f"{name} = {value!r} must be a whole number of at least {least}")
    if steps > nodes:
        raise PerrinError(f"steps = {steps} cannot end at different ones of {nodes} nodes; give more nodes")
    fine = [*np.linspace(*schedule.level_range, nodes).tolist(), math.inf]
    keys = range(seeds) if isinstance(seeds, int) else seeds
    total = np.zeros((nodes, nodes, nodes + 1))
    for first in range(0, len(keys), CHUNK):
        rows = slice(first, first + CHUNK)
        part = None if condition is None else {name: value[rows] for name, value in condition.items()}
        states, means = _trajectories(denoiser, fine, keys[rows], shape, part)
        total += _missed(fine, states, means)
    return [fine[i] for i in _cheapest(total, steps)]


def _trajectories(
    denoiser: Denoiser, fine: list[float], seeds: Sequence[Key], shape: Shape, condition: Condition
) -> tuple[list[Tensor], list[Tensor]]:
    """The states [B, entries] at every level of `fine`, and the predictions at all but the last."""
    trace = Trace()
    plan = make_plan("dpmpp_3m", grid=fine)
    run(plan, denoiser, seeds=seeds, shape=shape, condition=condition, trace=trace)
    means = [_flat(mean) for mean in trace.means]
    after = [_flat(state) for state in trace.states]
    # the trace begins after the first step, which is a first-order one: undone, it leads to the start
    first, then = (_coefficients(level) for level in fine[:2])
    noise = (after[0] - then[0] * means[0]) / then[1]
    return [first[0] * means[0] + first[1] * noise, *after], means


def _flat(state: State) -> Tensor:
    return torch.cat([leaf.to("cpu", torch.float64).flatten(1) for leaf in leaves(state).values()], 1)


def _coefficients(level: float) -> tuple[float, float]:
    return float(levels.alpha(level)), float(levels.sigma(level))


def _missed(fine: list[float], states: list[Tensor], means: list[Tensor]) -> np.ndarray:
    """[nodes, nodes, nodes + 1]: the sum over seeds of e(r, s, t); r = s stands for no prediction before s.

    Squared distances are put together from inner products, so that their cost does not grow with the states.
    """
    count = len(means)
    alpha, sigma = (torch.tensor(c, dtype=torch.float64) for c in zip(*map(_coefficients, fine), strict=True))
    lam = 0.5 * torch.tensor(fine, dtype=torch.float64)
    x, mean = torch.stack(states, 1), torch.stack(means, 1)  # [B, nodes (+ 1), entries]
    with_mean, between = x @ mean.mT, mean @ mean.mT  # [B, nodes + 1, nodes], [B, nodes, nodes]
    table = torch.full((count, count, count + 1), math.inf, dtype=torch.float64)
    for s in range(count):
        t = slice(s + 1, count + 1)
        kept = sigma[t] / sigma[s]
        gain = alpha[t] - alpha[s] * kept
        gap = gain[:, None] * mean[:, s, None] + kept[:, None] * x[:, s, None] - x[:, t]  # [B, t, entries]
        first = gap.square().sum(2)
        # <gap, D_s - D_r> for r before s, [B, r, t], and |D_s - D_r|^2
        along = gain * between[:, s, :s, None] + kept * with_mean[:, s, :s, None] - with_mean[:, t, :s].mT
        own = gain * between[:, s, s, None] + kept * with_mean[:, s, s, None] - with_mean[:, t, s]
        turned = own[:, None] - along
        size = between[:, s, s, None] - 2 * between[:, s, :s] + between.diagonal(dim1=1, dim2=2)[:, :s]
        weight = _extrapolated(lam[:s], lam[s], lam[t], alpha[t])
        second = first[:, None] + 2 * weight * turned + weight**2 * size[:, :, None]
        table[:s, s, t] = torch.maximum(first[:, None], second).sqrt().sum(0)
        table[s, s, t] = first.sqrt().sum(0)
    return (table / math.sqrt(x.shape[2])).numpy()


def _extrapolated(before: Tensor, now: Tensor, then: Tensor, alpha: Tensor) -> Tensor:
    """[r, t]: the weight of D_s - D_r when a line in log(alpha/sigma) is integrated exactly from s to t; 0 to +inf."""
    step = then - now
    moved = alpha * (step + torch.expm1(-step))
    return torch.where(torch.isinf(step), 0.0, moved) / (now - before)[:, None]


def _cheapest(table: np.ndarray, steps: int) -> list[int]:
    """The path of `steps` steps from the first node to the last with the least sum of e."""
    count = table.shape[2]
    least, came = np.full((count - 1, count), math.inf), list[np.ndarray]()
    least[0, 0] = 0.0  # [node before, node]
    for _ in range(steps):
        sums = least[:, : count - 1, None] + table
        came.append(sums.argmin(0))
        least = sums.min(0)
    now, path = count - 1, [count - 1]
    before = int(least[:, now].argmin())
    for arrived in reversed(came):
        path.append(before)
        before, now = int(arrived[before, now]), before
    return path[::-1]

"""Instruments of the ladder: orders and variances of rules, measured on exact denoisers without Monte Carlo."""

from __future__ import annotations

import math

import torch

from perrin.denoise import exact
from perrin.denoise.prediction import Prediction
from perrin.process import levels
from perrin.registry import rules
from perrin.sample import Plan, advance, make_plan, run, start_slots
from perrin.sample.noise import normals, seed_of, seed_tensor

LOW, HIGH = -4.0, 8.0
# several data sets at once, since the error of a single one may cross zero at some step
STDS = torch.tensor([0.0, 0.1, 0.3, 0.5, 0.8, 1.5, 2.0], dtype=torch.float64)
MEAN = 0.7

DETERMINISTIC = [name for name in rules if not rules[name].stochastic]
STOCHASTIC = [name for name in rules if rules[name].stochastic]
EXACT = [name for name in rules if rules[name].exact_on_point_mass]


def line(low, high, steps):
    """`steps + 1` levels, evenly."""
    return [low + (high - low) * k / steps for k in range(steps)] + [high]


def spread(level, std):
    """Standard deviation of the noisy state for data of standard deviation `std`."""
    return torch.sqrt(levels.alpha(level) ** 2 * std**2 + levels.sigma(level) ** 2)


def gaussian_flow(x, start, stop, mean, std):
    """The probability flow of N(mean, std^2) data between two levels: (x - alpha m) / s_t is constant."""
    return levels.alpha(stop) * mean + (x - levels.alpha(start) * mean) * spread(stop, std) / spread(
        start, std
    )


def deterministic_error(rule, steps, history, low=LOW, high=HIGH, mean=MEAN, std=STDS):
    """RMSE at the level `high` from `low`, float64; `history` earlier states are put on the exact flow."""
    h = (high - low) / steps
    grid = [low - h * k for k in range(history, 0, -1)] + line(low, high, steps)
    plan = make_plan(rule, grid=grid)
    denoiser = exact.Gaussian(mean, std)
    x0 = torch.full((1, len(std)), 1.3, dtype=torch.float64)
    slots = start_slots(plan, gaussian_flow(x0, low, grid[0], mean, std))
    for index, row in enumerate(plan.rows):
        if row.level <= low + 1e-12 and history:
            slots[:2] = [gaussian_flow(x0, low, level, mean, std) for level in (row.base, row.level)]
        level = torch.full((1,), row.level, dtype=torch.float64)
        slots = advance(plan, index, slots, denoiser(slots[1], level), [0])
    truth = gaussian_flow(x0, low, high, mean, std)
    return float((slots[0] - truth).pow(2).mean().sqrt())


def covariance_error(rule, steps, std, low=LOW, high=HIGH, **options):
    """|variance - truth| at level `high` from exact marginals at `low`, propagated through the table."""
    plan = make_plan(rule, grid=line(low, high, steps), **options)
    return abs(output_variance(plan, std) - float(spread(high, torch.tensor(std)) ** 2))


def output_variance(plan: Plan, std: float) -> float:
    """Variance of the output for N(0, std^2) data and the exact denoiser: slots are linear in unit normals."""
    start = plan.grid[0]
    total = 1 + sum(len(row.draws) for row in plan.rows)
    state = torch.zeros(plan.slots, total, dtype=torch.float64)
    state[:2, 0] = spread(start, std)
    used = 1
    for row in plan.rows:
        a, s = levels.alpha(row.level or 0.0), levels.sigma(row.level or 0.0)
        mean = a * std**2 / (a**2 * std**2 + s**2) * state[1:2]
        noise = (state[1:2] - a * mean) / s
        draws = torch.zeros(len(row.draws), total, dtype=torch.float64)
        for i in range(len(row.draws)):
            draws[i, used + i] = 1.0 if row.variance is None else math.sqrt(row.variance[0])
        used += len(row.draws)
        state = row.matrix @ torch.cat([state, mean, noise, draws])
    return float((state[0] ** 2).sum())


def slope(errors, counts):
    """Least-squares slope of -log error against log steps."""
    x = torch.log(torch.tensor(counts, dtype=torch.float64))
    y = -torch.log(torch.tensor(errors, dtype=torch.float64))
    return float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())


class Basis:
    """Runs a plan on basis vectors: in place of every normal draw stands a unit vector of its own.

    Coordinate 0 is the data, coordinate 1 the start noise; a draw that is used twice is one vector. What comes out
    of the real executor then holds the exact coefficient of everything that went in. Used as a context through
    pytest's monkeypatch: `Basis(monkeypatch)`.
    """

    def __init__(self, monkeypatch, size=400):
        self.size, self.seen, self.records = size, {}, []
        monkeypatch.setattr("perrin.sample.ticking.normals", self._normals)

    def _normals(self, seeds, shape, dtype=torch.float32):
        z = torch.zeros(len(seeds), *shape, dtype=dtype)
        for i, seed in enumerate(seeds.tolist()):
            z[i, 2 + self.seen.setdefault(seed, len(self.seen))] = 1.0
        return z

    def run(self, plan, denoiser, data, noise):
        """The output, from a start of `data` on coordinate 0 and `noise` on coordinate 1."""
        start = torch.zeros(1, self.size, dtype=torch.float64)
        start[0, 0], start[0, 1] = data, noise

        def spy(x, level, condition=None):
            self.records.append((float(level[0]), x[0].clone()))
            return denoiser(x, level, condition)

        return run(plan, spy, seeds=[0], start=start)[0]


def point_at_first_axis(x, level, condition=None):
    """The denoiser of a point mass at the first basis vector."""
    clean = torch.zeros_like(x)
    clean[:, 0] = 1.0
    return Prediction(clean)


def draws_of(row, keys, shape, dtype=torch.float64):
    """The normals that a row of a plan draws for these keys, [draws, B, *shape]."""
    return [
        normals(seed_tensor([seed_of(k, "", d.stream, d.start, d.stop, d.visit) for k in keys]), shape, dtype)
        for d in row.draws
    ]

"""Instruments of the ladder: orders of rules, measured on exact denoisers, in closed form where there is one."""

from __future__ import annotations

import math

import torch

from perrin.denoise import exact
from perrin.process import levels
from perrin.sample import Plan, advance, make_plan, start_slots

LOW, HIGH = -4.0, 8.0


def gaussian_flow(x, start, stop, mean, std):
    """The probability flow of N(mean, std^2) data between two levels: (x - alpha m) / s_t is constant."""

    def spread(level):
        return torch.sqrt(levels.alpha(level) ** 2 * std**2 + levels.sigma(level) ** 2)

    return levels.alpha(stop) * mean + (x - levels.alpha(start) * mean) * spread(stop) / spread(start)


def deterministic_error(rule, steps, mean, std, history):
    """RMSE at the level HIGH from LOW, float64; `history` earlier states are put on the exact flow."""
    h = (HIGH - LOW) / steps
    grid = [LOW - h * k for k in range(history, 0, -1)] + [LOW + h * k for k in range(steps)] + [HIGH]
    plan = make_plan(rule, grid=grid)
    denoiser = exact.Gaussian(mean, std)
    x0 = torch.linspace(-2, 2, 9, dtype=torch.float64).reshape(1, -1)
    slots = start_slots(plan, gaussian_flow(x0, LOW, grid[0], mean, std))
    for index, row in enumerate(plan.rows):
        if row.level <= LOW + 1e-12 and history:
            slots[:2] = [gaussian_flow(x0, LOW, level, mean, std) for level in (row.base, row.level)]
        level = torch.full((1,), row.level, dtype=torch.float64)
        slots = advance(plan, index, slots, denoiser(slots[1], level), [0])
    truth = gaussian_flow(x0, LOW, HIGH, mean, std)
    return float((slots[0] - truth).pow(2).mean().sqrt())


def covariance_error(rule, steps, std, low=LOW, high=HIGH, **options):
    """|variance - truth| at level `high` from exact marginals at `low`, propagated through the table."""
    h = (high - low) / steps
    plan = make_plan(rule, grid=[low + h * k for k in range(steps)] + [high], **options)
    return abs(output_variance(plan, std) - float(levels.alpha(high) ** 2 * std**2 + levels.sigma(high) ** 2))


def output_variance(plan: Plan, std: float) -> float:
    """Variance of the output for N(0, std^2) data and the exact denoiser: slots are linear in unit normals."""
    start = plan.grid[0]
    total = 1 + sum(len(row.draws) for row in plan.rows)
    state = torch.zeros(plan.slots, total, dtype=torch.float64)
    state[:2, 0] = math.sqrt(float(levels.alpha(start) ** 2 * std**2 + levels.sigma(start) ** 2))
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

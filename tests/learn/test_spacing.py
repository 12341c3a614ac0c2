import itertools
import math

import numpy as np
import pytest
import torch

from perrin.denoise import Prediction, exact
from perrin.errors import PerrinError
from perrin.guide import ClassifierFree
from perrin.learn import spacing
from perrin.learn.spacing import spaced
from perrin.process import cosine, levels, vp
from perrin.registry import grids
from perrin.sample import Trace, make_plan, run
from perrin.sample.running import prior


def modes():
    """Eight Gaussians in sixteen dimensions."""
    centres = torch.randn(8, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return exact.Mixture(centres, 0.4)


@pytest.mark.parametrize("std", [0.1, 0.5, 2.0])
def test_on_a_gaussian_the_density_of_levels_is_what_the_curvature_says(std):
    """D = c alpha s^2 / sqrt(alpha^2 s^2 + sigma^2) along the flow; density ~ sqrt(alpha |dD/dlevel|)."""
    steps = 20
    grid = spaced(exact.Gaussian(0.0, std), vp(), steps, shape=(2,), seeds=2, nodes=120)
    line = torch.linspace(*vp().level_range, 20_001, dtype=torch.float64)
    alpha, sigma = levels.alpha(line), levels.sigma(line)
    mean = alpha * std**2 / torch.sqrt(alpha**2 * std**2 + sigma**2)
    density = torch.sqrt(alpha * torch.gradient(mean, spacing=(line,))[0].abs())
    share = torch.cumsum(density, 0) / density.sum()
    found = np.interp(grid[:-1], line.numpy(), share.numpy())
    assert found == pytest.approx(np.arange(steps) / steps, abs=1.5 / steps)


@pytest.mark.parametrize("schedule", [vp(), cosine()])
@pytest.mark.parametrize("steps", [1, 2, 7, 30])
def test_levels_rise_from_the_schedules_noisy_end_to_clean(schedule, steps):
    grid = spaced(modes(), schedule, steps, shape=(16,), seeds=4, nodes=40)
    assert len(grid) == steps + 1
    assert (grid[0], grid[-1]) == (pytest.approx(schedule.level_range[0]), math.inf)
    assert all(a < b for a, b in itertools.pairwise(grid))


def test_no_other_choice_among_the_nodes_misses_less():
    """The misses measured anew: first-order steps and exact linear extrapolations (ab_2's kind) by quadrature."""
    denoiser, nodes, steps, seeds = modes(), 9, 4, range(5)
    fine = [*np.linspace(*vp().level_range, nodes).tolist(), math.inf]
    start, trace = prior(list(seeds), (16,), torch.float32, "cpu"), Trace()
    run(make_plan("dpmpp_3m", grid=fine), denoiser, seeds=seeds, start=start, trace=trace)
    states = [start.double(), *(state.double() for state in trace.states)]
    means = [mean.double() for mean in trace.means]

    def rms(gap):
        return gap.square().mean(1).sqrt()

    def missed(r, s, t):
        reached = run(make_plan("ddim", grid=[fine[s], fine[t]]), denoiser, seeds=seeds, start=states[s])
        first = rms(reached - states[t])
        if r is None or t == nodes:
            return float(first.mean())
        # x_t/sigma_t = x_s/sigma_s + integral of D d(alpha/sigma), with D on the line through r and s
        line = torch.linspace(fine[s], fine[t], 2001, dtype=torch.float64)
        part = (line - fine[s]) / (fine[s] - fine[r])
        area = float(torch.trapezoid(part, torch.exp(0.5 * line)))
        bent = reached + float(levels.sigma(fine[t])) * area * (means[s] - means[r])
        return float(torch.maximum(first, rms(bent - states[t])).mean())

    def total(path):
        return sum(missed(None if i == 0 else path[i - 1], path[i], path[i + 1]) for i in range(steps))

    paths = [(0, *middle, nodes) for middle in itertools.combinations(range(1, nodes), steps - 1)]
    found = spaced(denoiser, vp(), steps, shape=(16,), seeds=seeds, nodes=nodes)
    assert found == [fine[i] for i in min(paths, key=total)]


def test_the_levels_are_a_function_of_the_seeds_and_not_of_the_chunks(monkeypatch):
    def grid(seeds):
        return spaced(modes(), vp(), 6, shape=(16,), seeds=seeds, nodes=60)

    first = grid(range(20))
    assert grid(20) == first
    monkeypatch.setattr(spacing, "CHUNK", 7)
    assert grid(20) == first
    assert grid(range(100, 103)) != first


def test_a_rule_on_these_levels_comes_closer_than_on_every_named_grid():
    denoiser, steps, seeds = modes(), 10, range(1000, 1128)
    fine = make_plan("dpmpp_3m", vp(), steps=400)
    start = prior(list(seeds), (16,), torch.float64, "cpu")
    goal = run(fine, denoiser, seeds=seeds, start=start)

    def median(grid):
        found = run(make_plan("unipc_2", grid=grid), denoiser, seeds=seeds, start=start)
        return float((found - goal).square().mean(1).sqrt().median())

    named = [median([float(v) for v in grids[name](vp(), steps)]) for name in grids]
    assert median(spaced(denoiser, vp(), steps, shape=(16,), seeds=64)) < 0.8 * min(named)


def test_each_seed_sees_its_own_condition(monkeypatch):
    monkeypatch.setattr(spacing, "CHUNK", 2)
    seen = []

    def denoiser(x, level, condition=None):
        seen.append(condition["label"].tolist())
        return Prediction(0.1 * x)

    spaced(denoiser, vp(), 2, shape=(3,), seeds=3, condition={"label": torch.tensor([5, 6, 7])}, nodes=4)
    assert seen == 4 * [[5, 6]] + 4 * [[7]]


def test_guidance_moves_the_levels():
    def denoiser(x, level, condition=None):
        wide, narrow = exact.Gaussian(0.0, 1.0)(x, level), exact.Gaussian(2.0, 0.1)(x, level)
        asked = (condition["label"] >= 0)[:, None]
        return Prediction(torch.where(asked, narrow.mean, wide.mean))

    condition = {"label": torch.zeros(8, dtype=torch.long)}

    def grid(weight):
        guided = ClassifierFree(denoiser, weight)
        return spaced(guided, vp(), 6, shape=(2,), seeds=8, condition=condition, nodes=60)

    assert grid(1.0) != grid(3.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"steps": 0}, "steps = 0"), ({"steps": 50}, "50 cannot"), ({"nodes": 1}, "nodes = 1")],
)
def test_impossible_numbers_are_refused(options, said):
    with pytest.raises(PerrinError, match=said):
        spaced(modes(), vp(), **{"steps": 4, "shape": (16,), "seeds": 2, "nodes": 20, **options})

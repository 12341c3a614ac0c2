"""Noise is a function of its name: right statistics, independent across names, the same in every batch."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from perrin.process import levels
from perrin.sample import make_plan
from perrin.sample.noise import bits, normals, seed_of, seed_tensor, uniforms
from perrin.sample.tracing import snr_share

SEEDS = st.integers(-(2**63), 2**63 - 1)
N = 40_000


def drawn(*name, count=N):
    return normals(seed_tensor([seed_of(*name)]), (count,), torch.float64)[0]


@pytest.mark.parametrize(
    "name", [(0,), (1,), ((0, 1),), (0, "leaf"), (0, "", "churn"), (0, "", "path", -1.0, 1.0)]
)
def test_draws_are_standard_normal(name):
    """Kolmogorov-Smirnov, and the serial correlations that a counter could leave behind."""
    z = drawn(*name)
    assert stats.kstest(z.numpy(), "norm").pvalue > 1e-4
    for lag in (1, 2, N // 2):
        assert abs(float((z[:-lag] * z[lag:]).mean())) < 5 / math.sqrt(N - lag)
    assert abs(float((z**4).mean()) - 3) < 5 * math.sqrt(96 / N)


def test_first_draws_of_neighbouring_seeds_are_standard_normal_and_uncorrelated():
    """Across keys 0, 1, 2, ... and across raw counters, as users number their samples."""
    for seeds in (seed_tensor([seed_of(k) for k in range(5000)]), torch.arange(5000)):
        z = normals(seeds, (4,), torch.float64)
        for column in range(4):
            assert stats.kstest(z[:, column].numpy(), "norm").pvalue > 1e-4
        assert abs(float((z[:-1, 0] * z[1:, 0]).mean())) < 5 / math.sqrt(5000)
        assert float((torch.corrcoef(z.T) - torch.eye(4)).abs().max()) < 5 / math.sqrt(5000)


def test_draws_of_different_names_are_independent():
    names = [
        (0,), (1,), ((0, 0),), ((0, 1),), ((1, 0),), (0, "a"), (0, "b"), (0, "", "churn"), (0, "", "corrector"),
        (0, "", "path", -1.0, 0.0, 0), (0, "", "path", 0.0, 1.0, 0), (0, "", "path", -1.0, 1.0, 0),
        (0, "", "corrector", 0.0, 0.0, 0), (0, "", "corrector", 0.0, 0.0, 1),
    ]  # fmt: skip
    z = torch.stack([drawn(*name) for name in names])
    assert len({seed_of(*name) for name in names}) == len(names)
    correlation = torch.corrcoef(z) - torch.eye(len(names))
    assert float(correlation.abs().max()) < 5.5 / math.sqrt(N)


@settings(max_examples=40, deadline=None)
@given(st.lists(SEEDS, min_size=1, max_size=6), st.integers(1, 40))
def test_the_same_seed_gives_the_same_noise_in_any_batch_and_any_order(seeds, count):
    z = normals(seed_tensor(seeds), (count,))
    for i, seed in enumerate(seeds):
        assert torch.equal(normals(seed_tensor([seed]), (count,))[0], z[i])


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_uniforms_are_never_zero_nor_one_and_normals_are_finite(seed):
    seeds = seed_tensor([seed])
    u = uniforms(seeds, 64)
    assert float(u.min()) > 0
    assert float(u.max()) < 1
    assert bool(torch.isfinite(normals(seeds, (65,))).all())
    assert bits(seeds, 8).unique().numel() == 8


def test_shapes_are_views_of_the_same_numbers():
    seeds = seed_tensor([5])
    assert torch.equal(normals(seeds, (2, 3)).flatten(), normals(seeds, (6,)).flatten())
    assert normals(seeds, ()).shape == (1,)


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)), st.text(max_size=6), st.floats(-20, 20))
def test_names_do_not_run_into_each_other(key, leaf, level):
    """(1, 23) is not (12, 3); an int is not a pair; minus zero is zero."""
    assert seed_of(key, leaf, "path", level) == seed_of(key, leaf, "path", level)
    assert seed_of(key, leaf, "path", level) != seed_of((key[0], key[1] + 1), leaf, "path", level)
    assert seed_of(key, leaf, "path", level) != seed_of(key, leaf + "x", "path", level)
    assert seed_of(key, leaf, "path", -0.0) == seed_of(key, leaf, "path", 0.0)
    assert seed_of((1, 23)) != seed_of((12, 3)) != seed_of(123)


def test_noise_does_not_depend_on_torchs_generator():
    torch.manual_seed(0)
    a = drawn(3, count=8)
    torch.manual_seed(1)
    torch.randn(5)
    assert torch.equal(a, drawn(3, count=8))


@given(st.lists(st.floats(-12, 12), min_size=3, max_size=3, unique=True))
def test_shares_of_a_path_add_up(points):
    a, b, c = sorted(points)
    assert snr_share(a, b, a, c) ** 2 + snr_share(b, c, a, c) ** 2 == pytest.approx(1, rel=1e-9)
    assert snr_share(-math.inf, b, -math.inf, c) == pytest.approx(math.exp((b - c) / 2))


def test_a_rule_of_two_stages_draws_its_path_once():
    """dpmpp_sde's stages overlap: every interval of the grid is covered by disjoint pieces."""
    grid = [-4.0, -1.0, 2.0, 6.0]
    plan = make_plan("dpmpp_sde", grid=grid)
    pieces = sorted((d.start, d.stop) for row in plan.rows for d in row.draws)
    assert pieces[0][0] == grid[0]
    assert pieces[-1][1] == grid[-1]
    assert all(a[1] == b[0] for a, b in itertools.pairwise(pieces))
    assert len(pieces) == 2 * (len(grid) - 1)
    assert float(levels.alpha(grid[0])) < 1


@pytest.mark.parametrize("draw", [normals, lambda seeds, shape: uniforms(seeds, math.prod(shape))])
def test_a_longer_first_axis_leaves_the_numbers_before_it_as_they_are(draw):
    """So that padding changes nothing: the i-th number is a function of the seed and i."""
    seeds = seed_tensor([5, -9])
    long, short = draw(seeds, (9, 3)).flatten(1), draw(seeds, (4, 3)).flatten(1)
    assert torch.equal(long[:, :12], short)
    assert torch.equal(draw(seeds, (7,)), draw(seeds, (8,))[:, :7])

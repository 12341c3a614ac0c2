"""Samplers of angles and rotations against densities in closed form, and their promises."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from perrin.denoise import Prediction, exact
from perrin.denoise.exact import Points
from perrin.denoise.product import Independent
from perrin.errors import PerrinError
from perrin.process import masked, vp
from perrin.process.heat import CIRCLE, ROTATIONS
from perrin.process.levels import level_of_ratio, ratio
from perrin.process.rotations import Rotations, turned, vector
from perrin.process.state import Masks
from perrin.process.torus import Torus
from perrin.sample import Trace, kernels, make_plan, run
from perrin.sample.kernel import Step

INF = math.inf
TORUS, SPACE = Torus(), Rotations()
NAMES = ["geodesic", "geodesic_flow"]
SPREAD, WEIGHTS = 0.35, torch.tensor([0.5, 0.3, 0.2])
ANGLES = torch.tensor([[3.0, 0.5], [-1.0, -3.0], [0.7, -0.6]], dtype=torch.float64)
TURNS = turned(torch.tensor([[0.3, -0.2, 3.0], [-1.2, 1.0, 0.1]], dtype=torch.float64))


def grid(steps, low=-2.6, high=7.0):
    """From the noise end to the clean end, evenly in level between two finite ones."""
    return [-INF, *torch.linspace(low, high, steps - 1).tolist(), INF]


def lattice(count):
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


def level(value, count=1):
    return torch.full((count,), value, dtype=torch.float64)


@dataclass(frozen=True)
class Given(Step):
    """A step whose uniforms are given."""

    chances: torch.Tensor | None = None

    def uniform(self, stream, lasting=False, shape=None):
        assert (self.chances.shape[1:] == self.x.shape[1:]) if shape is None else True
        return self.chances


def step(process, x, mean, noisy, cleaner, chances=None, held=None):
    places = process.places(tuple(x.shape))
    chances = torch.full(places, 0.5, dtype=torch.float64) if chances is None else chances
    held = torch.zeros(places, dtype=torch.bool) if held is None else held
    seeds, at = torch.zeros(len(x), dtype=torch.int64), level(noisy, len(x))
    return Given(process, x, mean, at, level(cleaner, len(x)), at, held, seeds, seeds, chances)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_step_is_the_formula(name, dtype):
    generator = torch.Generator().manual_seed(0)
    for process, tangent in ((TORUS, (50, 4)), (SPACE, (50, 2, 3))):
        x = process.prior(torch.rand(tangent, generator=generator, dtype=torch.float64)).to(dtype)
        mean = torch.randn(tangent, generator=generator, dtype=dtype)
        u = torch.rand(tangent, generator=generator, dtype=torch.float64)
        s_a, s_b = 0.9, 0.5
        noisy, cleaner = (float(level_of_ratio(s)) for s in (s_a, s_b))
        found = kernels[name].function(step(process, x, mean, noisy, cleaner, u))
        r = s_b / s_a
        v = (1 - r) * mean
        if name == "geodesic":
            v = (1 - r * r) * mean + s_b * math.sqrt(1 - r * r) * torch.special.ndtri(u).to(dtype)
        assert found.dtype == dtype
        torch.testing.assert_close(found, process.exp(x, v), rtol=0, atol=8 * torch.finfo(dtype).eps)


def test_at_the_ends_noise_is_all_or_nothing():
    generator = torch.Generator().manual_seed(0)
    for process, tangent in ((TORUS, (50, 4)), (SPACE, (50, 2, 3))):
        x = process.prior(torch.rand(tangent, generator=generator, dtype=torch.float64))
        mean = torch.randn(tangent, generator=generator, dtype=torch.float64)
        u = torch.rand(tangent, generator=generator, dtype=torch.float64)
        for name in NAMES:
            move = kernels[name].function
            last = move(step(process, x, mean, 1.0, INF, u))
            torch.testing.assert_close(last, process.exp(x, mean))
            torch.testing.assert_close(move(step(process, x, mean, -INF, INF, u)), x)
            nothing = torch.full_like(mean, torch.nan)  # what is said at the noise end is not heard
            first = move(step(process, x, nothing, -INF, 0.0, u))
            noise = torch.special.ndtri(u) if name == "geodesic" else torch.zeros_like(mean)
            torch.testing.assert_close(first, process.exp(x, noise))


def chi_square(found, right, count):
    """In standard deviations, over cells with ten samples or more."""
    cells = right * count > 10
    value = float(((found - right).square() / right)[cells].sum()) * count
    return (value - int(cells.sum())) / math.sqrt(2 * int(cells.sum()))


@pytest.mark.parametrize("name", NAMES)
def test_samples_on_a_torus_have_the_density(name):
    """Three peaks over the seams of two angles, of unequal weights: cell by cell."""
    count, cells = 4000, 12
    denoiser = Points(TORUS, ANGLES, SPREAD, WEIGHTS)
    x = run(
        make_plan(name, grid=grid(60, -2.6, 6.0)),
        denoiser,
        seeds=[(1, i) for i in range(count)],
        shape=(2,),
        process=TORUS,
    )
    place = ((x.double() / (2 * math.pi) + 0.5) * cells).long().clamp(0, cells - 1)
    found = torch.bincount(place[:, 0] * cells + place[:, 1], minlength=cells**2) / count
    fine = 20 * cells
    axis = 2 * math.pi * lattice(fine) - math.pi
    q = denoiser.log_prob(torch.cartesian_prod(axis, axis), level(INF, fine**2)).exp()
    right = q.reshape(cells, 20, cells, 20).sum((1, 3)).flatten() * (2 * math.pi / fine) ** 2
    assert float(right.sum()) == pytest.approx(1, abs=1e-9)
    assert chi_square(found.double(), right, count) < 3


@pytest.mark.parametrize("name", NAMES)
def test_samples_of_rotations_have_the_density(name):
    """Two peaks far apart: the share of each, and within each the law of the angle and of the axis."""
    count = 1500
    weights = torch.tensor([0.65, 0.35])
    x = run(
        make_plan(name, grid=grid(160, -1.9)),
        Points(SPACE, TURNS, 0.3, weights),
        seeds=[(1, i) for i in range(count)],
        shape=(3, 3),
        process=SPACE,
    ).double()
    torch.testing.assert_close(x.mT @ x, torch.eye(3).double().expand_as(x), rtol=0, atol=1e-6)
    way = vector(TURNS.mT @ x[:, None])
    angle, nearest = way.norm(dim=-1).min(1)
    share = float((nearest == 0).double().mean())
    assert abs(share - 0.65) < 3 * math.sqrt(0.65 * 0.35 / count)
    fine = torch.linspace(0, math.pi, 4001, dtype=torch.float64)
    q = ROTATIONS.log_density(fine, torch.tensor(0.3, dtype=torch.float64)).exp() * ROTATIONS.measure(fine)
    total = torch.nn.functional.pad(torch.cumulative_trapezoid(q, fine), (1, 0)).numpy()
    ordered = np.interp(angle.sort().values.numpy(), fine.numpy(), total)
    assert float(np.abs(ordered - lattice(count).numpy()).max()) < 1.6 / math.sqrt(count)
    axis = (way[torch.arange(count), nearest] / angle[:, None]).T
    assert float((axis @ axis.T / count - torch.eye(3) / 3).abs().max()) < 4 * 0.3 / math.sqrt(count)
    assert float(axis.mean(1).abs().max()) < 4 * 0.58 / math.sqrt(count)


LINE = Points(TORUS, torch.tensor([[3.0], [0.4]]), 0.4, torch.tensor([0.7, 0.3]))


def slopes(errors):
    return [math.log2(a / b) for a, b in itertools.pairwise(errors)]


def test_geodesic_is_of_first_order_on_the_circle():
    """The law of its steps by transition matrices, no chance at all, against the density of the noisy state."""
    count, low, high = 240, -2.0, 3.0
    x = (2 * math.pi * lattice(count) - math.pi)[:, None]
    wide, errors = 2 * math.pi / count, []
    for steps in (6, 12, 24, 48):
        law = LINE.log_prob(x, level(low, count)).exp() * wide
        for noisy, cleaner in itertools.pairwise(torch.linspace(low, high, steps + 1).tolist()):
            mean = LINE(x, level(noisy, count)).mean
            one = torch.special.ndtr(torch.ones_like(x))
            centre, off = (
                kernels["geodesic"].function(step(TORUS, x, mean, noisy, cleaner, u)) for u in (None, one)
            )
            deviation = TORUS.log(centre, off)[0, 0]
            angle = TORUS.log(centre, x.T.expand(count, -1)).abs()
            law = law @ CIRCLE.log_density(angle, deviation).exp() * wide
        errors.append(float((law - LINE.log_prob(x, level(high, count)).exp() * wide).abs().sum()))
    assert all(0.85 < slope < 1.3 for slope in slopes(errors)), (errors, slopes(errors))


def test_geodesic_is_of_first_order_on_rotations():
    """Characters of its end, by quadrature over the noise of every step: backwards, angle by angle."""
    std, s_a, s_b, nodes = 0.5, 1.2, 0.2, 24
    denoiser = Points(SPACE, torch.eye(3, dtype=torch.float64)[None], std)
    w = math.pi * lattice(nodes)  # functions of the angle are series of cosines
    waves = torch.cos(torch.arange(nodes) * w[:, None])
    axial, by_axial = (torch.tensor(v) for v in np.polynomial.hermite_e.hermegauss(24))
    across, by_across = (torch.tensor(v) for v in np.polynomial.laguerre.laggauss(12))
    z = torch.cartesian_prod(torch.sqrt(2 * across), torch.zeros(1, dtype=torch.float64), axial)
    weight = torch.outer(by_across, by_axial / by_axial.sum()).flatten()
    x = turned(torch.nn.functional.pad(w[:, None], (2, 0))).repeat_interleave(len(z), 0)
    u, low, high = torch.special.ndtr(z).repeat(nodes, 1), *(float(level_of_ratio(s)) for s in (s_a, s_b))
    errors, u = [], u.clamp(1e-16, 1 - 1.2e-16)  # the weights farther out are less
    for steps in (8, 16, 32, 64):
        value = torch.stack([torch.sin((l + 0.5) * w) / torch.sin(0.5 * w) for l in (1, 2)], 1)
        grid = torch.linspace(low, high, steps + 1, dtype=torch.float64).tolist()
        for cleaner, noisy in itertools.pairwise(grid[::-1]):
            mean = denoiser(x[:: len(z)], level(noisy, nodes)).mean.repeat_interleave(len(z), 0)
            after = vector(kernels["geodesic"].function(step(SPACE, x, mean, noisy, cleaner, u))).norm(dim=-1)
            series = torch.linalg.solve(waves, value)
            reached = torch.cos(torch.arange(nodes) * after[:, None]) @ series
            value = (reached.reshape(nodes, len(z), 2) * weight[:, None]).sum(1)
        q = ROTATIONS.log_density(w, torch.tensor(math.hypot(s_a, std)).double()).exp() * ROTATIONS.measure(w)
        found = (q[:, None] * value).sum(0) * math.pi / nodes
        right = torch.tensor([(2 * l + 1) * math.exp(-l * (l + 1) * (s_b**2 + std**2) / 2) for l in (1, 2)])
        errors.append(float((found - right).abs().sum()))
    assert all(0.85 < slope < 1.3 for slope in slopes(errors)), (errors, slopes(errors))


@pytest.mark.parametrize("kind", ["torus", "rotations"])
def test_the_flow_is_of_first_order(kind):
    count = 40
    if kind == "torus":
        process, denoiser = TORUS, Points(TORUS, ANGLES, 0.7, WEIGHTS)
        start = TORUS.prior(torch.rand(count, 2, generator=torch.Generator().manual_seed(3)).double())
    else:
        process, denoiser = SPACE, Points(SPACE, TURNS, 0.7)
        start = SPACE.prior(torch.rand(count, 3, generator=torch.Generator().manual_seed(3)).double())

    def end(steps):
        plan = make_plan("geodesic_flow", grid=torch.linspace(-2.0, 4.0, steps + 1).tolist())
        return run(plan, denoiser, seeds=range(count), start=start, process=process)

    middle, fine = end(64), end(128)
    right = process.exp(fine, process.log(middle, fine))  # Richardson
    errors = [float(process.log(end(n), right).abs().mean()) for n in (8, 16, 32)]
    assert all(0.8 < slope < 1.3 for slope in slopes(errors)), (errors, slopes(errors))


def test_a_point_is_reached_at_once():
    """One step of the flow from any noise: what the displacement says while it is told apart from its images."""
    for process, points in ((TORUS, ANGLES[:1]), (SPACE, TURNS[:1])):
        u = torch.rand(30, *process.places(tuple(points.shape[1:])), generator=torch.Generator()).double()
        start = process.noised(points.expand(30, *points.shape[1:]), level(5.0, 30), u)
        for name in NAMES:
            plan = make_plan(name, grid=[5.0, 6.5, INF])
            x = run(plan, Points(process, points), seeds=range(30), start=start, process=process)
            close = 1e-12 if process is TORUS else 1e-3  # rotations: the factor 1 - s^2 / 12 of its score
            assert float(process.log(x, points).abs().max()) < close


def row_wise(x, level, condition=None):
    """A displacement that adds up place by place and sees no absent one: a row alone is the same row to the bit."""
    s = ratio(level).reshape(-1, *[1] * (x.dim() - 1)).clamp(max=1e6)
    if x.shape[-2:] == (3, 3) and x.dim() > 2:
        return Prediction(torch.sin(3 * x[..., 0]) + torch.cos(x[..., 1]) * s[..., 0] / (1 + s[..., 0]))
    total = torch.zeros(len(x), 1, dtype=x.dtype)
    for i in range(x.shape[1]):
        total = total + torch.sin(x[:, i : i + 1])
    return Prediction(total / (1 + s.to(x.dtype)) + torch.sin(2 * x))


@pytest.mark.parametrize("denoiser", [row_wise, Points(TORUS, ANGLES, SPREAD)], ids=["row_wise", "points"])
@pytest.mark.parametrize("kind", ["torus", "rotations"])
def test_an_item_alone_is_the_item_among_strangers_on_other_plans(kind, denoiser):
    """To the bit, and along the whole way."""
    process, shape = (TORUS, (2,)) if kind == "torus" else (SPACE, (3, 3))
    if denoiser is not row_wise and kind == "rotations":
        denoiser = Points(SPACE, TURNS, 0.3)
    plans = [make_plan(name, grid=grid(n)) for n in (4, 7, 12) for name in NAMES] * 3
    seeds = [(7, i) for i in range(len(plans))]
    together = run(plans, denoiser, seeds=seeds, shape=shape, process=process)
    for i, plan in enumerate(plans):
        alone = run(plan, denoiser, seeds=seeds[i : i + 1], shape=shape, process=process)
        assert torch.equal(alone[0], together[i])


@pytest.mark.parametrize("name", NAMES)
def test_padding_never_changes_an_item(name):
    lengths, wide, plan = [1, 3, 6, 4], 6, make_plan(name, grid=grid(8))
    for process, shape in ((TORUS, ()), (SPACE, (3, 3))):
        valid = torch.arange(wide) < torch.tensor(lengths)[:, None]
        together = run(
            plan, row_wise, seeds=range(4), shape=(wide, *shape), process=process, masks=Masks(valid=valid)
        )
        for i, length in enumerate(lengths):
            alone = run(plan, row_wise, seeds=[i], shape=(length, *shape), process=process)
            assert torch.equal(alone[0], together[i, :length])
            assert float(together[i, length:].abs().sum()) == 0


@pytest.mark.parametrize("name", NAMES)
def test_what_is_observed_never_changes(name):
    for process, shape in ((TORUS, ()), (SPACE, (3, 3))):
        size = (5, *shape)
        start = process.prior(
            torch.rand(20, *process.places(size), generator=torch.Generator().manual_seed(0)).double()
        )
        start = start.float()
        observed, trace = torch.rand(20, 5, generator=torch.Generator().manual_seed(1)) < 0.4, Trace()
        run(
            make_plan(name, grid=grid(9)),
            row_wise,
            seeds=range(20),
            start=start,
            process=process,
            masks=Masks(observed=observed),
            trace=trace,
        )
        for state in trace.states:
            assert torch.equal(state[observed], start[observed])
        moved = (trace.states[-1] != start).reshape(20, 5, -1).any(2)
        assert torch.equal(moved, ~observed)


def test_what_is_not_observed_is_drawn_given_what_is():
    """The second angle given the first: which of the three peaks it stands at."""
    count = 3000
    start = TORUS.prior(torch.rand(count, 2, generator=torch.Generator().manual_seed(0)).double())
    start[:, 0] = ANGLES[1, 0]

    def given(x, level, condition=None):  # the first angle is clean: only its peak is left
        return Points(TORUS, ANGLES[1:2], SPREAD)(x, level)

    observed = torch.tensor([True, False]).expand(count, 2)
    plan = make_plan("geodesic", grid=grid(60))
    x = run(plan, given, seeds=range(count), start=start, process=TORUS, masks=Masks(observed=observed))
    off = TORUS.log(ANGLES[1:2, 1].expand(count), x[:, 1])
    assert float(off.std()) == pytest.approx(SPREAD, rel=3 / math.sqrt(2 * count) + 0.01)
    assert abs(float(off.mean())) < 3 * SPREAD / math.sqrt(count)


def test_leaves_of_a_product_that_are_independent_are_their_leaves_apart():
    """Angles, rotations and positions in one run, each as it is alone."""
    parts = {
        "angles": (TORUS, Points(TORUS, ANGLES, SPREAD), (2,), "geodesic"),
        "turns": (SPACE, Points(SPACE, TURNS, 0.3), (3, 3), "geodesic_flow"),
        "positions": (None, exact.Gaussian(1.0, 0.3), (4, 3), "ddpm"),
    }

    def of(names):
        solvers = {name: parts[name][3] for name in names}
        return run(
            make_plan(solvers, grid=grid(7)),
            Independent({name: parts[name][1] for name in names}),
            seeds=range(5),
            shape={name: parts[name][2] for name in names},
            process={name: parts[name][0] for name in names if parts[name][0] is not None},
        )

    together = of(parts)
    for name in parts:
        assert torch.equal(of([name])[name], together[name])


@pytest.mark.parametrize("name", NAMES)
def test_kernels_of_manifolds_say_what_they_move(name):
    assert tuple(kernels[name].processes) == ("torus", "rotations")
    assert not kernels[name].exact
    assert kernels[name].summary.endswith(".")
    tokens = torch.full((1, 2), 3)
    with pytest.raises(PerrinError, match=f"solver '{name}' is for torus and rotations states"):
        run(
            make_plan(name, grid=grid(4)),
            lambda x, level, condition=None: Prediction(torch.full((1, 2, 3), 1 / 3)),
            seeds=[1],
            start=tokens,
            process=masked(3),
        )
    with pytest.raises(PerrinError, match=r"solvers of those: .*geodesic"):
        run(make_plan("ddim", vp(), steps=3), row_wise, seeds=[1], shape=(2,), process=TORUS)

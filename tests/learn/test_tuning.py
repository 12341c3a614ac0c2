"""Tables with all their history, their derivatives, robust least squares, and plans fitted to a denoiser."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from tests.sample.measure import gaussian_flow

from perrin.denoise import exact, wrap
from perrin.denoise.prediction import Prediction
from perrin.errors import PerrinError
from perrin.guide import ClassifierFree
from perrin.learn import tune
from perrin.learn.history_table import HistoryTable
from perrin.learn.least_squares import minimise, robust
from perrin.learn.matching import Match
from perrin.learn.reference import solve
from perrin.learn.rollout import linearise, rollout
from perrin.process import levels, vp
from perrin.registry import nets, rules
from perrin.sample import Plan, make_plan, run
from perrin.sample.linting import point_mass

FITTED = [n for n in rules if not rules[n].stochastic and rules[n].exact_on_point_mass]
WIDE = {"grid": "logsnr", "steps": 4}


def mixture(std=0.3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return exact.Mixture(torch.randn(5, 3, generator=generator, dtype=torch.float64), std)


def noise(count, *shape, seed=1):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shaken(table, size=0.05, seed=2):
    v = table.vector()
    return table.replaced(v + size * noise(len(v), seed=seed))


@pytest.mark.parametrize("grid", ["time", "karras"])
@pytest.mark.parametrize("rule", FITTED)
def test_a_rules_plan_and_its_table_with_history_give_the_same_samples(rule, grid):
    plan = make_plan(rule, vp(), steps=4, grid=grid)
    table, x = HistoryTable.of(plan), noise(6, 3)
    wanted = run(plan, mixture(), seeds=range(6), start=x)
    assert rollout(table, mixture(), x) == pytest.approx(wanted, abs=1e-10)
    again = table.replaced(table.vector()).plan()
    assert again.nfe == plan.nfe
    assert run(again, mixture(), seeds=range(6), start=x) == pytest.approx(wanted, abs=1e-10)
    again.check()


@pytest.mark.parametrize("end", [math.inf, 8.0])
def test_whatever_the_parameters_a_point_mass_keeps_the_signal_of_its_level_and_ends_where_it_should(end):
    plan = make_plan("dpmpp_3m", grid=[-10.0, -3.0, -1.0, 0.5, 3.0, end])
    table = shaken(HistoryTable.of(plan), 0.3)
    states, at = point_mass(table.plan()), table.plan().base_levels
    for state, level in zip(states, at, strict=True):
        assert float(state[0, 0]) == pytest.approx(float(levels.alpha(level)), abs=1e-12)
    noise_of = [float(state[0, 1:].norm()) for state in states]
    assert noise_of[-1] == pytest.approx(float(levels.sigma(end)), abs=1e-12)
    assert abs(noise_of[2] - float(levels.sigma(at[2]))) > 1e-3  # in between it is the fit's to choose


def test_a_share_of_the_start_may_vanish():
    table = HistoryTable.of(make_plan("dpmpp_2m", vp(), steps=4))
    table, x = (
        table.replaced(torch.cat([table.told, torch.tensor([0.5, 0.0, -0.1]), table.vector()[7:]])),
        noise(6, 3),
    )
    plan = table.plan()
    plan.check()
    assert run(plan, mixture(), seeds=range(6), start=x) == pytest.approx(
        rollout(table, mixture(), x), abs=1e-12
    )


def test_a_plan_that_tells_another_level_or_noise_than_its_states_have_says_that_it_is_not_exact():
    table = HistoryTable.of(make_plan("ddim", vp(), steps=3))
    assert table.plan().exact
    for place in (0, 3):  # the first level told, the first share
        v = table.vector()
        v[place] += 0.1
        moved = table.replaced(v).plan()
        assert not moved.exact
        assert moved.levels[0] == table.start
        moved.check()


@pytest.mark.parametrize("end", [math.inf, 8.0])
def test_derivatives_are_those_of_finite_differences(end):
    plan = make_plan("unipc_2", grid=[-6.0, -2.0, 0.5, 3.0, end])
    table, x = shaken(HistoryTable.of(plan)), noise(6, 3)
    result, slopes = linearise(table, mixture(), x, tangents_at_once=3)
    assert result == pytest.approx(rollout(table, mixture(), x), abs=1e-12)
    v, h = table.vector(), 1e-6
    assert slopes.shape == (len(v), 6, 3)
    for i in range(len(v)):
        step = torch.zeros_like(v)
        step[i] = h
        up, down = (rollout(table.replaced(v + s * step), mixture(), x) for s in (1, -1))
        assert slopes[i] == pytest.approx((up - down) / (2 * h), abs=1e-6)


def test_derivatives_go_through_a_network():
    torch.manual_seed(0)
    net = nets["unet"]((1, 8, 8), classes=3, channels=8, multipliers=[1, 2], blocks=1, attention=1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    denoiser = wrap(net.double(), "edm")
    table, x = HistoryTable.of(make_plan("dpmpp_2m", grid=[-3.0, 0.0, 2.0, math.inf])), noise(2, 1, 8, 8)
    condition = {"label": torch.tensor([0, 2])}
    _, slopes = linearise(table, denoiser, x, condition)
    v = table.vector()
    for i in range(len(v)):
        step = torch.zeros_like(v)
        step[i] = 1e-3
        up, down = (rollout(table.replaced(v + s * step), denoiser, x, condition) for s in (1, -1))
        assert slopes[i] == pytest.approx((up - down) / 2e-3, abs=1e-4)


class Line:
    """Points on the line 2 a - 1, a tenth of them far away."""

    def __init__(self):
        self.a = torch.linspace(-1, 1, 40, dtype=torch.float64)
        self.y = 2 * self.a - 1 + 0.001 * noise(40, seed=5)
        self.y[::10] += 3.0

    def residual(self, v):
        return v[0] * self.a + v[1] - self.y

    def errors(self, v):
        return self.residual(v).square()

    def normal(self, v, c):
        slopes, r = torch.stack([self.a, torch.ones_like(self.a)]), self.residual(v)
        w = 1 / (c + r.square())
        return (slopes * w) @ slopes.T, (slopes * w) @ r, r.square()


def test_least_squares_are_robust_where_the_tail_is_short():
    origin = torch.zeros(2, dtype=torch.float64)
    found, _ = minimise(Line(), origin, stages=((10.0, 10), (1.0, 10), (0.1, 10), (1e-3, 20)))
    assert found == pytest.approx(torch.tensor([2.0, -1.0], dtype=torch.float64), abs=2e-3)
    plain = torch.linalg.lstsq(torch.stack([Line().a, torch.ones(40)], 1).double(), Line().y).solution
    assert abs(float(plain[1]) + 1) > 0.2  # the far points draw a plain fit away
    wide, _ = minimise(Line(), origin, stages=((1e6, 20),))
    assert wide == pytest.approx(plain, abs=1e-4)


class Valley:
    """Rosenbrock's valley as residuals, forbidden beyond a wall."""

    wall = 3.0

    def errors(self, v):
        if float(v.abs().max()) > self.wall:
            return torch.full((2,), math.inf, dtype=torch.float64)
        return torch.stack([10 * (v[1] - v[0] ** 2), 1 - v[0]]).square()

    def normal(self, v, c):
        r = torch.stack([10 * (v[1] - v[0] ** 2), 1 - v[0]])
        slopes = torch.tensor([[-20 * float(v[0]), -1.0], [10.0, 0.0]], dtype=torch.float64)
        w = 1 / (c + r.square())
        return (slopes * w) @ slopes.T, (slopes * w) @ r, r.square()


def test_damping_never_lets_the_loss_rise_and_crosses_a_curved_valley():
    seen = []
    start = torch.tensor([-1.9, 2.0], dtype=torch.float64)
    found, _ = minimise(
        Valley(), start, stages=((1e6, 200),), told=lambda squares: seen.append(squares.sum())
    )
    assert found == pytest.approx(torch.ones(2, dtype=torch.float64), abs=1e-2)
    assert all(after <= before for before, after in pairwise(seen))


@pytest.mark.parametrize("start", [-8.0, -math.inf])
def test_the_reference_is_the_exact_flow(start):
    x = noise(20, 4)
    denoiser = exact.Gaussian(0.7, 0.3)
    found, evaluations = solve(
        denoiser, x, None, levels=(start, math.inf), finest=12.0, tolerance=1e-4, chunk=7
    )
    truth = gaussian_flow(x, *(torch.tensor(v, dtype=torch.float64) for v in (start, math.inf, 0.7, 0.3)))
    assert float((found - truth).square().mean().sqrt()) < 1e-3
    assert evaluations >= 128


def test_a_reference_that_does_not_settle_is_refused(monkeypatch):
    monkeypatch.setattr("perrin.learn.reference.LAST", 256)

    def rough(x, level, condition=None):
        return Prediction(torch.sin(1e4 * x))

    with pytest.raises(PerrinError, match="reference does not converge"):
        tune(make_plan("ddim", vp(), **WIDE), rough, shape=(2,), seeds=8, tolerance=1e-6)


def errors(plan, denoiser, count=400):
    x = noise(count, 3, seed=99)
    truth = run(make_plan("unipc_3", vp(), steps=200), denoiser, seeds=range(count), start=x)
    return (run(plan, denoiser, seeds=range(count), start=x) - truth).square().mean(1).sqrt()


@pytest.fixture(scope="module")
def tuned():
    plan = make_plan("dpmpp_2m", vp(), **WIDE)
    facts = {"model": "abc", "guidance": 1.5}  # of a denoiser that is guided already
    return plan, tune(plan, mixture(), shape=(3,), seeds=64, starts=2, facts=facts)


def test_a_fitted_plan_is_far_better_on_seeds_that_it_has_not_seen(tuned):
    plan, better = tuned
    before, after = errors(plan, mixture()), errors(better, mixture())
    assert float(after.median()) < float(before.median()) / 5
    assert float(after.square().mean()) < float(before.square().mean()) / 4
    assert better.nfe == plan.nfe


def test_it_says_what_it_was_fitted_to_and_keeps_that_in_its_file(tuned, tmp_path):
    plan, better = tuned
    assert better.fitted["guidance"] == 1.5
    assert better.fitted["model"] == "abc"
    assert better.fitted["seeds"] == 64
    assert better.fitted["median"][1] < better.fitted["median"][0]
    better.save(tmp_path / "plan.json")
    again = Plan.load(tmp_path / "plan.json")
    assert again.to_json() == better.to_json()
    assert Plan.from_recipe(better.recipe()).to_json() == better.to_json()
    assert plan.fitted is None
    with pytest.raises(PerrinError, match="fitted from level -10"):
        better.starting_at(0.0)


def test_chunks_change_nothing_but_rounding():
    table, x = HistoryTable.of(make_plan("dpmpp_2m", vp(), **WIDE)), noise(20, 3)
    whole = Match(table, mixture(), x, noise(20, 3, seed=3), None, 12.4, 20)
    parts = replace(whole, chunk=7)
    for one, other in zip(whole.normal(table.vector(), 0.1), parts.normal(table.vector(), 0.1), strict=True):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-9)
    assert whole.errors(table.vector()) == pytest.approx(parts.errors(table.vector()), rel=1e-9)


def test_a_step_past_the_last_level_that_may_be_told_stops_there():
    table, x = HistoryTable.of(make_plan("dpmpp_2m", vp(), **WIDE)), noise(20, 3)
    match, v = (
        Match(table, mixture(), x, noise(20, 3, seed=3), None, float(table.told[-1]), 20),
        table.vector(),
    )
    past = v.clone()
    past[0], past[3] = v[0] - 1, v[3] + 1
    assert torch.equal(match.errors(past), match.errors(v))
    past[2] = v[3] + 1
    assert bool(match.errors(past).isinf().all())  # two at the last level do not rise


def test_the_normal_equations_carry_the_gradient_of_the_robust_loss():
    table, x, c, h = HistoryTable.of(make_plan("dpmpp_2m", vp(), **WIDE)), noise(20, 3), 0.05, 1e-6
    table = shaken(table)
    match, v = Match(table, mixture(), x, noise(20, 3, seed=3), None, 20.0, 20), table.vector()
    hessian, gradient, squares = match.normal(v, c)
    assert squares == pytest.approx(match.errors(v), rel=1e-12)
    for i in range(len(v)):
        step = torch.zeros_like(v)
        step[i] = h
        slope = (robust(match.errors(v + step), c) - robust(match.errors(v - step), c)) / (2 * h)
        # the mean over 20 seeds of log(1 + e^2/c), e^2 a mean over 3 entries
        assert float(gradient[i]) == pytest.approx(slope * 20 * 3 / 2, rel=1e-4, abs=1e-5)
    _, slopes = linearise(table, mixture(), x)
    weighed = slopes / (c + squares)[:, None]
    assert hessian == pytest.approx(torch.einsum("pbi,qbi->pq", weighed, slopes), rel=1e-9)


def test_unseen_seeds_choose_among_the_polished_plans(monkeypatch):
    good = HistoryTable.of(make_plan("dpmpp_2m", vp(), steps=4, grid="karras"))
    v = good.vector()
    polished = [v + by * torch.eye(len(v), dtype=v.dtype)[5] for by in (0.5, 0.0, 1.0)]  # of the second share
    monkeypatch.setattr("perrin.learn.tuning._search", lambda *_: polished)
    found = tune(make_plan("dpmpp_2m", vp(), **WIDE), mixture(), shape=(3,), seeds=16)
    assert HistoryTable.of(found).shares == pytest.approx(good.shares)


def test_a_fit_that_unseen_seeds_do_not_confirm_keeps_the_start():
    plan = make_plan("ddim", vp(), steps=3)
    point = exact.Gaussian(0.4, 0.0)  # every plan is exact on it
    assert tune(plan, point, shape=(2,), seeds=8, starts=2) is plan


def conditional(x, level, condition=None):
    label = torch.full((len(x),), -1) if condition is None else condition["label"]
    shift = label.clamp(min=0).to(x.dtype).reshape(-1, 1)
    found = exact.Gaussian(0.0, 0.5)(x - levels.alpha(level).reshape(-1, 1) * shift, level).mean
    return Prediction(found + shift)


def test_guidance_and_conditions_are_part_of_the_fit():
    plan = make_plan("dpmpp_2m", vp(), steps=3)
    found = tune(
        plan,
        conditional,
        shape=(2,),
        seeds=16,
        starts=2,
        condition={"label": torch.tensor([1, 2])},
        guidance=2.0,
    )
    assert found.fitted["guidance"] == 2.0
    # conditional 1, unconditional 0: twice the label is where guidance 2 leads
    x, label = noise(40, 2), torch.arange(40) % 2 + 1
    guided = ClassifierFree(conditional, 2.0)
    fine = run(
        make_plan("unipc_3", vp(), steps=300), guided, seeds=range(40), start=x, condition={"label": label}
    )
    few = run(found, guided, seeds=range(40), start=x, condition={"label": label})
    start = run(plan, guided, seeds=range(40), start=x, condition={"label": label})
    assert float((few - fine).square().mean()) < float((start - fine).square().mean()) / 4


@pytest.mark.parametrize(
    ("plan", "options", "says"),
    [
        (("ddpm", {}), {}, "draws noise"),
        (("ddim", {}), {"seeds": 1}, "seeds = 1"),
        (("ddim", {}), {"starts": 0}, "starts = 0"),
        (("ddim", {}), {"chunk": 0}, "chunk = 0"),
        (("ddim", {}), {"iterations": -1}, "iterations = -1"),
    ],
)
def test_what_cannot_be_fitted_is_refused(plan, options, says):
    with pytest.raises(PerrinError, match=says):
        tune(make_plan(plan[0], vp(), steps=3), mixture(), shape=(3,), **{"seeds": 8, **options})


def test_a_chunk_that_memory_cannot_hold_names_the_one_that_fits():
    whole = mixture()

    def limited(x, level, condition=None):
        if len(x) > 10:
            raise MemoryError
        return whole(x, level)

    with pytest.raises(PerrinError, match=r"chunk = 64; chunk = 8 fits"):
        tune(make_plan("ddim", vp(), steps=3), limited, shape=(3,), seeds=64, chunk=64)
    found = tune(make_plan("ddim", vp(), steps=3), limited, shape=(3,), seeds=16, starts=1)
    assert found.fitted["median"][1] < found.fitted["median"][0]

"""The loop: starts mid-way, traces, cancels, refuses; precision that the network cannot spoil."""

from __future__ import annotations

import math

import pytest
import torch
from tests.sample.measure import line

from perrin.denoise import Prediction, exact, wrap
from perrin.errors import PerrinError
from perrin.process import cosine, gaussian, levels, vp
from perrin.registry import parameterisations, rules
from perrin.sample import Cancelled, Trace, make_plan, run

INF = math.inf
DENOISER = exact.Mixture(torch.tensor([[-0.8, 0.2, 0.1], [0.5, 1.0, -0.4]]), 0.2)


@pytest.mark.parametrize("rule", rules)
def test_a_start_mid_way_is_a_fresh_run_on_the_sub_grid(rule):
    """No history of the levels above it: the table from there on is the one of a plan made for the rest."""
    plan = make_plan(rule, vp(), steps=9)
    level = plan.grid[4]
    rest = plan.starting_at(level)
    fresh = make_plan(rule, grid=plan.grid[4:])
    rest.check()
    assert rest.grid == fresh.grid
    x = gaussian.marginal(torch.ones(2, 3), torch.full((2,), level, dtype=torch.float64), torch.randn(2, 3))
    a, b = (run(p, DENOISER, seeds=[1, 2], start=x) for p in (rest, fresh))
    assert torch.equal(a, b)
    assert torch.equal(x, x.clone())


def test_a_start_between_two_levels_begins_there():
    plan = make_plan("dpmpp_2m", grid=[-4.0, 0.0, 4.0, INF])
    assert plan.starting_at(1.5).grid == (1.5, 4.0, INF)
    with pytest.raises(PerrinError, match="cannot start"):
        make_plan("ddim", grid=[-4.0, 4.0]).starting_at(4.0)


def test_options_stay_with_a_plan_that_starts_mid_way():
    plan = make_plan("edm_heun", vp(), steps=8, churn=0.0).starting_at(0.0)
    assert plan.options == {"churn": 0.0}
    assert not plan.stochastic


@pytest.mark.parametrize("rule", rules)
def test_a_trace_records_states_means_and_levels_of_every_tick(rule):
    plan, trace = make_plan(rule, vp(), steps=5), Trace()
    x = run(plan, DENOISER, seeds=[1, 2], shape=(3,), trace=trace)
    assert len(trace.ticks) == len(plan.rows)
    assert torch.equal(trace.states[-1], x)
    assert len(trace.means) == plan.nfe
    assert trace.levels == list(plan.base_levels[1:])
    assert trace.levels[-1] == INF
    assert torch.equal(run(plan, DENOISER, seeds=[1, 2], shape=(3,)), x)  # looking changes nothing
    state = trace.states[0]
    assert state.shape == (2, 3)


def test_the_trace_of_a_mixed_batch_says_who_took_part():
    plans = [make_plan("ddim", vp(), steps=2), make_plan("ddim", vp(), steps=4)]
    trace = Trace()
    run(plans, DENOISER, seeds=[1, 2], shape=(3,), trace=trace)
    assert [tick.items for tick in trace.ticks] == [(0, 1), (0, 1), (1,), (1,)]
    assert trace.ticks[1].levels[0] == INF


def test_a_callback_cancels_and_sees_every_tick():
    plan, seen = make_plan("heun", vp(), steps=6), []

    def stop_at_third(tick):
        seen.append(tick.count)
        return tick.count < 3

    with pytest.raises(Cancelled) as caught:
        run(plan, DENOISER, seeds=[1], shape=(3,), callback=stop_at_third)
    assert seen == [1, 2, 3]
    assert caught.value.tick.count == 3
    seen.clear()
    run(plan, DENOISER, seeds=[1], shape=(3,), callback=lambda tick: seen.append(tick.count))  # None goes on
    assert len(seen) == len(plan.rows)


def test_conditions_go_along_with_their_samples():
    told = []

    def spy(x, level, condition=None):
        told.append(condition["label"].tolist())
        return exact.Gaussian()(x, level)

    plans = [make_plan("ddim", vp(), steps=n) for n in (1, 3, 2)]
    run(plans, spy, seeds=[1, 2, 3], shape=(2,), condition={"label": torch.tensor([7, 8, 9])})
    assert told == [[7, 8, 9], [8, 9], [8]]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": [], "shape": (2,)}, "at least one seed"),
        ({"seeds": [1, 2]}, "shape"),
        ({"seeds": [1, 2], "start": torch.zeros(3, 2)}, "3 states for 2 seeds"),
        ({"seeds": [1, 2], "shape": (2,), "condition": {"label": torch.zeros(5)}}, "label"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_in_one_line(wrong, words):
    with pytest.raises(PerrinError, match=words) as caught:
        run(make_plan("ddim", vp(), steps=2), DENOISER, **wrong)
    assert "\n" not in str(caught.value)
    with pytest.raises(PerrinError, match="1 plans for 2 seeds"):
        run([make_plan("ddim", vp(), steps=2)], DENOISER, seeds=[1, 2], shape=(2,))


def test_the_level_is_told_to_every_sample_in_float64():
    seen = []

    def spy(x, level, condition=None):
        seen.append((level.dtype, level.shape, x.dtype))
        return exact.Gaussian()(x, level)

    run(make_plan("heun", vp(), steps=3), spy, seeds=[1, 2], shape=(2,))
    assert set(seen) == {(torch.float64, (2,), torch.float32)}


def test_a_start_in_float64_stays_in_float64_and_is_not_changed():
    start = torch.randn(2, 3, dtype=torch.float64)
    kept = start.clone()
    plan = make_plan("dpmpp_sde", vp(), steps=4)
    assert run(plan, DENOISER, seeds=[1, 2], start=start).dtype == torch.float64
    assert torch.equal(start, kept)


def test_no_gradients_are_kept():
    net = torch.nn.Linear(3, 3)
    denoiser = wrap(lambda x, time, condition: net(x), "v")
    assert not run(make_plan("ddim", vp(), steps=2), denoiser, seeds=[1], shape=(3,)).requires_grad


@pytest.mark.parametrize("rule", rules)
def test_coefficients_do_not_depend_on_the_precision_of_the_network(rule):
    """A network that answers in bfloat16 with a number that bfloat16 holds exactly: the path is as exact as before."""
    told = []

    def half(x, time, condition):
        return torch.ones_like(x, dtype=torch.bfloat16)

    wrapped = wrap(half, "clean")

    def spy(x, level, condition=None):
        told.append((level, x))
        return wrapped(x, level, condition)

    plan = make_plan(rule, vp(), steps=8)
    out = run(plan, spy, seeds=range(4), shape=(64,))
    point = run(plan, exact.Gaussian(1.0, 0.0), seeds=range(4), shape=(64,), dtype=torch.float64)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double(), point, rtol=2e-6, atol=2e-6)
    for level, x in told if rules[rule].exact_on_point_mass else []:
        noise = (x - levels.alpha(level)[:, None].float()) / levels.sigma(level)[:, None].float()
        assert float(noise.std()) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("rule", rules)
def test_float32_states_follow_float64_ones_to_rounding(rule):
    plan = make_plan(rule, vp(), steps=30)
    x = [run(plan, DENOISER, seeds=range(8), shape=(3,), dtype=d) for d in (torch.float32, torch.float64)]
    torch.testing.assert_close(x[0].double(), x[1], rtol=0, atol=2e-4)


@pytest.mark.parametrize("name", parameterisations)
def test_a_start_at_zero_snr_works_or_is_refused_clearly(name):
    """At level -inf clean, v, flow and edm networks are finite; noise and score say nothing there."""

    def net(x, time, condition):
        assert bool(torch.isfinite(time).all())
        assert bool(torch.isfinite(x).all())
        return 0.1 * x

    denoiser = wrap(net, name)
    plan = make_plan("dpmpp_2m", cosine(), steps=5, grid="time")
    assert plan.levels[0] == -INF
    if denoiser.parameterisation.needs_signal:
        with pytest.raises(PerrinError, match="zero SNR") as caught:
            run(plan, denoiser, seeds=[1], shape=(4,))
        assert "\n" not in str(caught.value)
        x = run(make_plan("dpmpp_2m", cosine(), steps=5), denoiser, seeds=[1], shape=(4,))
    else:
        x = run(plan, denoiser, seeds=[1], shape=(4,))
        assert bool(torch.isfinite(denoiser(torch.randn(2, 4), torch.full((2,), -INF)).mean).all())
    assert bool(torch.isfinite(x).all())


@pytest.mark.parametrize("rule", rules)
def test_every_rule_starts_from_pure_noise_without_nan(rule):
    # a scheme that is not exact on a point mass needs levels so near that little noise is left over
    steps = 6 if rules[rule].exact_on_point_mass else 60
    plan = make_plan(rule, grid=[-INF, *line(-8.0, 10.0, steps), INF])
    x = run(plan, DENOISER, seeds=range(4), shape=(3,))
    assert bool(torch.isfinite(x).all())
    assert float(x.abs().max()) < 3


def test_the_raw_noise_of_a_prediction_is_what_noise_rules_step_with():
    """ab_k and deis_k use E when a wrapper gives one; rules that predict the clean state do not."""

    def raw(x, level, condition=None):
        return Prediction(torch.ones_like(x), noise=torch.zeros_like(x))

    def derived(x, level, condition=None):
        return Prediction(torch.ones_like(x))

    for rule in rules:
        plan = make_plan(rule, grid=[-2.0, 0.0, 2.0, 4.0, INF])
        a, b = (run(plan, d, seeds=[1], shape=(3,)) for d in (raw, derived))
        assert torch.equal(a, b) is not rules[rule].raw_noise or torch.allclose(a, b)

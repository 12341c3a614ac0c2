"""States with several leaves: each moves as it would alone, masks are three facts, padding and batches change nothing."""

from __future__ import annotations

import math

import pytest
import torch

from perrin.denoise import Prediction, exact
from perrin.denoise.product import Independent
from perrin.errors import PerrinError
from perrin.learn.denoising import Denoising
from perrin.learn.laws import clocked, lognormal, uniform_level
from perrin.learn.weighting import bound, edm
from perrin.process import masked, uniform, vp
from perrin.process.product import Clock, Product
from perrin.process.state import Masks
from perrin.process.subspace import centred
from perrin.sample import Plan, Trace, make_plan, run

K, L = 3, 2
LEVELS = [-math.inf, -4.0, -2.0, -0.5, 1.0, 3.0, 6.0, math.inf]
PROBABILITIES = torch.tensor([[0.5, 0.1, 0.4], [0.2, 0.7, 0.1]], dtype=torch.float64)
SEQUENCES = exact.Sequences(
    masked(K),
    torch.cartesian_prod(torch.arange(K), torch.arange(K)),
    (PROBABILITIES[0][:, None] * PROBABILITIES[1]).flatten(),
)
GAUSSIAN = exact.Gaussian(0.4, 0.3)
SHAPE = {"a": (4,), "t": (L,)}
SEEDS = list(range(32))


def alone(leaf, denoiser, solver, clock, process=None, **options):
    """The leaf by itself, on the levels of its clock and with the noise that has its name."""
    plan = make_plan({leaf: solver}, grid=[clock(v) for v in LEVELS], **options)
    shape = {leaf: SHAPE[leaf]}
    parts = Independent({leaf: denoiser})
    return run(plan, parts, seeds=SEEDS, shape=shape, process=process, dtype=torch.float64)[leaf]


@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m", "dpmpp_2m_sde", "heun", "dpm_2", "ddpm"])
@pytest.mark.parametrize("kernel", ["ancestral", "confidence", "tau_leaping"])
@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_independent_leaves_move_as_they_do_apart(solver, kernel, shift):
    """Numbers to the bit, tokens too: whatever solver the other leaf has, and at its own levels."""
    process = Product({"t": masked(K)}, {"t": Clock(1.0, shift)})
    both = Independent({"a": GAUSSIAN, "t": SEQUENCES}, process)
    plan = make_plan({"a": solver, "t": kernel}, grid=LEVELS, clocks=process.clocks)
    plan.check()
    x = run(plan, both, seeds=SEEDS, shape=SHAPE, process=process, dtype=torch.float64)
    assert torch.equal(x["a"], alone("a", GAUSSIAN, solver, Clock()))
    if solver not in ("heun", "dpm_2"):  # whose evaluations within a step give tokens further steps
        apart = alone("t", SEQUENCES, kernel, process.clock("t"), {"t": masked(K)})
        assert torch.equal(x["t"], apart)
    assert int(x["t"].min()) >= 0
    assert int(x["t"].max()) < K


def test_a_clock_of_a_gaussian_leaf_is_a_scale_of_its_data():
    """Shift s: the same as data e^(s/2) times as large, on the state's own clock."""
    shift = 1.2
    process = Product({}, {"a": Clock(1.0, shift)})
    plan = make_plan({"a": "dpmpp_2m"}, grid=LEVELS, clocks=process.clocks)
    x = run(
        plan,
        Independent({"a": GAUSSIAN}, process),
        seeds=SEEDS,
        shape={"a": (4,)},
        process=process,
        dtype=torch.float64,
    )
    assert torch.equal(x["a"], alone("a", GAUSSIAN, "dpmpp_2m", Clock(1.0, shift)))
    large = exact.Gaussian(0.4 * math.exp(shift / 2), 0.3 * math.exp(shift / 2))
    y = alone("a", large, "ddim", Clock()) / math.exp(shift / 2)
    z = alone("a", GAUSSIAN, "ddim", Clock(1.0, shift))
    torch.testing.assert_close(y, z, rtol=0, atol=1e-9)


def test_a_slope_reaches_the_law_of_the_data():
    process = Product({}, {"a": Clock(1.7, -0.4)})
    plan = make_plan({"a": "dpmpp_2m"}, vp(), steps=40, clocks=process.clocks)
    shape = {"a": (2000,)}
    x = run(
        plan,
        Independent({"a": GAUSSIAN}, process),
        seeds=[0, 1],
        shape=shape,
        process=process,
        dtype=torch.float64,
    )
    assert abs(float(x["a"].mean()) - 0.4) < 0.03
    assert abs(float(x["a"].std()) - 0.3) < 0.02


def test_dependent_leaves_keep_their_joint_law():
    """One of two modes: the number tells which, and so does the token."""

    class Modes:
        """x_a is +-1, and the token is its sign."""

        def __call__(self, x, level, condition=None):
            from perrin.process import levels

            alpha, sigma = levels.alpha(level)[:, None], levels.sigma(level)[:, None]
            logit = 2 * alpha * x["a"] / sigma**2
            known = torch.where(x["t"] == 1, 60.0, -60.0)
            logit = torch.where(x["t"] < 2, known, logit).clamp(-60, 60)
            p = torch.sigmoid(logit)
            return Prediction({"a": 2 * p - 1, "t": torch.stack([1 - p, p], -1)})

    plan = make_plan({"a": "ddpm", "t": "ancestral"}, vp(), steps=60)
    x = run(
        plan,
        Modes(),
        seeds=range(2000),
        shape={"a": (1,), "t": (1,)},
        process={"t": masked(2)},
        dtype=torch.float64,
    )
    assert bool(((x["a"] > 0).long() == x["t"]).all())
    assert abs(float(x["t"].double().mean()) - 0.5) < 5 * 0.5 / math.sqrt(2000)


MASKED = {"a": masked(K)}
VALID = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])


def positions(x, level, condition=None):
    """Row by row and item by item: every point is drawn towards a place of its own."""

    place = torch.arange(1, x["p"].shape[1] + 1, dtype=x["p"].dtype)[None, :, None]
    there = (x["t"] >= 0)[..., None]
    mean = torch.where(there, 0.5 * torch.tanh(x["p"]) + 0.1 * torch.sin(place), 0.0)
    probabilities = torch.softmax(torch.stack([x["p"].sum(-1) * c for c in range(K)], -1), -1)
    return Prediction({"p": mean, "t": probabilities})


@pytest.mark.parametrize("solver", ["dpmpp_2m_sde", "ddim", "heun"])
@pytest.mark.parametrize("process", [{"p": centred(), "t": masked(K)}, {"t": uniform(K)}])
def test_padding_never_changes_an_item(solver, process):
    """Alone with three places = beside a longer one, to the bit; absent places are empty."""
    plan = make_plan({"p": solver, "t": "ancestral"}, vp(), steps=9)

    def draw(valid, seeds):
        masks = Masks(valid={"p": valid, "t": valid})
        n = valid.shape[1]
        return run(
            plan,
            positions,
            seeds=seeds,
            shape={"p": (n, 3), "t": (n,)},
            process=process,
            masks=masks,
            dtype=torch.float64,
        )

    both = draw(VALID, [7, 8])
    short = draw(VALID[1:, :3], [8])
    torch.testing.assert_close(both["p"][1:, :3], short["p"], rtol=0, atol=1e-12)
    assert torch.equal(both["t"][1:, :3], short["t"])
    assert bool((both["p"][1, 3:] == 0).all())
    assert bool((both["t"][1, 3:] == -1).all())


@pytest.mark.parametrize("solver", ["dpmpp_2m_sde", "ddpm", "heun"])
def test_what_is_observed_never_changes(solver):
    plan = make_plan({"p": solver, "t": "ancestral"}, vp(), steps=7)
    observed = torch.zeros(2, 5, dtype=torch.bool)
    observed[0, :2] = True
    known = {"p": torch.randn(2, 5, 3, dtype=torch.float64), "t": torch.full((2, 5), 2)}
    trace = Trace()
    x = run(
        plan,
        positions,
        seeds=[1, 2],
        shape={"p": (5, 3), "t": (5,)},
        process={"p": centred(), "t": masked(K)},
        masks=Masks({"p": VALID, "t": VALID}, {"p": observed, "t": observed}),
        known=known,
        dtype=torch.float64,
        trace=trace,
    )
    for state in [*trace.states, x]:
        assert torch.equal(state["p"][observed], known["p"][observed])
        assert torch.equal(state["t"][observed], known["t"][observed])
    start = run(
        plan,
        positions,
        seeds=[1, 2],
        shape={"p": (5, 3), "t": (5,)},
        process={"p": centred(), "t": masked(K)},
        masks=Masks({"p": VALID, "t": VALID}),
        dtype=torch.float64,
    )
    torch.testing.assert_close(x["p"][1], start["p"][1], rtol=0, atol=0)  # the other item is none the wiser


def test_noise_of_centred_positions_has_no_mean_and_unit_variance_on_the_subspace():
    n, m = 5, 4000
    valid = torch.arange(n) < 4
    masks = Masks(valid=valid.expand(m, n))
    z = centred().project(torch.randn(m, n, 3, dtype=torch.float64), masks)
    assert float(z.sum(1).abs().max()) < 1e-12
    assert bool((z[:, 4] == 0).all())
    covariance = torch.einsum("bic,bjc->ij", z, z)[:4, :4] / (3 * m)
    wanted = torch.eye(4, dtype=torch.float64) - 0.25
    assert float((covariance - wanted).abs().max()) < 5 / math.sqrt(3 * m)


def test_the_objective_is_the_sum_of_its_leaves_and_counts_what_is_learned():
    """Weights by leaf at the leaf's own level; what is absent or observed is neither noised nor counted."""
    process = Product({"t": masked(K)}, {"t": Clock(1.3, 0.7)})
    law = uniform_level(-5.0, 5.0)
    clean = {"a": torch.randn(64, 4, dtype=torch.float64), "t": torch.randint(0, K, (64, L))}
    seeds = torch.arange(64) * 7919
    weight = {"a": edm(0.5), "t": bound(clocked(law, process.clock("t")))}
    both = Independent({"a": GAUSSIAN, "t": SEQUENCES}, process)
    total = Denoising(law, weight, process=process)(both, clean, None, seeds)
    state, level, _ = Denoising(law, weight, process=process).noised(clean, None, seeds)
    mean = GAUSSIAN(state["a"], level).mean
    rate = masked(K).rate(
        state["t"],
        clean["t"],
        SEQUENCES(state["t"], process.clock("t")(level)).log_mean(),
        process.clock("t")(level),
    )
    by_hand = edm(0.5)(level) * (mean - clean["a"]).pow(2).mean(1) + 13.0 * rate.mean(1)
    torch.testing.assert_close(total.value, by_hand, rtol=1e-9, atol=1e-12)

    masks = Masks(
        valid={"a": torch.arange(4).expand(64, 4) < 3}, observed={"a": torch.arange(4).expand(64, 4) < 1}
    )
    x, _, _ = Denoising(law, weight, process=process).noised(clean, None, seeds, masks=masks)
    assert torch.equal(x["a"][:, 0], clean["a"][:, 0])
    assert not torch.equal(x["a"][:, 1], clean["a"][:, 1])
    found = Denoising(law, {"a": edm(0.5), "t": lambda v: 0 * v}, process=process)(
        both, clean, None, seeds, masks=masks
    )
    error = (GAUSSIAN(x["a"], level).mean - clean["a"])[:, 1:3].pow(2).mean(1)
    torch.testing.assert_close(found.value, edm(0.5)(level) * error, rtol=1e-12, atol=0)
    told = Masks(masks.valid, masks.observed, {"a": torch.arange(4).expand(64, 4) == 2})
    found = Denoising(law, {"a": edm(0.5), "t": lambda v: 0 * v}, process=process)(
        both, clean, None, seeds, masks=told
    )
    error = (GAUSSIAN(x["a"], level).mean - clean["a"])[:, 2].pow(2)
    torch.testing.assert_close(found.value, edm(0.5)(level) * error, rtol=1e-12, atol=0)


def test_the_law_of_a_clocked_leaf_has_its_own_density():
    law = clocked(lognormal(), Clock(2.0, -1.0))
    u = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    level = law(u)
    slope = torch.autograd.functional.jacobian(lambda v: law(v).sum(), u)
    torch.testing.assert_close(law.density(level), 1 / slope.abs(), rtol=1e-9, atol=0)


def test_plans_of_products_save_load_and_start_midway(tmp_path):
    plan = make_plan(
        {"a": "ddpm", "t": "blocks"},
        grid=LEVELS,
        options={"t": {"block": 4}},
        clocks={"t": Clock(1.0, 2.0)},
    )
    plan.save(tmp_path / "plan.json")
    again = Plan.load(tmp_path / "plan.json")
    assert again.to_json() == plan.to_json()
    assert Plan.from_recipe(plan.recipe()).to_json() == plan.to_json()
    assert again.rows[3].leap_of("t") == plan.rows[3].leap_of("t")
    assert plan.rows[3].leap_of("t").noisy == LEVELS[3] + 2.0
    assert torch.equal(again.rows[2].table_of("a").matrix, plan.rows[2].table_of("a").matrix)
    rest = plan.starting_at(-2.0)
    assert rest.grid[0] == -2.0
    assert rest.clocks == plan.clocks
    assert plan.stochastic
    assert plan.name == "a: ddpm, t: blocks"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: make_plan({}, grid=LEVELS), "a solver for every leaf"),
        (lambda: make_plan({"a": "ddim", "b": "heun"}, grid=LEVELS), "does not evaluate where the other"),
        (lambda: make_plan({"a": "ddim"}, grid=LEVELS, options={"b": {}}), "options name leaf 'b'"),
        (lambda: make_plan({"a": "ddim", "t": "ancestrl"}, grid=LEVELS), "did you mean"),
        (lambda: Clock(-1.0), "must be positive"),
        (
            lambda: run(
                make_plan("ddim", grid=LEVELS),
                Independent({"a": GAUSSIAN}),
                seeds=[1],
                shape={"a": (4,)},
                process={"b": masked(3)},
            ),
            "names leaf 'b'",
        ),
        (
            lambda: run(
                make_plan({"a": "ddim"}, grid=LEVELS),
                Independent({"a": GAUSSIAN}),
                seeds=[1],
                shape={"a": (4,)},
                masks=Masks(valid={"a": torch.ones(1, 3, dtype=torch.bool)}),
            ),
            "a mask has shape",
        ),
    ],
)
def test_wrong_products_give_one_clear_error(wrong, message):
    with pytest.raises(PerrinError, match=message):
        wrong()


def test_a_plan_is_stochastic_where_any_leaf_draws_noise():
    assert not make_plan({"a": "ddim", "r": "geodesic_flow"}, grid=LEVELS).stochastic
    assert make_plan({"a": "ddim", "r": "geodesic"}, grid=LEVELS).stochastic
    assert make_plan({"a": "ddpm", "r": "geodesic_flow"}, grid=LEVELS).stochastic


@pytest.mark.parametrize("solver", ["dpmpp_2m_sde", "ddim"])
def test_a_run_stays_in_the_subspace_without_a_mean(solver):
    """A denoiser that keeps the mean: every state, the start and fresh noise included, has none."""
    trace = Trace()
    masks = Masks(valid={"p": VALID})
    plan = make_plan({"p": solver}, vp(), steps=8)
    arguments = {"seeds": [3, 4], "shape": {"p": (5, 3)}, "process": {"p": centred()}, "masks": masks}
    run(
        plan,
        lambda x, level, condition=None: Prediction({"p": 0.4 * x["p"]}),
        dtype=torch.float64,
        trace=trace,
        **arguments,
    )
    for state in trace.states:
        assert float(state["p"].sum(1).abs().max()) < 1e-12
        assert float(state["p"].abs().max()) > 1e-4


def test_each_leaf_is_noised_at_its_own_level():
    """Of tokens whose clock is 3 ahead sigmoid(-3) are masked at level 0, of others half."""
    process = Product({"s": masked(K), "t": masked(K)}, {"t": Clock(1.0, 3.0)})
    law = uniform_level(-1e-9, 1e-9)
    clean = {name: torch.zeros(500, 40, dtype=torch.int64) for name in "st"}
    x, _, _ = Denoising(law, edm(), process=process).noised(clean, None, torch.arange(500))
    for name, share in (("s", 0.5), ("t", 1 / (1 + math.exp(3.0)))):
        assert abs(float((x[name] == K).double().mean()) - share) < 5 * math.sqrt(share / 20_000)


def test_observed_positions_say_where_an_item_lies():
    """Its noise keeps its mean; that of an item without any has none."""
    z = torch.randn(2, 5, 3, dtype=torch.float64)
    observed = torch.zeros(2, 5, dtype=torch.bool)
    observed[0, 1] = True
    found = centred().project(z, Masks(VALID, observed))
    assert torch.equal(found[0], z[0])
    assert float(found[1].sum(0).abs().max()) < 1e-12

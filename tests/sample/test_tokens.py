"""Samplers of tokens against enumerated laws, and the promises of every kernel in the registry."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from perrin.denoise import Prediction, exact, wrap
from perrin.denoise.sequences import Sequences
from perrin.errors import PerrinError
from perrin.process import log_linear, masked, uniform, vp
from perrin.process.categorical import ABSENT
from perrin.process.state import Masks
from perrin.registry import processes
from perrin.sample import Cancelled, Plan, Trace, advance, kernels, make_plan, run, start_slots
from perrin.sample.kernel import Jump, draw
from perrin.sample.running import prior

INF = math.inf
K, L = 3, 3
MASKED, UNIFORM = masked(K), uniform(K)
PROCESSES = {"masked": MASKED, "uniform": UNIFORM}
PAIRS = [(name, process) for name in kernels for process in kernels[name].processes if process in PROCESSES]
TOKEN_KERNELS = sorted({name for name, _ in PAIRS})
ALL = torch.tensor(list(itertools.product(range(K), repeat=L)))
LAW = 0.05 + torch.rand(len(ALL), generator=torch.Generator().manual_seed(8), dtype=torch.float64) ** 2
LAW[2] = 1e-3 * float(LAW.sum())  # a rare sequence
LAW = LAW / LAW.sum()


def steps_of(name, steps, process=MASKED, **options):
    """A plan over shares of noise in equal steps, from all noise to none."""
    return make_plan(name, log_linear(), steps=steps, grid="time", **options)


class RowWise(torch.nn.Module):
    """Logits that add up position by position and see no absent one: a row alone is the same row to the bit."""

    timed = False

    def __init__(self, process):
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.table = torch.randn(
            process.states + 1, process.classes, generator=generator, dtype=torch.float64
        )

    def forward(self, x, time, condition):
        total = torch.zeros(len(x), 1, self.table.shape[1], dtype=torch.float64)
        for i in range(x.shape[1]):
            total = total + torch.where(x[:, i : i + 1, None] == ABSENT, 0.0, self.table[x[:, i : i + 1]])
        places = torch.arange(x.shape[1])[:, None] * self.table[0]
        return 0.1 * total + torch.sin(places)


def row_wise(process):
    return wrap(RowWise(process), "logits", process=process)


def frequencies(x):
    place = (x * K ** torch.arange(L - 1, -1, -1)).sum(1)
    return torch.bincount(place, minlength=len(ALL)) / len(x)


def within_three_standard_errors(found, law, count):
    error = (law * (1 - law) / count).sqrt()
    assert bool(((found - law).abs() <= 3 * error).all()), ((found - law) / error).abs().max()
    chi_square = float(((found - law).square() * count / law).sum())
    assert chi_square < len(law) + 3.5 * math.sqrt(2 * len(law))


@pytest.mark.parametrize(
    ("name", "process", "steps", "options"),
    [
        ("ancestral", MASKED, 120, {}),
        ("ancestral", UNIFORM, 120, {}),
        ("remasking", MASKED, 200, {"cap": 0.01}),
        ("tau_leaping", UNIFORM, 120, {}),
    ],
)
def test_samples_of_many_steps_have_the_enumerated_law_a_rare_sequence_included(
    name, process, steps, options
):
    """Three correlated tokens: the frequency of every sequence, one of 1e-3 among them."""
    count = 4000
    plan = steps_of(name, steps, **options)
    x = run(
        plan, Sequences(process, ALL, LAW), seeds=[(1, i) for i in range(count)], shape=(L,), process=process
    )
    assert bool(((x >= 0) & (x < K)).all())
    within_three_standard_errors(frequencies(x), LAW, count)


def propagated(process, plan, cap=0.0):
    """The law [K^L] at the end of a plan's steps, by the product of the positions' transitions: no chance at all."""
    states = torch.tensor(list(itertools.product(range(process.states), repeat=L)))
    law = process.pi[states].prod(1)
    for row in plan.rows:
        noisy, cleaner = (
            torch.full((len(states),), v, dtype=torch.float64) for v in (row.leap.noisy, row.leap.cleaner)
        )
        mean = Sequences(process, ALL, LAW)(states, noisy).mean
        each = process.backward(states, mean, noisy, cleaner)
        if cap:
            a, after = float(torch.sigmoid(noisy[0])), float(torch.sigmoid(cleaner[0]))
            s = min(cap, (1 - after) / a) if a else 0.0
            known = (after - (1 - s) * a) / (1 - a)
            drawn = torch.cat([known * mean, torch.full_like(mean[..., :1], 1 - known)], -1)
            kept = (1 - s) * torch.nn.functional.one_hot(states, K + 1) + s * process.pi
            each = torch.where((states == K)[..., None], drawn, kept)
        table = torch.stack([each[:, i][:, states[:, i]] for i in range(L)]).prod(0)
        law = law @ table
    return law[(states < K).all(1)]


@pytest.mark.parametrize(
    ("name", "process", "cap"),
    [("ancestral", MASKED, 0), ("ancestral", UNIFORM, 0), ("remasking", MASKED, 0.3)],
)
def test_samples_of_few_steps_have_the_law_of_these_steps(name, process, cap):
    count, plan = 5000, steps_of(name, 6, **({"cap": cap} if cap else {}))
    x = run(plan, Sequences(process, ALL, LAW), seeds=range(count), shape=(L,), process=process)
    within_three_standard_errors(frequencies(x), propagated(process, plan, cap), count)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=str)
def test_what_ancestral_steps_lack_goes_away_with_their_number(process):
    """Positions that move together without hearing of each other: an error of first order."""
    errors = [
        float((propagated(process, steps_of("ancestral", n)) - LAW).abs().sum()) for n in (8, 16, 32, 64)
    ]
    assert all(1.8 < a / b < 2.3 for a, b in itertools.pairwise(errors)), errors


def test_blocks_of_one_token_are_ancestral_sampling_from_left_to_right():
    """A step a token, each given all before it: the law is exact, however correlated."""
    count = 5000
    plan = make_plan("blocks", grid=[-INF, *(math.log(k / (L - k)) for k in range(1, L)), INF], block=1)
    x = run(plan, Sequences(MASKED, ALL, LAW), seeds=range(count), shape=(L,), process=MASKED)
    within_three_standard_errors(frequencies(x), LAW, count)


class Given(Jump):
    """A step whose uniforms are those of a lattice in the unit square: probabilities without chance."""

    def uniform(self, stream, lasting=False):
        i = torch.arange(len(self.x), dtype=torch.float64) + 0.5
        golden = (i * (math.sqrt(5) - 1) / 2) % 1
        return ((i / len(i)) if stream == 0 else golden)[:, None]


def table(name, process, law, noisy, cleaner, count=40_000):
    """Transition probabilities [states, states] of one position by one step of a kernel, to about 1e-4."""
    rows = []
    for state in range(process.states):
        x = torch.full((count, 1), state)
        told = Sequences(process, torch.arange(K)[:, None], law)(x[:1], torch.tensor([noisy])).mean
        mean = told.nan_to_num(1 / K).expand(count, 1, K)
        at, after = (torch.full((count,), v, dtype=torch.float64) for v in (noisy, cleaner))
        held, seeds = torch.zeros_like(x, dtype=torch.bool), torch.zeros(count, dtype=torch.int64)
        # begun here: what is waiting now has not been drawn yet
        step = Given(process, x, mean, at, after, at, held, seeds, seeds)
        found = kernels[name].function(step)
        rows.append(torch.bincount(found.flatten(), minlength=process.states).double() / count)
    return torch.stack(rows)


ONE = torch.tensor([0.7, 0.299, 0.001], dtype=torch.float64)


def marginal(process, level):
    a = torch.sigmoid(torch.tensor(level, dtype=torch.float64))
    clean = torch.nn.functional.pad(ONE, (0, process.states - K))
    return a * clean + (1 - a) * process.pi


def through(name, process, levels):
    """The law after steps over `levels` from the right law at the first."""
    law = marginal(process, levels[0])
    for noisy, cleaner in itertools.pairwise(levels):
        law = law @ table(name, process, ONE, noisy, cleaner)
    return law


@pytest.mark.parametrize(
    "levels", [(-INF, INF), (-INF, -1.0, 1.5, INF), (-2.0, 0.5), (-30.0, -0.5, 40.0, INF)]
)
@pytest.mark.parametrize(("name", "process"), [p for p in PAIRS if kernels[p[0]].exact])
def test_one_position_by_itself_is_exact_at_any_step(name, process, levels):
    process = PROCESSES[process]
    found = through(name, process, levels)
    torch.testing.assert_close(found, marginal(process, levels[-1]), rtol=0, atol=5e-4)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=str)
def test_tau_leaping_is_of_first_order(process):
    """Its error on one position, by closed form, halves when the steps double."""
    errors = []
    for steps in (4, 8, 16):
        levels = torch.linspace(-2.0, 3.0, steps + 1).tolist()
        errors.append(float((through("tau_leaping", process, levels) - marginal(process, 3.0)).abs().sum()))
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(0.8 < slope < 1.35 for slope in slopes), (errors, slopes)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=str)
def test_tau_leaping_takes_infinite_ends_from_the_posterior(process):
    found = through("tau_leaping", process, (-INF, INF))
    torch.testing.assert_close(found, marginal(process, INF), rtol=0, atol=5e-4)


def test_the_rarest_tokens_of_a_large_vocabulary_are_drawn_as_often_as_they_should_be():
    """50,000 tokens of 1e-8 behind one of 0.9995: in float32 their weights would vanish in the sum."""
    count = 50_000
    weights = torch.full((1, count + 1), 1e-8)
    weights[0, 0] = 1 - 1e-8 * count
    ends = weights.double().cumsum(-1)[0] / weights.double().sum()
    wanted = torch.randint(1, count, (200,), generator=torch.Generator().manual_seed(0))
    middle = (ends[wanted - 1] + ends[wanted]) / 2
    found = draw(weights.expand(200, -1), middle)
    assert torch.equal(found, wanted)


def test_a_tail_of_many_tokens_has_its_mass_under_run():
    """40 % on 49,999 tokens in float32, and one token of 1e-3."""
    count, n = 50_000, 600
    mean = torch.full((count,), 0.4 / (count - 2))
    mean[7], mean[-1] = 0.6 - 1e-3, 1e-3

    def denoiser(x, level, condition=None):
        return Prediction(mean.expand(*x.shape, count))

    drawn = []
    for part in range(20):
        seeds = range(part * n // 10, (part + 1) * n // 10)
        drawn.append(run(steps_of("ancestral", 1), denoiser, seeds=seeds, shape=(1,), process=masked(count)))
    x = torch.cat(drawn).flatten()
    for hits, p in ((x == 7, 0.599), (x == count - 1, 1e-3), ((x != 7) & (x < count - 1), 0.4)):
        assert abs(int(hits.sum()) - len(x) * p) <= 3 * math.sqrt(len(x) * p * (1 - p))
    assert len(x.unique()) > 0.35 * len(x)


def start_of(process, seeds, lengths):
    """The noise end of items of several lengths, absent behind their ends, some tokens known."""
    start = prior(seeds, (max(lengths),), torch.float32, "cpu", process)
    for row, length in zip(start, lengths, strict=True):
        row[length:] = ABSENT
        row[1] = 2
    return start


def test_an_item_alone_is_the_item_among_strangers_of_other_lengths_plans_and_kernels():
    """Every kernel of the registry, to the bit."""
    for kind, process in PROCESSES.items():
        names = [name for name in kernels if kind in kernels[name].processes]
        plans = [steps_of(name, 3 + i) for i, name in enumerate(names * 2)]
        options = {"block": 2, "order": "margin"}
        plans += (
            [steps_of("blocks", 4, **options), steps_of("remasking", 9, cap=0.5)] if process.masks else []
        )
        seeds = [(3, i) for i in range(len(plans))]
        lengths = [4 + 3 * i % 5 for i in range(len(plans))]
        start, denoiser = start_of(process, seeds, lengths), row_wise(process)
        observed = torch.zeros_like(start, dtype=torch.bool)
        observed[:, 1] = True
        together = run(
            plans, denoiser, seeds=seeds, start=start, process=process, masks=Masks(observed=observed)
        )
        for i, (plan, length) in enumerate(zip(plans, lengths, strict=True)):
            alone = run(
                plan,
                denoiser,
                seeds=seeds[i : i + 1],
                start=start[i : i + 1, :length],
                masks=Masks(observed=observed[i : i + 1, :length]),
                process=process,
            )
            assert torch.equal(alone[0], together[i, :length]), plan.rule
            assert bool((together[i, length:] == ABSENT).all())
            assert bool(((alone >= 0) & (alone < K)).all())


@pytest.mark.parametrize(("name", "process"), PAIRS)
def test_a_prompt_never_changes(name, process):
    process, trace = PROCESSES[process], Trace()
    start = start_of(process, range(40), [9] * 40)
    start[:, :4] = torch.tensor([2, 0, 1, 1])
    observed = torch.zeros_like(start, dtype=torch.bool)
    observed[:, :4] = True
    given = {} if process.masks else {"masks": Masks(observed=observed)}
    x = run(
        steps_of(name, 12),
        row_wise(process),
        seeds=range(40),
        start=start,
        process=process,
        trace=trace,
        **given,
    )
    for state in trace.states:
        assert torch.equal(state[:, :4], start[:, :4])
    assert bool((x[:, 4:] < K).all())
    assert len(x[:, 4:].unique(dim=0)) > 10


def test_an_infill_is_drawn_given_what_stands_around_it():
    """Exact conditionals: the middle token between two that are known."""
    count = 4000
    start = torch.tensor([[0, K, 1]]).expand(count, -1).contiguous()
    right = LAW[[1, 4, 7]] / LAW[[1, 4, 7]].sum()
    for name in ("ancestral", "remasking", "blocks"):
        plan = steps_of(name, 8)
        x = run(plan, Sequences(MASKED, ALL, LAW), seeds=range(count), start=start, process=MASKED)
        found = torch.bincount(x[:, 1], minlength=K) / count
        assert bool(((found - right).abs() <= 3 * (right * (1 - right) / count).sqrt()).all()), name


def test_one_seed_leads_to_like_samples_whatever_the_steps_are():
    """Ancestral sampling of a masked process: every position keeps its time and its uniform."""
    law = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64)

    def independent(x, level, condition=None):
        return Prediction(law.expand(*x.shape, K))

    for denoiser, alike in ((independent, 1.0), (Sequences(MASKED, ALL, LAW), 0.85)):
        found = [
            run(steps_of("ancestral", n), denoiser, seeds=range(300), shape=(L,), process=MASKED)
            for n in (16, 32, 200)
        ]
        for x in found[:2]:
            assert float((x == found[2]).double().mean()) >= alike
    assert len(found[0].unique(dim=0)) > 10


@pytest.mark.parametrize("order", ["confidence", "entropy", "margin", "random"])
@pytest.mark.parametrize("name", ["confidence", "blocks"])
def test_orders_reveal_the_declared_number_in_every_step(name, order):
    plan, trace = steps_of(name, 7, order=order), Trace()
    start = start_of(MASKED, range(20), [23] * 20)
    run(plan, row_wise(MASKED), seeds=range(20), start=start, process=MASKED, trace=trace)
    for level, state in zip(trace.levels, trace.states, strict=True):
        left = round(22 / (1 + math.exp(level))) if level < INF else 0
        assert (state == K).sum(1).tolist() == [left] * 20


@pytest.mark.parametrize("name", ["confidence", "blocks"])
def test_orders_that_begin_midway_reveal_their_share_of_what_is_hidden(name):
    plan, trace = make_plan(name, grid=[0.3, 1.0, 2.5, INF]), Trace()
    start = start_of(MASKED, range(20), [23] * 20)
    run(plan, row_wise(MASKED), seeds=range(20), start=start, process=MASKED, trace=trace)
    for level, state in zip(trace.levels, trace.states, strict=True):
        left = round(22 * (1 + math.exp(0.3)) / (1 + math.exp(level))) if level < INF else 0
        assert (state == K).sum(1).tolist() == [left] * 20


def test_blocks_go_from_left_to_right_even_around_known_tokens():
    plan, trace, block = steps_of("blocks", 11, block=4), Trace(), 4
    start = start_of(MASKED, range(20), [14, 17] * 10)
    run(plan, row_wise(MASKED), seeds=range(20), start=start, process=MASKED, trace=trace)
    drawn = start == K
    for state in trace.states:
        for row, mine in zip(state, drawn, strict=True):
            waiting = (row == K).nonzero().flatten()
            done = (mine & (row != K)).nonzero().flatten()
            if len(waiting) and len(done):
                assert int(done.max()) // block <= int(waiting.min()) // block


@pytest.mark.parametrize(("order", "first"), [("confidence", 2), ("entropy", 1), ("margin", 0)])
def test_without_noise_the_surest_token_goes_first(order, first):
    """Position 0 has the widest margin, position 2 the likeliest token, position 1 the lowest entropy."""
    law = torch.tensor(
        [[0.980, 0.010, 0.010], [0.979, 0.021, 0.0], [0.981, 0.0125, 0.0065]], dtype=torch.float64
    )

    def denoiser(x, level, condition=None):
        return Prediction(law.expand(len(x), 3, K))

    trace = Trace()
    plan = make_plan("confidence", grid=[-INF, math.log(0.5), INF], order=order, noise=0.0)
    run(plan, denoiser, seeds=range(100), shape=(3,), process=MASKED, trace=trace)
    shown = trace.states[0] != K
    assert shown.sum(1).tolist() == [1] * 100
    right = float(shown[:, first].double().mean())  # but where an unlikely token was drawn, by its confidence
    assert right == 1.0 if order != "confidence" else right > 0.9


def test_remasking_draws_known_tokens_again_and_keeps_the_marginal_at_every_level():
    trace, count = Trace(), 3000
    law = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)

    def denoiser(x, level, condition=None):
        known = torch.nn.functional.one_hot(x.clamp(max=K - 1), K).double()
        return Prediction(torch.where((x < K)[..., None], known, law))

    plan = steps_of("remasking", 10, cap=0.4)
    run(plan, denoiser, seeds=range(count), shape=(4,), process=MASKED, trace=trace)
    for level, state in zip(trace.levels, trace.states, strict=True):
        p = 1 / (1 + math.exp(level)) if level < INF else 0.0
        hidden = float((state == K).double().mean())
        assert abs(hidden - p) <= 3.5 * math.sqrt(p * (1 - p) / (4 * count)) + 1e-12
    pairs = list(itertools.pairwise(trace.states))
    assert sum(int(((a < K) & (b == K)).sum()) for a, b in pairs) > count


@pytest.mark.parametrize(("name", "process"), PAIRS)
def test_advance_by_hand_is_run_and_trace_tells_of_it(name, process):
    process, trace = PROCESSES[process], Trace()
    plan, denoiser = steps_of(name, 5), row_wise(process)
    keys = [(4, i) for i in range(6)]
    start = start_of(process, keys, [5, 6, 7, 5, 6, 7])
    x = run(plan, denoiser, seeds=keys, start=start, process=process, trace=trace)
    slots, masks = start_slots(plan, start), Masks(observed=start != K) if process.masks else None
    for row in range(len(plan.rows)):
        level = torch.full((6,), plan.levels[row], dtype=torch.float64)
        slots = advance(plan, row, slots, denoiser(slots[1], level), keys, process, masks)
        assert torch.equal(slots[0], trace.states[row])
    assert torch.equal(slots[0], x)
    assert trace.levels == list(plan.levels[1:])
    assert [mean.shape for mean in trace.means] == [(6, 7, K)] * 5


def test_a_run_can_be_cancelled_between_steps():
    seen = []

    def stop(tick):
        seen.append(tick)
        return len(seen) < 3

    with pytest.raises(Cancelled) as caught:
        run(steps_of("ancestral", 9), row_wise(MASKED), seeds=[1], shape=(5,), process=MASKED, callback=stop)
    assert caught.value.tick.count == 3
    assert caught.value.tick.state.shape == (1, 5)


@pytest.mark.parametrize("name", TOKEN_KERNELS)
def test_plans_of_tokens_save_load_and_start_midway(name, tmp_path):
    options = {"confidence": {"order": "margin"}, "blocks": {"block": 3}, "remasking": {"cap": 0.2}}.get(
        name, {}
    )
    plan = steps_of(name, 6, **options)
    plan.check()
    assert plan.leaps
    assert plan.stochastic
    assert plan.nfe == 6
    plan.save(tmp_path / "plan.json")
    again = Plan.load(tmp_path / "plan.json")
    assert again.to_json() == plan.to_json()
    assert Plan.from_recipe(plan.recipe()).to_json() == plan.to_json()
    assert set(plan.recipe()) == {"rule", "options", "grid"}
    inputs = {"seeds": range(3), "shape": (5,), "process": MASKED}
    x = run(plan, row_wise(MASKED), **inputs)
    assert torch.equal(run(again, row_wise(MASKED), **inputs), x)
    later = plan.starting_at(0.3)
    assert later.levels[0] == 0.3
    assert later.options == plan.options
    start = torch.tensor([[1, K, K, 0, K]])
    done = run(later, row_wise(MASKED), seeds=[1], start=start, process=MASKED)
    assert done[0, [0, 3]].tolist() == [1, 0]
    assert bool((done < K).all())


def test_every_kernel_says_what_it_is():
    for name in kernels:
        found = kernels[name]
        assert found.name == name
        assert found.summary.endswith(".")
        assert set(found.processes) <= set(processes)
        assert isinstance(found.exact, bool)


TOKENS = torch.full((2, 4), K)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            lambda: run(
                make_plan("ddim", vp(), steps=3), row_wise(MASKED), seeds=[1], shape=(4,), process=MASKED
            ),
            "moves continuous states, and the state holds tokens or points of a manifold; solvers of those: ancestral",
        ),
        (
            lambda: run(steps_of("ancestral", 3), exact.Gaussian(0.0, 1.0), seeds=[1], shape=(4,)),
            "moves tokens, and the state is continuous",
        ),
        (
            lambda: run(steps_of("confidence", 3), row_wise(UNIFORM), seeds=[1], shape=(4,), process=UNIFORM),
            "solver 'confidence' is for masked states; this model's process is 'uniform'",
        ),
        (
            lambda: run(
                steps_of("ancestral", 3), row_wise(MASKED), seeds=[1, 2], start=TOKENS + 1, process=MASKED
            ),
            "holds 4 to 4; this process has 0 to 3",
        ),
        (
            lambda: run(
                steps_of("ancestral", 3), row_wise(UNIFORM), seeds=[1, 2], start=TOKENS, process=UNIFORM
            ),
            "holds 3 to 3; this process has 0 to 2",
        ),
        (
            lambda: run(steps_of("ancestral", 3), row_wise(MASKED), seeds=[1, 2], start=TOKENS),
            "is tokens; give the process",
        ),
        (
            lambda: run(
                steps_of("ancestral", 3),
                row_wise(MASKED),
                seeds=[1, 2],
                start=TOKENS.double(),
                process=MASKED,
            ),
            "is continuous; give the process",
        ),
        (
            lambda: run(
                steps_of("ancestral", 3),
                row_wise(MASKED),
                seeds=[1, 2],
                start=TOKENS,
                process=MASKED,
                masks=Masks(observed=torch.ones(2, 3, dtype=torch.bool)),
            ),
            "a mask has shape",
        ),
        (
            lambda: run(
                steps_of("ancestral", 3),
                row_wise(MASKED),
                seeds=[1, 2],
                start=TOKENS,
                process=MASKED,
                masks=Masks(observed=torch.ones(2, 4, dtype=torch.bool)),
            ),
            "observed token is masked",
        ),
        (lambda: steps_of("blocks", 3, blok=2), "did you mean 'block'"),
        (
            lambda: run(
                steps_of("blocks", 3, block=0), row_wise(MASKED), seeds=[1], shape=(4,), process=MASKED
            ),
            "block = 0",
        ),
        (
            lambda: run(
                steps_of("confidence", 3, order="sure"),
                row_wise(MASKED),
                seeds=[1],
                shape=(4,),
                process=MASKED,
            ),
            "order 'sure' is not known",
        ),
        (
            lambda: run(
                steps_of("remasking", 3, cap=2.0), row_wise(MASKED), seeds=[1], shape=(4,), process=MASKED
            ),
            "cap = 2.0",
        ),
        (lambda: make_plan("ancestrall", log_linear(), steps=3), "ancestral"),
    ],
)
def test_wrong_pairings_give_one_clear_error(wrong, said):
    with pytest.raises(PerrinError, match=said) as caught:
        wrong()
    assert "\n" not in str(caught.value)

"""The bound of tokens: with exact conditionals it is log p itself, over all levels and along chains."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from perrin.denoise import Prediction, wrap
from perrin.denoise.sequences import Markov, Sequences
from perrin.errors import PerrinError
from perrin.likelihood import bound
from perrin.process import masked, uniform
from perrin.process.categorical import ABSENT
from perrin.process.state import Masks

INF = math.inf
K, L = 3, 3
PROCESSES = [masked(K), uniform(K)]
ALL = torch.tensor(list(itertools.product(range(K), repeat=L)))
WEIGHT = torch.rand(len(ALL), generator=torch.Generator().manual_seed(5), dtype=torch.float64)
LOG_P = (WEIGHT / WEIGHT.sum()).log()
INITIAL = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
TRANSITION = torch.tensor([[0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.6, 0.1, 0.3]], dtype=torch.float64)


def mean(found):
    """The bound of a sequence of the source on average, and its standard error, nats."""
    share = LOG_P.exp()
    return float((share * found.value).sum()), float((share * found.stderr).square().sum().sqrt())


def row_wise(process):
    """A denoiser that is wrong, depends on everything, and adds position by position: a row alone is itself."""
    table = torch.randn(
        process.states + 1, K, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )

    def net(x, time, condition):
        total = torch.zeros(len(x), 1, K, dtype=torch.float64)
        for i in range(x.shape[1]):
            total = total + torch.where(x[:, i : i + 1, None] == ABSENT, 0.0, table[x[:, i : i + 1]])
        shift = 0 if condition is None else condition["shift"][:, None, None]
        return 0.5 * total + table[x].roll(1, -1) + 0.1 * time[:, None, None] * table[0] + shift * table[1]

    return wrap(net, "logits", process=process)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_with_exact_conditionals_the_bound_of_every_item_is_its_log_probability(process):
    denoiser, runs = Sequences(process, ALL, WEIGHT), 60
    found = bound(
        denoiser, ALL.repeat(runs, 1), process=process, samples=64, seeds=range(27 * runs), batch=9000
    )
    values, variances = found.value.reshape(runs, 27), found.stderr.square().reshape(runs, 27)
    z = (values.mean(0) - LOG_P) / (values.std(0) / math.sqrt(runs))
    assert float(z.abs().max()) < 4
    assert 0.4 < float(z.square().mean()) < 1.9
    # the standard errors are unbiased, in their square
    assert 0.85 < float((values.var(0) / variances.mean(0)).mean()) < 1.15
    assert bool(found.converged.all())
    torch.testing.assert_close(sum(found.parts.values()), found.value)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_the_expected_bound_of_exact_conditionals_is_the_entropy_of_the_source(process):
    found = bound(Sequences(process, ALL, WEIGHT), ALL, process=process, samples=1024, batch=9000)
    value, error = mean(found)
    assert abs(value + Sequences(process, ALL, WEIGHT).entropy) < 3 * error
    assert error < 0.01


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_the_bound_of_a_bigram_source_is_its_log_probability(process):
    chain = Markov(process, INITIAL, TRANSITION)
    u = torch.rand(40, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = chain.sample(u)
    found = bound(chain, x, process=process, samples=256, batch=4096)
    z = (found.value - chain.log_prob(x)) / found.stderr
    assert float(z.abs().max()) < 4.5
    assert abs(float(z.mean())) < 3 / math.sqrt(len(z))


def test_stratifying_the_number_of_masks_is_worth_many_draws():
    """Against masks drawn level by level, whose number varies: the variance at equal calls."""
    process, denoiser = masked(K), Sequences(masked(K), ALL, WEIGHT)
    stratified = mean(bound(denoiser, ALL, process=process, samples=512, batch=9000))[1]
    grid = torch.linspace(-7, 7, 255).tolist()
    by_level = mean(
        bound(denoiser, ALL, process=process, samples=512, batch=9000, levels=[-INF, *grid, INF])
    )[1]
    assert stratified**2 < 0.2 * by_level**2


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_a_chain_is_a_worse_bound_that_improves_with_its_steps(process):
    denoiser, found = Sequences(process, ALL, WEIGHT), []
    for steps in (1, 2, 4, 8, 64):  # every grid holds the one before
        grid = torch.logit(torch.arange(1, steps, dtype=torch.float64) / steps).tolist()
        found.append(
            mean(bound(denoiser, ALL, process=process, samples=600, batch=9000, levels=[-INF, *grid, INF]))
        )
    values, errors = zip(*found, strict=True)
    exact = -denoiser.entropy
    assert values[0] < values[1] < values[2] < values[3] < exact + 3 * errors[3]
    assert exact - values[0] > 20 * (exact - values[4]) - 60 * errors[4]
    assert abs(values[4] - exact) < 3 * errors[4] + 0.02


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_one_step_from_noise_to_clean_is_the_cross_entropy_of_independent_positions(process):
    found = bound(Sequences(process, ALL, WEIGHT), ALL, process=process, samples=2, levels=[-INF, INF])
    share = LOG_P.exp()
    alone = torch.stack([torch.stack([share[ALL[:, i] == k].sum() for k in range(K)]) for i in range(L)])
    right = sum(alone[i, ALL[:, i]].log() for i in range(L))
    torch.testing.assert_close(found.value, right, rtol=1e-12, atol=1e-12)
    assert float(found.stderr.max()) < 1e-12


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_a_chain_that_ends_before_the_clean_state_has_a_reconstruction(process):
    """Enumerated: two levels, every noisy state with its probability."""
    noisy, last = (-INF if process.masks else -1.0), 0.7
    denoiser, x = Sequences(process, ALL, WEIGHT), ALL[[4, 11]]
    found = bound(denoiser, x, process=process, samples=6000, batch=9000, levels=[noisy, last])
    states = torch.tensor(list(itertools.product(range(process.states), repeat=L)))

    def levels(value):
        return torch.full((len(states),), value, dtype=torch.float64)

    def probabilities(clean, at):
        a = torch.sigmoid(levels(at))[0]
        return (a * (states == clean) + (1 - a) * process.pi[states]).prod(1)

    for item, clean in enumerate(x):
        every = clean.expand(len(states), L)
        steps = process.divergence(
            states, every, denoiser(states, levels(noisy)).log_mean(), levels(noisy), levels(last)
        ).sum(1)
        told = denoiser(states, levels(last)).log_mean().gather(-1, every[..., None])[..., 0]
        right = {
            "prior": -float(process.prior_divergence(clean[None], levels(noisy)[:1]).sum()),
            "diffusion": -float((probabilities(clean, noisy) * steps).nansum()),
            "reconstruction": float((probabilities(clean, last) * told.sum(1)).nansum()),
        }
        assert float(found.parts["prior"][item]) == pytest.approx(right["prior"], abs=1e-12)
        gap = abs(float(found.value[item]) - sum(right.values()))
        assert gap < 3.5 * float(found.stderr[item])
        for name in ("diffusion", "reconstruction"):
            assert abs(float(found.parts[name][item]) - right[name]) < 0.1


def test_a_masked_chain_that_does_not_start_from_masks_alone_has_no_bound():
    found = bound(Sequences(masked(K), ALL), ALL[:2], process=masked(K), samples=4, levels=[-1.0, 3.0, INF])
    assert bool((found.value == -INF).all())
    assert not bool(found.converged.any())


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@pytest.mark.parametrize("levels", [None, [-INF, 0.0, 2.0, 5.0]])
def test_an_item_alone_is_the_item_among_longer_ones(process, levels):
    options = {"process": process, "samples": 24, "levels": levels}
    x = torch.tensor([[0, 1, 2, 1, 0], [2, 2, 0, ABSENT, ABSENT], [1, 0, 1, 2, ABSENT]])
    shift = torch.tensor([0.3, -0.5, 1.0], dtype=torch.float64)
    denoiser = row_wise(process)
    for seeds in (None, [4, (1, 2), 9]):
        together = bound(denoiser, x, seeds=seeds, condition={"shift": shift}, batch=7, **options)
        for i, length in enumerate((5, 3, 4)):
            own = None if seeds is None else [seeds[i]]
            given = {"shift": shift[i : i + 1]}
            alone = bound(denoiser, x[i : i + 1, :length], seeds=own, condition=given, **options)
            torch.testing.assert_close(alone.value[0], together.value[i], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(alone.stderr[0], together.stderr[i], rtol=1e-9, atol=1e-12)
    assert together.evaluations == math.ceil(24 * 3 / 7) + (math.ceil(3 * 3 / 7) if levels else 0)


def test_tokens_that_are_observed_cost_nothing_and_are_conditioned_on():
    """log p(the last two | the first) with exact conditionals, in continuous time and along a chain of many steps."""
    process, joint = masked(K), (WEIGHT**5 / (WEIGHT**5).sum()).log()  # whose tokens tell much of each other
    denoiser = Sequences(process, ALL, joint.exp())
    observed = torch.zeros(len(ALL), L, dtype=torch.bool)
    observed[:, 0] = True
    first = torch.stack([joint.exp()[ALL[:, 0] == k].sum() for k in range(K)]).log()
    right = joint - first[ALL[:, 0]]
    grid = torch.logit(torch.arange(1, 256, dtype=torch.float64) / 256).tolist()
    for levels in (None, [-INF, *grid, INF]):
        found = bound(
            denoiser,
            ALL,
            process=process,
            masks=Masks(observed=observed),
            samples=512,
            batch=9000,
            levels=levels,
        )
        value = float((joint.exp() * found.value).sum())
        error = float((joint.exp() * found.stderr).square().sum().sqrt())
        assert abs(value - float((joint.exp() * right).sum())) < 3 * error
        assert error < 0.05
    alone = bound(denoiser, ALL, process=process, samples=512, batch=9000)
    assert float((joint.exp() * alone.value).sum()) < value - 0.5


def test_observed_tokens_of_a_uniform_process_stay_as_they_are():
    process, seen = uniform(K), []

    def spy(x, level, condition=None):
        seen.append(x)
        return row_wise(process)(x, level)

    observed = torch.zeros(len(ALL), L, dtype=torch.bool)
    observed[:, 1] = True
    for levels in (None, [-INF, 0.0, 2.0]):
        bound(spy, ALL, process=process, masks=Masks(observed=observed), samples=8, levels=levels, batch=27)
    assert len(seen) == 8 + 8 + 2
    assert all(torch.equal(x[:, 1], ALL[:, 1]) for x in seen)
    assert not all(torch.equal(x, ALL) for x in seen)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_items_of_nothing_but_given_or_absent_tokens_have_log_probability_zero(process):
    x = torch.tensor([[0, 1, ABSENT], [ABSENT, ABSENT, ABSENT]])
    observed = torch.tensor([[True, True, False], [False, False, False]])
    for levels in (None, [-INF, 0.0, 1.0]):
        found = bound(
            row_wise(process), x, process=process, masks=Masks(observed=observed), samples=8, levels=levels
        )
        assert torch.equal(found.value, torch.zeros(2, dtype=torch.float64))
        assert torch.equal(found.stderr, torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_who_knows_nothing_has_exactly_log_k_a_token(process):
    """The uniform process too, whose network need not say how likely a jump is near the clean end."""
    denoiser = wrap(lambda x, t, c: torch.zeros(*x.shape, K, dtype=torch.float64), "logits", process=process)
    found = bound(denoiser, ALL, process=process, samples=8)
    torch.testing.assert_close(found.value, torch.full_like(found.value, -L * math.log(K)), rtol=0, atol=1e-5)
    grid = torch.linspace(-6, 6, 39).tolist()
    chain = bound(denoiser, ALL, process=process, samples=400, batch=9000, levels=[-INF, *grid, INF])
    value = float(chain.value.mean())
    assert (
        abs(value + L * math.log(K))
        < 4 * float(chain.stderr.square().mean().sqrt()) / math.sqrt(len(ALL)) + 1e-12
    )


def test_any_shape_of_tokens_has_a_bound():
    process = masked(K)
    table = torch.log(torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64))
    x = torch.randint(0, K, (3, 2, 4), generator=torch.Generator().manual_seed(1))

    def denoiser(x, level, condition=None):
        return Prediction(table.exp().expand(*x.shape, K))

    found = bound(denoiser, x, process=process, samples=64)
    error = (found.value - table[x].sum((1, 2))).abs()
    assert bool((error < 4 * found.stderr + 1e-9).all())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda d: bound(d, ALL, process=masked(2)), "clean tokens are 0 to 1.*0 to 2"),
        (lambda d: bound(d, ALL.double(), process=masked(K)), "int64 tensor"),
        (lambda d: bound(d, {"a": ALL}, process=masked(K)), "one int64 tensor"),
        (lambda d: bound(d, ALL), "tokens with their process"),
        (
            lambda d: bound(
                d, ALL, process=masked(K), masks=Masks(observed=torch.ones(2, L, dtype=torch.bool))
            ),
            "a mask has shape",
        ),
        (lambda d: bound(d, ALL, process=masked(K), samples=1), "at least 2"),
        (lambda d: bound(d, ALL, process=masked(K), levels=[1.0, 0.0]), "rising"),
        (lambda d: bound(d, ALL, process="masked"), r"masked\(K\)"),
        (lambda d: bound(d, ALL, process=masked(K), seeds=[1]), "1 seeds for 27 items"),
    ],
)
def test_what_has_no_bound_is_refused(wrong, said):
    with pytest.raises(PerrinError, match=said):
        wrong(Sequences(masked(K), ALL))

"""The masked and the uniform process against enumeration over a small alphabet, at both infinite ends too."""

from __future__ import annotations

import math

import pytest
import torch

from perrin.errors import PerrinError
from perrin.process import log_linear, masked, uniform
from perrin.process.categorical import ABSENT

INF = math.inf
PROCESSES = [masked(3), uniform(3), masked(2), uniform(5)]
PAIRS = [(-INF, -2.0), (-INF, INF), (-2.0, -0.5), (-0.3, 4.0), (4.0, INF), (-1.5, -1.5), (-40.0, 45.0)]


def transition(process, cleaner, noisier):
    """q(x' at the noisier level | x), [states, states]: kept with r = a'/a, else drawn from pi; a mask stays one."""
    a, b = (1 / (1 + math.exp(-v)) if v > -700 else 0.0 for v in (cleaner, noisier))
    r = 1.0 if cleaner == noisier else b / a
    table = r * torch.eye(process.states, dtype=torch.float64) + (1 - r) * process.pi
    if process.masks:
        table[-1] = process.pi
    return table


def marginal(process, level):
    """q(x | clean), [K, states]."""
    return transition(process, INF, level)[: process.classes]


def level(value, count=1):
    return torch.full((count,), value, dtype=torch.float64)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@pytest.mark.parametrize("steps", [(INF, 3.0, -1.0), (2.0, 0.5, -5.0), (INF, 0.0, -INF)])
def test_transitions_compose(process, steps):
    """Chapman and Kolmogorov: by way of a level between is the same as at once."""
    a, b, c = steps
    by_way = transition(process, a, b) @ transition(process, b, c)
    torch.testing.assert_close(by_way, transition(process, a, c), rtol=0, atol=1e-15)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@pytest.mark.parametrize("pair", PAIRS)
def test_the_posterior_is_that_of_bayes(process, pair):
    noisy, cleaner = pair
    forward, before = transition(process, cleaner, noisy), marginal(process, cleaner)
    evidence = before @ forward  # [K, states]
    clean, x = (
        t.flatten()
        for t in torch.meshgrid(torch.arange(process.classes), torch.arange(process.states), indexing="ij")
    )
    found = process.backward(
        x[:, None],
        torch.nn.functional.one_hot(clean, process.classes).double()[:, None],
        level(noisy, len(x)),
        level(cleaner, len(x)),
    )[:, 0]
    for row, c, now in zip(found, clean.tolist(), x.tolist(), strict=True):
        if evidence[c, now] > 0:
            right = before[c] * forward[:, now] / evidence[c, now]
            torch.testing.assert_close(row, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@pytest.mark.parametrize("pair", PAIRS)
def test_backward_sums_the_posterior_over_the_predicted_tokens(process, pair):
    """With a prediction that knows what the process knows: a token that is not masked is itself."""
    noisy, cleaner = pair
    generator = torch.Generator().manual_seed(0)
    evidence = marginal(process, noisy)
    forward, before = transition(process, cleaner, noisy), marginal(process, cleaner)
    for now in range(process.states):
        if not bool((evidence[:, now] > 0).any()):
            continue
        law = torch.rand(process.classes, generator=generator, dtype=torch.float64) * evidence[:, now]
        law = law / law.sum()
        right = torch.zeros(process.states, dtype=torch.float64)
        for c in range(process.classes):
            if law[c] > 0:
                right += law[c] * before[c] * forward[:, now] / evidence[c, now]
        found = process.backward(torch.tensor([[now]]), law[None, None], level(noisy), level(cleaner))[0, 0]
        torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-12)
        assert abs(float(found.sum()) - 1) < 1e-12


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@pytest.mark.parametrize("at", [-INF, -3.0, 0.4, 6.0, INF])
def test_noise_has_the_marginal_and_spares_absent_positions(process, at):
    count = 30_000
    u = (torch.arange(count, dtype=torch.float64) + 0.5) / count  # every share of (0, 1): no chance is left
    for c in range(process.classes):
        x = process.noised(torch.full((1, count), c), level(at), u[None])
        found = torch.bincount(x[0], minlength=process.states) / count
        torch.testing.assert_close(found.double(), marginal(process, at)[c], rtol=0, atol=2 / count)
    absent = torch.full((1, count), ABSENT)
    assert torch.equal(process.noised(absent, level(at), u[None]), absent)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_the_prior_is_the_noise_end(process):
    u = (torch.arange(6000, dtype=torch.float64) + 0.5) / 6000
    found = torch.bincount(process.prior(u), minlength=process.states) / 6000
    torch.testing.assert_close(found.double(), process.pi, rtol=0, atol=1e-3)
    assert int(process.prior(torch.tensor([1 - 2.0**-53])).max()) < process.states


def some(process, at, count=400, seed=1):
    """Clean tokens, their noisy ones, and log-probabilities that know what the process knows; float64."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randint(0, process.classes, (count, 2), generator=generator)
    u = torch.rand(count, 2, generator=generator, dtype=torch.float64)
    x = process.noised(clean, level(at, count), u)
    logits = torch.randn(count, 2, process.classes, generator=generator, dtype=torch.float64)
    logits = logits + marginal(process, at).log().clamp(min=-1e4).T[x]
    return clean, x, torch.log_softmax(logits, -1)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@pytest.mark.parametrize("at", [-6.0, -1.0, 0.0, 2.0, 7.0])
def test_the_rate_is_the_limit_of_the_divergence_over_the_step(process, at):
    clean, x, log_mean = some(process, at)
    rate = process.rate(x, clean, log_mean, level(at, len(x)))

    def quotient(h):
        return process.divergence(x, clean, log_mean, level(at, len(x)), level(at + h, len(x))) / h

    h = 1e-3
    limit = (8 * quotient(h / 4) - 6 * quotient(h / 2) + quotient(h)) / 3  # Richardson, without h and h^2
    torch.testing.assert_close(limit, rate, rtol=2e-6, atol=2e-8)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_neither_rate_nor_divergence_is_negative_and_both_are_zero_for_who_knows(process):
    for at in (-20.0, -3.0, 0.0, 3.0, 20.0):
        clean, x, log_mean = some(process, at)
        here, after = level(at, len(x)), level(at + 0.7, len(x))
        assert float(process.rate(x, clean, log_mean, here).min()) > -1e-15
        assert float(process.divergence(x, clean, log_mean, here, after).min()) > -1e-14
        knows = torch.nn.functional.one_hot(clean, process.classes).double().log().clamp(min=-700)
        assert float(process.rate(x, clean, knows, here).abs().max()) < 1e-12
        assert float(process.divergence(x, clean, knows, here, after).abs().max()) < 1e-12


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_the_gradient_of_the_rate_is_finite_in_float32_at_all_levels(process):
    for at in (-30.0, -12.0, -3.0, 0.0, 5.0, 14.0, 30.0):
        clean, x, log_mean = some(process, at)
        logits = log_mean.float().requires_grad_()
        rate = process.rate(x, clean, torch.log_softmax(logits, -1), level(at, len(x)))
        assert rate.dtype == torch.float32
        rate.sum().backward()
        assert bool(torch.isfinite(rate).all())
        assert bool(torch.isfinite(logits.grad).all())


def law_of_changes(process, x, mean, told, changes):
    """[..., states]: x, changed with two probabilities: to a token of the prediction, or to any, neither x itself."""
    here = torch.nn.functional.one_hot(x, process.states).double()
    others = torch.nn.functional.pad(mean, (0, process.masks)) * (1 - here)
    others = others / others.sum(-1, keepdim=True).clamp(min=1e-300)
    any_other = (1 - here) / (process.classes - 1)
    predicted, evenly = changes[0][..., None], changes[1][..., None]
    return predicted * others + evenly * any_other + (1 - predicted - evenly) * here


def told_of(process, x, mean):
    if process.masks:
        return torch.zeros(x.shape, dtype=torch.float64)
    return mean.gather(-1, x[..., None])[..., 0]


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@pytest.mark.parametrize("pair", [p for p in PAIRS if p[0] > -30])
def test_changes_are_the_backward_step_in_another_form(process, pair):
    noisy, cleaner = pair
    _, x, log_mean = some(process, noisy)
    mean, at, after = log_mean.exp(), level(noisy, len(x)), level(cleaner, len(x))
    told = told_of(process, x, mean)
    found = law_of_changes(process, x, mean, told, process.changes(x, told, at, after))
    torch.testing.assert_close(found, process.backward(x, mean, at, after), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_changes_from_the_noise_end_are_the_backward_step(process):
    x = process.prior(torch.rand(300, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64))
    mean = torch.rand(
        300, 2, process.classes, generator=torch.Generator().manual_seed(5), dtype=torch.float64
    )
    mean = mean / mean.sum(-1, keepdim=True)
    told = told_of(process, x, mean)
    for cleaner in (-2.0, INF):
        at, after = level(-INF, 300), level(cleaner, 300)
        found = law_of_changes(process, x, mean, told, process.changes(x, told, at, after))
        torch.testing.assert_close(found, process.backward(x, mean, at, after), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_jumps_are_the_rates_of_the_reversed_process(process):
    """(p(x at level + h | x) - [same]) / h as h goes to zero."""
    at, h = 0.4, 1e-6
    _, x, log_mean = some(process, at)
    told = told_of(process, x, log_mean.exp())
    here, after = level(at, len(x)), level(at + h, len(x))
    for rate, change in zip(process.jumps(x, told, here), process.changes(x, told, here, after), strict=True):
        torch.testing.assert_close(rate, change / h, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_absent_positions_cost_nothing(process):
    clean, x, log_mean = some(process, 0.3)
    clean[:, 1] = x[:, 1] = ABSENT
    here, after = level(0.3, len(x)), level(1.0, len(x))
    for cost in (
        process.rate(x, clean, log_mean, here),
        process.divergence(x, clean, log_mean, here, after),
        process.prior_divergence(clean, here),
    ):
        assert bool((cost[:, 1] == 0).all())
        assert bool((cost[:, 0] != 0).any())


def test_the_prior_divergence_is_what_the_noise_end_does_not_forget():
    clean = torch.tensor([[0, 2]])
    for at in (-4.0, 0.5):
        q = marginal(uniform(3), at)
        right = float((q[0] * (q[0] * 3).log()).sum())
        found = uniform(3).prior_divergence(clean, level(at))
        torch.testing.assert_close(found, torch.full((1, 2), right, dtype=torch.float64), rtol=1e-12, atol=0)
    for process in (masked(3), uniform(3)):
        assert float(process.prior_divergence(clean, level(-INF)).abs().max()) == 0
    assert bool(torch.isinf(masked(3).prior_divergence(clean, level(-4.0))).all())
    assert float(uniform(3).prior_divergence(clean, level(INF))[0, 0]) == pytest.approx(math.log(3))


def test_the_log_linear_schedule_masks_a_share_t():
    schedule = log_linear()
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    torch.testing.assert_close(torch.sigmoid(schedule.level(t)), 1 - t, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(schedule.time(schedule.level(t)), t, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("wrong", [lambda: masked(1), lambda: uniform(2.0), lambda: masked(True)])
def test_impossible_alphabets_are_refused(wrong):
    with pytest.raises(PerrinError, match="whole number of at least 2"):
        wrong()

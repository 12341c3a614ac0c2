"""Denoisers of tokens: the exact ones against enumeration, and what stands around a network of logits."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from perrin.denoise import Prediction, wrap
from perrin.denoise.sequences import Markov, Sequences
from perrin.errors import PerrinError
from perrin.process import masked, uniform
from perrin.process.categorical import ABSENT

K, L = 3, 3
PROCESSES = [masked(K), uniform(K)]
LEVELS = torch.tensor([-math.inf, -2.0, 0.3, 5.0, math.inf], dtype=torch.float64)
ALL = torch.tensor(list(itertools.product(range(K), repeat=L)))
INITIAL = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
TRANSITION = torch.tensor([[0.1, 0.9, 0.0], [0.3, 0.3, 0.4], [0.6, 0.1, 0.3]], dtype=torch.float64)


def weights():
    return torch.rand(len(ALL), generator=torch.Generator().manual_seed(3), dtype=torch.float64) ** 3


def brute_force(process, x, level, weight):
    """p(clean token | x) of one state x (a list) by Bayes, sequence by sequence; None where x cannot be."""
    a = 1 / (1 + math.exp(-level)) if level > -math.inf else 0.0
    found, total = torch.zeros(len(x), K, dtype=torch.float64), 0.0
    for sequence, w in zip(ALL.tolist(), weight.tolist(), strict=True):
        for token, clean in zip(x, sequence, strict=True):
            if token != ABSENT:
                w *= a * (token == clean) + (1 - a) * float(process.pi[token])
        total += w
        for i, clean in enumerate(sequence):
            found[i, clean] += w
    return found / total if total > 0 else None


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@pytest.mark.parametrize("level", LEVELS.tolist())
def test_the_exact_denoiser_of_a_list_of_sequences_is_bayes(process, level):
    weight = weights()
    weight[[0, 5, 11]] = 0
    states = [*itertools.product([ABSENT, *range(process.states)], repeat=L)]
    right = [brute_force(process, x, level, weight) for x in states]
    possible = [i for i, r in enumerate(right) if r is not None]
    x = torch.tensor([states[i] for i in possible])
    found = Sequences(process, ALL, weight)(x, torch.full((len(x),), level, dtype=torch.float64))
    expected = torch.stack([right[i] for i in possible])
    torch.testing.assert_close(found.mean, expected, rtol=0, atol=1e-12)
    assert len(possible) > 5


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_the_chain_is_the_list_of_its_sequences(process):
    """Forward and backward recursions against the enumerated chain, one transition impossible, absent ends too."""
    chain = Markov(process, INITIAL, TRANSITION)
    law = INITIAL[ALL[:, 0]] * TRANSITION[ALL[:, 0], ALL[:, 1]] * TRANSITION[ALL[:, 1], ALL[:, 2]]
    torch.testing.assert_close(chain.log_prob(ALL).exp(), law, rtol=0, atol=1e-15)
    listed = Sequences(process, ALL, law)
    for level in LEVELS.tolist():
        clean = ALL[law > 0]
        u = torch.rand(clean.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        at = torch.full((len(clean),), level, dtype=torch.float64)
        x = process.noised(clean, at, u)
        for last in (L, 2, 1):
            x[:, last:] = ABSENT
            found = chain(x, at).mean[:, :last]
            torch.testing.assert_close(found, listed(x, at).mean[:, :last], rtol=0, atol=1e-12)


def test_the_chain_draws_sequences_of_its_own_law():
    u = torch.rand(20_000, L, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    chain = Markov(masked(K), INITIAL, TRANSITION)
    drawn = chain.sample(u)
    found = torch.bincount((drawn * torch.tensor([9, 3, 1])).sum(1), minlength=27) / len(u)
    right = chain.log_prob(ALL).exp()
    assert bool(((found - right).abs() <= 4 * (right * (1 - right) / len(u)).sqrt() + 1e-12).all())


def test_a_masked_process_may_be_given_tokens_at_every_level():
    """Also at the noise end, where a run with a prompt begins."""
    x = torch.tensor([[K, 1, K], [0, K, 2]])
    for denoiser in (Sequences(masked(K), ALL, weights()), Markov(masked(K), INITIAL, TRANSITION)):
        right = denoiser(x, torch.zeros(2, dtype=torch.float64)).mean
        for level in LEVELS.tolist():
            at = torch.full((2,), level, dtype=torch.float64)
            torch.testing.assert_close(denoiser(x, at).mean, right, rtol=0, atol=1e-14)
    assert torch.equal(right[0, 1], torch.eye(K, dtype=torch.float64)[1])


def test_the_entropy_is_that_of_the_weights():
    assert Sequences(masked(K), ALL).entropy == pytest.approx(L * math.log(K), rel=1e-12)
    assert Sequences(masked(K), ALL[:1]).entropy == 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Sequences(masked(K), torch.tensor([[0, 3]])),
        lambda: Markov(masked(K), INITIAL, TRANSITION[:2]),
        lambda: Markov(masked(K), INITIAL, 2 * TRANSITION),
    ],
)
def test_impossible_laws_are_refused(wrong):
    with pytest.raises(PerrinError, match=r"tokens 0 to 2|rows that sum to one"):
        wrong()


class Logits(torch.nn.Module):
    """Logits that depend on the token and the time, and remember what they were given."""

    def __init__(self, dtype=torch.float64, timed=True):
        super().__init__()
        self.timed = timed
        table = torch.randn(K + 1, K, generator=torch.Generator().manual_seed(0), dtype=dtype)
        self.table = torch.nn.Parameter(table)
        self.given = None

    def forward(self, x, time, condition):
        self.given = (x, time, condition)
        return self.table[x] + (time[:, None, None] if self.timed else 0)


X = torch.tensor([[0, K, 2, ABSENT], [K, K, 1, ABSENT]])
AT = torch.tensor([-1.0, 8.0], dtype=torch.float64)


def test_tokens_that_are_not_masked_are_known_and_the_network_says_the_rest():
    net = Logits()
    found = wrap(net, "logits", process=masked(K))(X, AT, {"label": AT})
    told = torch.softmax(net.table[K], -1)
    for row, col in ((0, 1), (1, 0), (1, 1)):
        torch.testing.assert_close(found.mean[row, col], told)
    for row, col in ((0, 0), (0, 2), (1, 2)):
        assert torch.equal(found.mean[row, col], torch.eye(K, dtype=torch.float64)[X[row, col]])
    assert net.given[0] is X
    torch.testing.assert_close(net.given[1], -AT / 8)
    assert set(net.given[2]) == {"label"}
    found.log_mean().sum().backward()
    assert bool(torch.isfinite(net.table.grad).all())


def test_of_a_uniform_process_the_network_says_what_the_other_tokens_tell():
    """Logits of p(clean | the others), with which Bayes joins what the token itself says."""
    net, process = Logits(timed=False), uniform(K)
    x = X.clamp(max=K - 1)
    for level in (-math.inf, -3.0, 0.0, 9.0):
        at = torch.full((2,), level, dtype=torch.float64)
        found = wrap(net, "logits", process=process)(x, at).mean[:, :3]
        a = torch.sigmoid(at)[:, None, None]
        evidence = a * torch.nn.functional.one_hot(x[:, :3], K) + (1 - a) / K
        right = torch.softmax(net.table[x[:, :3]], -1) * evidence
        torch.testing.assert_close(found, right / right.sum(-1, keepdim=True), rtol=1e-12, atol=1e-14)
    clean = torch.full((2,), math.inf, dtype=torch.float64)
    certain = wrap(net, "logits", process=process)(x, clean)
    assert torch.equal(certain.mean[:, :3], torch.nn.functional.one_hot(x[:, :3], K).double())
    assert bool(torch.isfinite(certain.log_mean()).all())


def test_half_precision_networks_give_probabilities_in_single():
    found = wrap(Logits(torch.bfloat16), "logits", process=masked(K))(X, AT)
    assert found.mean.dtype == torch.float32
    torch.testing.assert_close(found.mean.sum(-1), torch.ones(2, 4))


def test_log_probabilities_are_finite_where_a_probability_is_zero():
    found = Prediction(torch.tensor([[1.0, 0.0]])).log_mean()
    assert found[0, 0] == 0
    assert -200 < float(found[0, 1]) < -80
    assert torch.equal(
        Prediction(torch.tensor([[0.5, 0.5]]), logits=torch.tensor([[3.0, 3.0]])).log_mean(),
        torch.full((1, 2), -math.log(2)),
    )


def test_only_a_masked_process_whose_network_is_told_no_time_is_timeless():
    assert wrap(Logits(timed=False), "logits", process=masked(K)).timeless
    assert not wrap(Logits(timed=True), "logits", process=masked(K)).timeless
    assert not wrap(lambda x, t, c: x, "logits", process=masked(K)).timeless
    assert not wrap(Logits(timed=False), "logits", process=uniform(K)).timeless


def test_wrong_outputs_and_half_given_processes_are_refused():
    with pytest.raises(PerrinError, match=r"must output \(2, 4, 3\).*outputs \(2, 4, 4\)"):
        wrap(lambda x, t, c: torch.zeros(2, 4, 4), "logits", process=masked(K))(X, AT)
    with pytest.raises(PerrinError, match="process=masked"):
        wrap(Logits(), "logits")
    with pytest.raises(PerrinError, match="process=masked"):
        wrap(Logits(), "v", process=masked(K))

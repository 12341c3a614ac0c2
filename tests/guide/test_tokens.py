"""Guidance on tokens: products of powers of probabilities, temperature and nucleus, and predictions remembered."""

from __future__ import annotations

import math

import pytest
import torch

from perrin.denoise import Prediction, exact, wrap
from perrin.errors import PerrinError
from perrin.guide import (
    ClassifierFree,
    ClassifierGuidance,
    DynamicThreshold,
    Remembered,
    Tempered,
    Threshold,
)
from perrin.process import log_linear, masked, uniform
from perrin.process.categorical import ABSENT
from perrin.sample import kernels, make_plan, run

K = 4
PROCESS = masked(K)
KERNELS = [name for name in kernels if "masked" in kernels[name].processes]
AT = torch.zeros(6, dtype=torch.float64)
X = torch.tensor([[K, K, 2], [0, K, K], [K, 1, 3], [K, K, K], [K, K, ABSENT], [K, 0, K]])
LABEL = torch.tensor([0, 1, 2, 0, 1, -1])


class Labelled(torch.nn.Module):
    """Logits of every position by its neighbours and a label; row by row, and counts its rows. -1 is no label."""

    timed = False

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("table", torch.randn(K + 2, K, generator=generator, dtype=torch.float64))
        self.register_buffer("labels", torch.randn(4, K, generator=generator, dtype=torch.float64))
        self.rows = 0

    def forward(self, x, time, condition):
        self.rows += len(x)
        label = torch.full((len(x),), -1) if condition is None else condition["label"]
        near = self.table[x.roll(1, 1)] - 0.5 * self.table[x.roll(-1, 1)]
        return (
            near
            + self.labels[label][:, None] * torch.linspace(0.5, 1.5, x.shape[1], dtype=torch.float64)[:, None]
        )


def denoiser():
    return wrap(Labelled(), "logits", process=PROCESS)


def conditional(label):
    return denoiser()(X, AT, {"label": label})


@pytest.mark.parametrize("w", [-0.5, 0.3, 2.5])
def test_guided_tokens_are_the_normalised_product_of_powers(w):
    found = ClassifierFree(denoiser(), w)(X, AT, {"label": LABEL})
    cond, free = conditional(LABEL).mean, conditional(torch.full_like(LABEL, -1)).mean
    known = ((X >= 0) & (X < K))[..., None]
    right = torch.where(known, cond, free ** (1 - w) * cond**w)
    torch.testing.assert_close(found.mean, right / right.sum(-1, keepdim=True), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(torch.softmax(found.logits, -1), found.mean, rtol=1e-12, atol=1e-14)


def test_guidance_by_exact_conditional_laws_is_exact_for_one_position():
    """p(token) p(class | token)^w, normalised: what the weight is meant to be, here enumerated."""
    joint = torch.rand(3, K, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    joint = joint / joint.sum()

    def law(x, level, condition=None):  # without logits: exact denoisers have none
        label = condition["label"]
        chosen = torch.where(label[:, None] < 0, joint.sum(0), joint[label])
        return Prediction((chosen / chosen.sum(1, keepdim=True))[:, None])

    label = torch.tensor([0, 1, 2])
    x, at = torch.full((3, 1), K), torch.zeros(3, dtype=torch.float64)
    for w in (0.0, 1.0, 3.0):
        found = ClassifierFree(law, w)(x, at, {"label": label}).mean[:, 0]
        right = joint.sum(0) * (joint / joint.sum(0)) ** w
        torch.testing.assert_close(found, right / right.sum(1, keepdim=True), rtol=1e-12, atol=1e-14)


def test_rows_of_weight_one_or_zero_are_those_of_their_branch_to_the_bit_and_cost_one_row():
    guide = ClassifierFree(denoiser())
    weight = torch.tensor([1.0, 0.0, 2.0, 1.0, 0.0, 1.0])
    found = guide(X, AT, {"label": LABEL, "guidance": weight})
    assert guide.denoiser.net.rows == 7
    cond, free = conditional(LABEL), conditional(torch.full_like(LABEL, -1))
    for rows, right in (([0, 3, 5], cond), ([1, 4], free)):
        assert torch.equal(found.mean[rows], right.mean[rows])
        assert torch.equal(found.logits[rows], right.logits[rows])
    assert not torch.equal(found.mean[2], cond.mean[2])

    def third(x, level, condition=None):  # probabilities alone, that their logarithms would not give back
        law = torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        return Prediction((law / law.sum()).expand(*x.shape, 50))

    only = ClassifierFree(third)(X, AT, {"label": LABEL, "guidance": weight})
    assert torch.equal(only.mean[weight < 2], third(X, AT).mean[weight < 2])


def test_guidance_leaves_known_tokens_known_and_works_leaf_by_leaf():
    found = ClassifierFree(denoiser(), 30.0)(X, AT, {"label": LABEL})
    known = (X >= 0) & (X < K)
    assert torch.equal(found.mean[known], torch.eye(K, dtype=torch.float64)[X[known]])
    assert bool(torch.isfinite(found.mean).all())
    tokens = denoiser()

    def both(x, level, condition=None):
        said = tokens(x["tokens"], level, condition)
        place = exact.Gaussian(0.5, 1.0)(x["place"], level).mean + condition["label"][:, None]
        return Prediction({"place": place, "tokens": said.mean}, logits={"tokens": said.logits})

    place = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    joint = ClassifierFree(both, 2.0)({"place": place, "tokens": X}, AT, {"label": LABEL})
    alone = ClassifierFree(denoiser(), 2.0)(X, AT, {"label": LABEL})
    torch.testing.assert_close(joint.mean["tokens"], alone.mean, rtol=1e-12, atol=1e-14)
    right = exact.Gaussian(0.5, 1.0)(place, AT).mean + 2 * LABEL[:, None] + 1.0
    torch.testing.assert_close(joint.mean["place"], right)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda d: ClassifierFree(d, 2.0, rescale=0.5),
        lambda d: ClassifierGuidance(d, lambda x, level: torch.zeros(len(x), 3)),
        Threshold,
        DynamicThreshold,
    ],
)
def test_guidance_that_is_of_continuous_states_is_refused_for_tokens(wrong):
    with pytest.raises(PerrinError, match=r"continuous states.*tokens"):
        wrong(denoiser())(X, AT, {"label": LABEL})


LAW = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)


@pytest.mark.parametrize(
    ("options", "right"),
    [
        ({"temperature": 0.5}, LAW**2),
        ({"temperature": 3.0}, LAW ** (1 / 3)),
        ({"top_k": 2}, LAW * torch.tensor([1, 1, 0, 0])),
        ({"top_k": 1}, LAW * torch.tensor([1, 0, 0, 0])),
        ({"top_k": 9}, LAW),
        ({"top_p": 0.5}, LAW * torch.tensor([1, 0, 0, 0])),
        ({"top_p": 0.51}, LAW * torch.tensor([1, 1, 0, 0])),
        ({"top_p": 0.95}, LAW * torch.tensor([1, 1, 1, 0])),
        ({"top_p": 0.951}, LAW),
        ({"top_p": 1e-9}, LAW * torch.tensor([1, 0, 0, 0])),
        # in this order: the temperature, then k, then p
        ({"temperature": 0.5, "top_p": 0.7}, LAW**2 * torch.tensor([1, 1, 0, 0])),
        ({"top_k": 2, "top_p": 0.6}, LAW * torch.tensor([1, 0, 0, 0])),
    ],
)
@pytest.mark.parametrize("has_logits", [True, False])
def test_tempered_predictions_are_those_of_their_definition(options, right, has_logits):
    places = torch.tensor([2, 0, 3, 1])  # the likeliest need not come first

    def law(x, level, condition=None):
        mean = LAW[places].expand(*x.shape, K)
        return Prediction(mean, logits=mean.log() + 3 if has_logits else None)

    found = Tempered(law, **options)(X, AT)
    wanted = (right / right.sum())[places].expand_as(found.mean)
    torch.testing.assert_close(found.mean, wanted, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(torch.softmax(found.logits, -1), wanted, rtol=1e-12, atol=1e-14)
    assert bool(torch.isfinite(found.log_mean()).all())


@pytest.mark.parametrize(
    "options", [{"temperature": 50.0}, {"temperature": 0.01}, {"top_p": 0.3}, {"top_k": 3}]
)
def test_tempering_leaves_known_tokens_as_they_are_to_the_bit(options):
    known = (X >= 0) & (X < K)
    for inner in (denoiser(), ClassifierFree(denoiser(), 3.0)):
        found = Tempered(inner, **options)(X, AT, {"label": LABEL})
        assert torch.equal(found.mean[known], torch.eye(K, dtype=torch.float64)[X[known]])


def test_without_options_nothing_changes_and_what_is_continuous_is_left_alone():
    inner = denoiser()
    found, right = Tempered(inner)(X, AT, {"label": LABEL}), inner(X, AT, {"label": LABEL})
    assert torch.equal(found.mean, right.mean)
    assert torch.equal(found.logits, right.logits)

    def both(x, level, condition=None):
        return Prediction({"place": x["place"], "tokens": LAW.expand(6, 3, K)})

    place = torch.randn(6, 2, dtype=torch.float64)
    tempered = Tempered(both, 0.5)({"place": place, "tokens": X}, AT)
    assert tempered.mean["place"] is place
    assert not torch.equal(tempered.mean["tokens"], LAW.expand(6, 3, K))


def test_the_greedy_sample_is_the_likeliest_tokens():
    plan = make_plan("confidence", log_linear(), steps=8, grid="time", noise=0.0)
    samples = run(plan, Tempered(denoiser(), top_k=1), seeds=range(9), shape=(7,), process=PROCESS)
    assert len(samples.unique(dim=0)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda d: Tempered(d, 0.0),
        lambda d: Tempered(d, math.inf),
        lambda d: Tempered(d, top_p=0.0),
        lambda d: Tempered(d, top_p=1.5),
        lambda d: Tempered(d, top_k=0),
        lambda d: Tempered(d, top_k=2.5),
    ],
)
def test_impossible_temperatures_are_refused(wrong):
    with pytest.raises(PerrinError, match=r"temperature|top_p|top_k"):
        wrong(denoiser())


def drawn(guide, name, steps=40, seeds=range(5), named=True):
    plan = make_plan(name, log_linear(), steps=steps, grid="time")
    condition = {"label": LABEL[: len(seeds)]} | ({"item": torch.arange(len(seeds)) + 10} if named else {})
    return run(plan, guide, seeds=seeds, shape=(6,), process=PROCESS, condition=condition)


@pytest.mark.parametrize("name", KERNELS)
def test_samples_are_the_same_with_a_memory_and_rows_that_stayed_cost_nothing(name):
    """More steps than tokens, to the bit, with and without guidance and temperature around it."""
    for around in (
        lambda d: d,
        lambda d: ClassifierFree(d, 2.0),
        lambda d: Tempered(ClassifierFree(d, 2.0), 0.8),
    ):
        plain, remembered = denoiser(), Remembered(denoiser())
        right = drawn(around(plain), name, named=False)
        assert torch.equal(drawn(around(remembered), name), right)
        assert remembered.rows == remembered.denoiser.net.rows
        branches = 1 if plain.net.rows == 200 else 2
        if name != "remasking":  # which changes known tokens too
            assert remembered.rows <= 5 * 7 * branches  # none to six of the tokens are known
            assert remembered.calls <= 5 * 7
        assert remembered.rows < plain.net.rows
        assert remembered.timeless


def test_the_rows_evaluated_are_exactly_those_whose_tokens_changed():
    from perrin.sample import Trace

    remembered, trace = Remembered(denoiser()), Trace()
    plan = make_plan("ancestral", log_linear(), steps=30, grid="time")
    run(
        plan,
        remembered,
        seeds=range(5),
        shape=(6,),
        process=PROCESS,
        condition={"label": LABEL[:5], "item": torch.arange(5)},
        trace=trace,
    )
    changed = [5] + [
        int((a != b).any(1).sum()) for a, b in zip(trace.states[:-1], trace.states[1:], strict=True)
    ]
    first = int((trace.states[0] != K).any(1).sum())
    assert remembered.rows == changed[0] + first + sum(changed[1:-1])


def test_rows_may_change_places_leave_and_join():
    memory, plain = Remembered(denoiser()), denoiser()

    def asked(rows, names, label=LABEL):
        before = memory.rows
        given = {"label": label[rows]}
        found = memory(X[rows], AT[rows], given | {"item": torch.tensor(names)})
        right = plain(X[rows], AT[rows], given)
        assert torch.equal(found.mean, right.mean)
        assert torch.equal(found.logits, right.logits)
        return memory.rows - before

    assert asked([0, 1, 2], [7, 8, 9]) == 3
    assert asked([2, 0], [9, 7]) == 0
    assert asked([0, 2, 3], [7, 9, 4]) == 1
    assert asked([3, 0], [4, 9]) == 1  # another state under an old name
    assert asked([1, 3], [8, 4]) == 1  # what the last call did not hold is asked again
    assert asked([1, 3], [8, 4], label=LABEL + 1) == 2  # another condition
    assert asked([1, 3], [8, 4], label=LABEL + 1) == 0


def test_a_condition_that_is_not_given_stays_the_same():
    memory = Remembered(lambda x, level, condition: Prediction(LAW.expand(*x.shape, K)), timeless=True)
    given = {"vector": torch.tensor([[1.0, math.nan]] * 6), "item": torch.arange(6)}
    memory(X, AT, given)
    memory(X, AT, given)
    assert memory.rows == 6
    memory(X, AT, given | {"vector": torch.tensor([[1.0, 2.0]] * 6)})
    assert memory.rows == 12


def test_mixed_runs_with_padding_are_remembered_too():
    names = KERNELS
    plans = [make_plan(n, log_linear(), steps=12 + i, grid="time") for i, n in enumerate(names)]
    start = torch.full((len(names), 8), K)
    for i, row in enumerate(start):
        row[5 + i % 3 :] = ABSENT
    inputs = {"seeds": range(len(names)), "start": start, "process": PROCESS}
    label = LABEL[: len(names)]
    remembered = Remembered(denoiser())
    found = run(plans, remembered, condition={"label": label, "item": torch.arange(len(names))}, **inputs)
    plain = denoiser()
    assert torch.equal(found, run(plans, plain, condition={"label": label}, **inputs))
    assert remembered.rows < plain.net.rows / 1.5


def test_what_cannot_be_remembered_is_refused():
    for inner in (
        wrap(Labelled(), "logits", process=uniform(K)),
        ClassifierFree(denoiser(), 2.0, interval=(-1.0, 3.0)),
        exact.Gaussian(0.0, 1.0),
    ):
        with pytest.raises(PerrinError, match="depends on the level"):
            Remembered(inner)
    assert Remembered(Tempered(ClassifierFree(denoiser(), 2.0), 0.5)).timeless
    memory = Remembered(lambda x, level, condition: Prediction(LAW.expand(*x.shape, K)), timeless=True)
    with pytest.raises(PerrinError, match="which sample each row is"):
        memory(X, AT, {"label": LABEL})
    with pytest.raises(PerrinError, match="twice"):
        memory(X, AT, {"item": torch.zeros(6, dtype=torch.int64)})
    with pytest.raises(PerrinError, match="tokens"):
        memory(torch.zeros(6, 2), AT, {"item": torch.arange(6)})
    weight = torch.ones(K, requires_grad=True)
    learning = Remembered(lambda x, level, condition: Prediction(weight.expand(*x.shape, K)), timeless=True)
    with pytest.raises(PerrinError, match="no derivative"):
        learning(X, AT, {"item": torch.arange(6)})

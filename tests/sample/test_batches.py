"""A sample is a function of its key: alone, in a batch, or beside strangers on other plans it is the same to the bit."""

from __future__ import annotations

import pytest
import torch

from perrin.denoise import Prediction, exact
from perrin.errors import PerrinError
from perrin.guide import ClassifierFree, DynamicThreshold, Threshold
from perrin.process import cosine, edm, flow, vp
from perrin.registry import rules
from perrin.sample import advance, make_plan, run, start_slots

SHAPE = (3, 5, 7)
ROW_WISE = {"mean": exact.Gaussian(0.3, 0.5), "variance": exact.Gaussian(0.3, 0.5, variance=True)}


class Labelled:
    """The exact denoiser of N(label, 0.5^2); without a label (-1), of N(0, 1). Row by row; counts calls and rows."""

    def __init__(self):
        self.calls, self.rows = 0, 0

    def __call__(self, x, level, condition=None):
        self.calls, self.rows = self.calls + 1, self.rows + len(x)
        label = torch.full((len(x),), -1) if condition is None else condition["label"]
        view = (-1, *[1] * (x.dim() - 1))
        mean = torch.where(label < 0, 0.0, label.double()).reshape(view)
        std = torch.where(label < 0, 1.0, 0.5).double().reshape(view)
        return exact.Gaussian(mean, std)(x, level)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rule", rules)
def test_a_sample_alone_is_the_same_sample_in_a_batch(rule, dtype):
    plan = make_plan(rule, vp(), steps=6)
    seeds = [11, (3, 0), (3, 1), 12, 5]
    together = run(plan, ROW_WISE["mean"], seeds=seeds, shape=SHAPE, dtype=dtype)
    alone = torch.cat([run(plan, ROW_WISE["mean"], seeds=[s], shape=SHAPE, dtype=dtype) for s in seeds])
    assert torch.equal(together, alone)
    assert len({float(v) for v in together[:, 0, 0, 0]}) == len(seeds)
    backwards = run(plan, ROW_WISE["mean"], seeds=seeds[::-1], shape=SHAPE, dtype=dtype)
    assert torch.equal(backwards.flip(0), together)


@pytest.mark.parametrize("learned", ROW_WISE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sample_beside_strangers_on_every_other_rule_is_the_same_sample(dtype, learned):
    denoiser = ROW_WISE[learned]
    schedules = [(vp(), "logsnr"), (cosine(), "time"), (edm(), "karras"), (flow(), "cosine")]
    plans = []
    for index, rule in enumerate(rules):
        schedule, grid = schedules[index % 4]
        plans.append(make_plan(rule, schedule, steps=3 + index % 5, grid=grid))
    seeds = [(7, i) for i in range(len(plans))]
    mixed = run(plans, denoiser, seeds=seeds, shape=SHAPE, dtype=dtype)
    for index, plan in enumerate(plans):
        alone = run(plan, denoiser, seeds=[seeds[index]], shape=SHAPE, dtype=dtype)
        assert torch.equal(mixed[index : index + 1], alone), plan.rule


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_four_requests_share_network_calls_and_each_is_what_it_is_alone(dtype):
    """Different rules, steps, seeds, labels and guidance in one batch."""
    plans = [
        make_plan("dpmpp_2m", vp(), steps=7),
        make_plan("edm_heun", edm(), steps=5, grid="karras"),
        make_plan("ddpm", cosine(), steps=9, grid="time"),
        make_plan("unipc_3", vp(), steps=12),
    ]
    seeds, labels = [(3, 0), 17, (3, 2), 5], torch.tensor([2, 0, 1, 2])
    weights = torch.tensor([1.0, 3.0, 0.0, 1.7], dtype=torch.float64)
    network = Labelled()
    denoiser = Threshold(ClassifierFree(network, interval=(-6.0, 5.0), rescale=0.3), -4.0, 4.0)
    condition = {"label": labels, "guidance": weights}
    together = run(plans, denoiser, seeds=seeds, shape=SHAPE, condition=condition, dtype=dtype)
    calls, network.calls = network.calls, 0
    for i, plan in enumerate(plans):
        one = {name: value[i : i + 1] for name, value in condition.items()}
        alone = run(plan, denoiser, seeds=seeds[i : i + 1], shape=SHAPE, condition=one, dtype=dtype)
        assert torch.equal(together[i : i + 1], alone), plan.rule
    assert network.calls == sum(p.nfe for p in plans)
    # edm_heun's rows that only mix noise in keep it behind by a tick each, hence max over ticks and not over nfe
    assert calls <= max(len(p.rows) for p in plans) < network.calls


def test_a_dynamic_threshold_looks_at_one_item_at_a_time():
    denoiser = DynamicThreshold(exact.Gaussian(0.0, 3.0), quantile=0.7)
    plan = make_plan("dpmpp_2m", vp(), steps=6)
    together = run(plan, denoiser, seeds=range(4), shape=SHAPE)
    alone = torch.cat([run(plan, denoiser, seeds=[s], shape=SHAPE) for s in range(4)])
    assert torch.equal(together, alone)


@pytest.mark.parametrize("rule", rules)
def test_advance_by_hand_is_run(rule):
    """Anyone's loop over `advance`, with rows given as numbers or one a sample, draws what `run` draws."""
    plan, denoiser, seeds = make_plan(rule, vp(), steps=4), exact.Gaussian(0.3, 0.5), [1, 2, 3]
    x = run(plan, denoiser, seeds=seeds, shape=(4,))
    from perrin.sample.running import prior

    for many in (False, True):
        slots = start_slots(plan, prior(seeds, (4,), torch.float32, "cpu"))
        for index, row in enumerate(plan.rows):
            asked = row.level is not None
            level = torch.full((3,), row.level if asked else 0.0, dtype=torch.float64)
            prediction = denoiser(slots[1], level) if asked else None
            if many:
                slots = advance([plan] * 3, [index] * 3, slots, prediction, seeds)
            else:
                slots = advance(plan, index, slots, prediction, seeds)
        assert torch.equal(slots[0], x)


def test_advance_refuses_plans_and_keys_of_different_numbers():
    plan = make_plan("ddim", vp(), steps=3)
    slots = start_slots(plan, torch.zeros(3, 2))
    with pytest.raises(PerrinError, match="3 keys"):
        advance([plan] * 2, [0] * 2, slots, Prediction(torch.zeros(3, 2)), [1, 2, 3])


def test_a_state_of_named_leaves_runs_as_its_leaves_apart():
    """Leaves of different shapes under one loop; each leaf has noise of its own, named by the leaf."""

    def both(x, level, condition=None):
        parts = {n: exact.Gaussian(0.1, 0.4)(v, level).mean for n, v in x.items()}
        return Prediction(parts)

    def one(name):
        return lambda x, level, condition=None: Prediction(
            {name: exact.Gaussian(0.1, 0.4)(x[name], level).mean}
        )

    shapes = {"positions": (5, 3), "charges": (5,)}
    for rule in rules:
        plan = make_plan(rule, vp(), steps=4)
        together = run(plan, both, seeds=[1, 2], shape=shapes)
        assert set(together) == set(shapes)
        for name, shape in shapes.items():
            apart = run(plan, one(name), seeds=[1, 2], shape={name: shape})
            assert torch.equal(together[name], apart[name]), (rule, name)
        assert not torch.equal(together["positions"][:, :, 0], together["charges"])


def test_leaves_on_mixed_plans_are_the_same_as_alone():
    def denoiser(x, level, condition=None):
        return Prediction({n: exact.Gaussian(0.1, 0.4)(v, level).mean for n, v in x.items()})

    plans = [make_plan("edm_heun", vp(), steps=3), make_plan("ab_3", vp(), steps=5)]
    shapes = {"a": (2,), "b": (3, 2)}
    mixed = run(plans, denoiser, seeds=[1, 2], shape=shapes)
    for i, plan in enumerate(plans):
        alone = run(plan, denoiser, seeds=[1 + i], shape=shapes)
        assert all(torch.equal(mixed[n][i : i + 1], alone[n]) for n in shapes)

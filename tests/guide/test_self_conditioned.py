"""Self-conditioning: every sample is told its own last prediction, whatever rows it lies in; training tells a share."""

from __future__ import annotations

import pytest
import torch

from perrin.denoise import Prediction, wrap
from perrin.errors import PerrinError
from perrin.guide import ClassifierFree, SelfConditioned
from perrin.guide.wrapper import ITEM
from perrin.learn.denoising import Denoising
from perrin.learn.laws import lognormal
from perrin.learn.weighting import uniform
from perrin.process import vp
from perrin.sample import make_plan, run

LEVEL = torch.zeros(2, dtype=torch.float64)


class Spy:
    """Predicts x / 2 and notes what it was told."""

    def __init__(self):
        self.told = []

    def __call__(self, x, level, condition=None):
        self.told.append((condition or {}).get("previous."))
        return Prediction(0.5 * x)


def test_every_row_is_told_its_own_last_prediction():
    spy = Spy()
    denoiser = SelfConditioned(spy)
    x = torch.arange(6.0).reshape(3, 2)
    level = torch.zeros(3, dtype=torch.float64)
    denoiser(x, level, {ITEM: torch.tensor([4, 5, 6])})
    assert spy.told[0] is None
    denoiser(x[[2, 0]] + 1, level[:2], {ITEM: torch.tensor([6, 9])})
    assert torch.equal(spy.told[1][0], 0.5 * x[2])
    assert bool(spy.told[1][1].isnan().all())  # a sample that has come anew
    denoiser(x[:1], level[:1], {ITEM: torch.tensor([9])})
    assert torch.equal(spy.told[2][0], 0.5 * (x[0] + 1))


def test_guided_branches_remember_apart_and_a_sample_is_the_same_in_any_batch():
    def network(x, time, condition):
        last = condition.get("previous.", torch.full_like(x, torch.nan)).nan_to_num(0.3)
        return torch.tanh(x + 0.5 * last + 0.1 * (condition["label"][:, None] + 1))

    def draw(seeds):
        denoiser = ClassifierFree(SelfConditioned(wrap(network, "clean")), 1.7)
        condition = {"label": torch.tensor(seeds) % 3, ITEM: torch.tensor(seeds)}
        plan = make_plan("dpmpp_2m_sde", vp(), steps=6)
        return run(plan, denoiser, seeds=seeds, shape=(2,), condition=condition, dtype=torch.float64)

    together = draw([3, 4, 5])
    for i, seed in enumerate([3, 4, 5]):
        assert torch.equal(together[i : i + 1], draw([seed]))


def test_training_tells_a_share_of_the_items_their_first_guess():
    spy, clean = Spy(), torch.randn(4000, 2)
    loss = Denoising(lognormal(), uniform(), previous=0.3)
    seeds = torch.arange(4000) * 1009
    loss(spy, clean, None, seeds)
    first, told = spy.told
    assert first is None
    given = ~told.isnan().any(1)
    assert abs(float(given.double().mean()) - 0.3) < 0.03
    x, _, _ = loss.noised(clean, None, seeds)
    assert torch.equal(told[given], 0.5 * x[given])
    with pytest.raises(PerrinError, match=r"previous = 1.5"):
        Denoising(lognormal(), uniform(), previous=1.5)


def test_rows_need_a_name():
    with pytest.raises(PerrinError, match="which sample each row is"):
        SelfConditioned(Spy())(torch.zeros(2, 2), LEVEL)

"""One step of training: clipping inside the optimiser's pass, averages of what a network keeps, attention of strangers."""

import copy

import pytest
import torch
from tests.training.tiny import (
    images_recipe,
    learned_recipe,
    points_recipe,
    trainer,
    write_images,
    write_points,
)
from torch import nn
from torch.nn import functional

from perrin import registry


class Counting(nn.Module):
    """A network whose buffers are other tensors after every pass."""

    def __init__(self, shape, classes=None):
        super().__init__()
        self.linear = nn.Linear(shape[0], shape[0])
        self.register_buffer("passes", torch.zeros(()))
        self.register_buffer("whole", torch.zeros((), dtype=torch.int64))

    def forward(self, x, time, condition=None):
        if self.training:
            self.passes, self.whole = self.passes + 1, self.whole + 1
        return self.linear(x)


class Attending(nn.Module):
    """A network from elsewhere: attention over pixels by PyTorch's own function."""

    def __init__(self, shape, classes=None, grain=1):
        super().__init__()
        self.grain, self.seen = grain, []
        self.widen, self.narrow = nn.Conv2d(shape[0], 8, grain, grain), nn.Conv2d(8, shape[0], 1)

    def forward(self, x, time, condition=None):
        h = self.widen(x)
        tokens = h.flatten(2).transpose(1, 2)[:, None]
        found = functional.scaled_dot_product_attention(tokens, tokens, tokens)
        h = found[:, 0].transpose(1, 2).reshape(h.shape)
        return self.narrow(functional.interpolate(h, size=x.shape[2:]))


@pytest.fixture(autouse=True)
def strangers(monkeypatch):
    own = {"counting": f"{__name__}:Counting", "attending": f"{__name__}:Attending"}
    monkeypatch.setattr(registry.nets, "_entries", {**registry.nets._entries, **own})


@pytest.mark.parametrize("clip", [1e-3, 1e3, None])
@pytest.mark.parametrize("recipe", [points_recipe, learned_recipe])
def test_a_step_is_adamws_after_clipping_the_network_alone(recipe, clip, tmp_path):
    one = trainer(recipe(write_points(tmp_path), clip=clip, warmup=0.0, weight_decay=0.1), tmp_path / "run")
    one.advance()  # moments that are not zero
    denoiser, learned = copy.deepcopy((one.denoiser, one.learned))
    companions = [] if learned is None else list(learned.parameters())
    groups = [{"params": list(denoiser.parameters())}]
    if companions:
        groups.append({"params": companions, "weight_decay": 0.0})
    by_hand = torch.optim.AdamW(groups, betas=one.options.betas, weight_decay=0.1)
    by_hand.load_state_dict(copy.deepcopy(one.optimiser.state_dict()))
    for group in by_hand.param_groups:
        group["lr"], group["fused"] = one.pace.rate(), False

    plain = one._clipped
    seen = {}

    def clipped():
        seen["network"] = [p.grad.clone() for p in one.denoiser.parameters()]
        seen["beside"] = [p.grad.clone() for p in one.companions()]
        return plain()

    one._clipped = clipped
    one.advance()
    for p, g in zip(denoiser.parameters(), seen["network"], strict=True):
        p.grad = g
    for p, g in zip(companions, seen["beside"], strict=True):
        p.grad = g
    norm = nn.utils.clip_grad_norm_(denoiser.parameters(), clip or float("inf"))
    by_hand.step()
    assert one.watch.line["grad_norm"] == pytest.approx(float(norm), rel=1e-5)
    for mine, right in zip(one.denoiser.parameters(), denoiser.parameters(), strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-5, atol=1e-7)
    for mine, right in zip(one.companions(), companions, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-5, atol=1e-7)


def test_buffers_that_a_network_replaces_are_averaged_as_they_are_now(tmp_path):
    recipe = points_recipe(write_points(tmp_path)) | {"net": {"name": "counting"}}
    one = trainer(recipe, tmp_path / "run")
    for _ in range(5):
        one.advance()
    for average in one.ema.averages.values():
        assert int(average["whole"]) == 5
        assert 1 < float(average["passes"]) <= 5


def test_averages_follow_the_weights_of_every_step(tmp_path):
    one = trainer(points_recipe(write_points(tmp_path), ema=[0.1], warmup=0.0), tmp_path / "run")
    gamma, average = one.ema.gammas[0.1], None
    for step in range(1, 5):
        one.advance()
        now = torch.cat([v.detach().flatten() for v in one.denoiser.net.state_dict().values()])
        share = 1 - (1 - 1 / step) ** (gamma + 1)
        average = now if average is None else average + share * (now - average)
    kept = torch.cat([v.flatten() for v in one.ema.averages[0.1].values()])
    torch.testing.assert_close(kept, average, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("precision", "grain", "quick"), [("bfloat16", 1, True), ("bfloat16", 2, False), ("float32", 1, False)]
)
def test_a_strangers_attention_is_written_out_where_that_is_faster(precision, grain, quick, tmp_path):
    """6 x 6 pixels are enough positions, 3 x 3 cells are too few, and in float32 the fused kernel is the fast one."""
    recipe = images_recipe(write_images(tmp_path), precision=precision)
    recipe["net"] = {"name": "attending", "grain": grain}
    one = trainer(recipe, tmp_path / "run")
    one.advance()
    assert (one.quick is not None) == quick
    one.advance()
    assert (one.quick is not None) == quick

"""The DiT is the published one: its blocks, its positions and its two ways of attending."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from perrin.nets.patch_transformer import DiT, TransformerBlock
from perrin.nets.positions import sines


def awake(net: nn.Module) -> nn.Module:
    """Off its zero initialisation, in float64."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return net.double()


class Told(nn.Module):
    """In the place of their own embedding of time and class: what both are told."""

    def forward(self, timestep, class_labels, hidden_dtype):
        return timestep


def test_a_block_with_the_weights_of_a_published_one_does_the_same() -> None:
    """Only names differ, so that pretrained weights can be put in."""
    attention = pytest.importorskip("diffusers.models.attention")
    width, heads = 16, 2
    ours = awake(TransformerBlock(width, heads, 4, qk_norm=False))
    theirs = attention.BasicTransformerBlock(
        width,
        heads,
        width // heads,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=10,
        attention_bias=True,
        norm_type="ada_norm_zero",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
    ).double()
    names = {
        "norm1.linear": "modulation",
        "attn1.to_out.0": "attention.out",
        "ff.net.0.proj": "widen",
        "ff.net.2": "narrow",
    }
    source, found = ours.state_dict(), {}
    for kind in ("weight", "bias"):
        found |= {f"{theirs}.{kind}": source[f"{ours}.{kind}"] for theirs, ours in names.items()}
        for name, part in zip("qkv", source[f"attention.qkv.{kind}"].chunk(3), strict=True):
            found[f"attn1.to_{name}.{kind}"] = part
    theirs.norm1.emb = Told()
    theirs.load_state_dict(found)
    x, told = torch.randn(3, 5, width).double(), torch.randn(3, width).double()
    expected = theirs(x, timestep=told)
    torch.testing.assert_close(ours(x, nn.functional.silu(told)), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("side", [3, 8])
def test_positions_of_a_picture_are_the_published_table(side: int) -> None:
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    theirs = embeddings.get_2d_sincos_pos_embed(32, side, base_size=side, output_type="pt")
    torch.testing.assert_close(sines((side, side), 32), theirs.float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sizes", [(7,), (3, 4), (2, 3, 4)])
def test_no_two_cells_have_the_same_position(sizes: tuple[int, ...]) -> None:
    table = sines(sizes, 20)
    assert table.shape == (torch.tensor(sizes).prod(), 20)
    apart = torch.cdist(table, table) + 10 * torch.eye(len(table))
    assert float(apart.min()) > 0.1


def test_every_patch_sees_every_other() -> None:
    """The receptive field is the whole picture after one block, positions included."""
    net = awake(DiT((1, 8, 8), width=16, heads=2, blocks=1))
    x = torch.randn(1, 1, 8, 8).double().requires_grad_()
    corner = net(x, torch.zeros(1).double())[0, 0, 0, 0]
    (slope,) = torch.autograd.grad(corner, x)
    assert bool((slope != 0).all())


def test_fused_and_written_out_attention_agree_and_derivatives_choose_the_second(monkeypatch) -> None:
    net = awake(DiT((1, 8, 8), width=16, heads=2, blocks=2, qk_norm=True))
    chosen = []
    attend = nn.functional.scaled_dot_product_attention

    def seen(q, k, v, mask):
        chosen.append(torch.backends.cuda.flash_sdp_enabled())  # off inside of sdpa_kernel(MATH)
        return attend(q, k, v, mask)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", seen)
    x, time = torch.randn(2, 1, 8, 8).double(), torch.zeros(2).double()
    fused = net(x, time)
    assert chosen == [True, True]
    followed = x.clone().requires_grad_()
    plain = net(followed, time)
    assert chosen[2:] == [False, False]
    torch.testing.assert_close(plain, fused)
    (slope,) = torch.autograd.grad(plain.square().sum(), followed, create_graph=True)
    slope.square().sum().backward()  # twice, as sliced score matching does
    torch.func.jvp(lambda t: net(x, t), (time,), (torch.ones_like(time),))
    assert chosen[4:] == [False, False]

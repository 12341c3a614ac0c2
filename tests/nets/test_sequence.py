"""Claims about the transformer over tokens: what it sees, what it never sees, and where it thinks a token is."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from perrin.errors import PerrinError
from perrin.nets.attention import SelfAttention, attend
from perrin.nets.rotary import turned, turns
from perrin.nets.sequence import Transformer
from perrin.registry import nets

SMALL: dict[str, Any] = {"shape": [8], "categories": 5, "states": 6, "width": 16, "heads": 2, "blocks": 2}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "labelled": {"classes": 3},
    "timed": {"timed": True},
    "timed and labelled": {"timed": True, "classes": 3, "qk_norm": True},
    "tied": {"tied": True},
    "local": {"local": 3},
    "causal": {"causal": True, "local": 3},
}
TOLD = ["labelled", "timed", "timed and labelled"]
every_variant = pytest.mark.parametrize("name", VARIANTS)


def build(name: str, awake: bool = True, **more: Any) -> Transformer:
    """A network as its JSON options make it, in float64; `awake` moves it off its zero initialisation."""
    torch.manual_seed(0)
    net = Transformer(**json.loads(json.dumps({**SMALL, **VARIANTS[name], **more})))
    if awake:
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return net.double()


def inputs(batch: int = 4, length: int = 8) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    x = torch.randint(0, 6, (batch, length), generator=torch.Generator().manual_seed(1))
    return x, torch.linspace(-1.6, 1.6, batch).double(), {"label": torch.arange(batch) % 3}


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@every_variant
def test_the_registry_builds_it_and_every_category_is_as_likely_at_initialisation(name: str) -> None:
    assert type(nets.build({"name": "transformer", **SMALL, **VARIANTS[name]})) is Transformer
    x, time, condition = inputs()
    y = build(name, awake=False)(x, time, condition)
    assert y.shape == (4, 8, 5)
    assert not y.any()


@every_variant
def test_a_row_alone_is_the_row_padded_in_a_mixed_batch(name: str) -> None:
    """Padded on the right, on the left (a moved sequence is the same one), and beside a row with nothing in it."""
    net, (x, time, condition) = build(name), inputs(4, 13)
    spans = [(0, 13), (0, 5), (6, 13), (4, 4)]
    for row, (first, last) in zip(x, spans, strict=True):
        row[:first], row[last:] = -1, -1
    together = net(x, time, condition)
    assert together.isfinite().all()
    for i, (first, last) in enumerate(spans[:3]):
        label = {"label": condition["label"][i : i + 1]}
        alone = net(x[i : i + 1, first:last], time[i : i + 1], label)
        close(alone[0], together[i, first:last], 1e-6)


@every_variant
def test_a_gap_of_absent_positions_is_no_token_of_any_kind(name: str) -> None:
    """What is seen of a present token ends with its absence, whatever it was."""
    net, (x, time, condition) = build(name), inputs(2)
    y = net(x, time, condition)
    gone = x.clone()
    gone[:, 3] = -1
    found = net(gone, time, condition)
    assert not torch.allclose(found[:, 4], y[:, 4], atol=1e-4)
    other = x.clone()
    other[:, 3] = (other[:, 3] + 1) % 6
    assert not torch.allclose(net(other, time, condition)[:, 4], y[:, 4], atol=1e-4)
    weights = dict(net.named_parameters())
    found[:, [0, 1, 2, 4, 5, 6, 7]].square().sum().backward()
    slope = weights["tokens.weight"].grad
    assert slope is not None
    unused = [token for token in range(6) if not (gone == token).any()]
    assert unused
    assert name == "tied" or not slope[unused].any()


@every_variant
def test_rows_do_not_know_of_each_other(name: str) -> None:
    net, (x, time, condition) = build(name), inputs()
    order = torch.tensor([2, 0, 3, 1])
    y = net(x, time, condition)
    close(net(x[order], time[order], {"label": condition["label"][order]}), y[order])


@every_variant
def test_every_parameter_learns(name: str) -> None:
    net, (x, time, _) = build(name), inputs()
    x.view(-1)[:6] = torch.arange(6)
    net(x, time, {"label": torch.tensor([0, 1, 2, -1])}).square().mean().backward()
    assert not [key for key, value in net.named_parameters() if value.grad is None or not value.grad.any()]


@every_variant
def test_minus_one_is_no_label_and_the_network_is_told_what_it_asks_for_alone(name: str) -> None:
    net, (x, time, condition) = build(name), inputs()
    y = net(x, time, condition)
    options = VARIANTS[name]
    close(net(x, time, {"label": torch.full((4,), -1)}), net(x, time, None))
    other = net(x, time, {"label": (condition["label"] + 1) % 3})
    later = net(x, time + 0.5, condition)
    assert torch.allclose(other, y, atol=1e-4) != ("classes" in options)
    assert torch.allclose(later, y, atol=1e-4) != ("timed" in options)
    assert any("embedding.time" in key for key in net.state_dict()) == ("timed" in options)
    assert (net.embedding is not None) == (name in TOLD)


@pytest.mark.parametrize("local", [0, 3])
def test_a_causal_network_knows_nothing_of_what_follows(local: int) -> None:
    net, (x, time, _) = build("causal", local=local), inputs()
    x[1, 2] = -1
    y = net(x, time)
    later = x.clone()
    later[:, 5:] = (later[:, 5:] + 1) % 6
    found = net(later, time)
    close(found[:, :5], y[:, :5])
    assert bool(((found - y)[:, 5:].abs().amax(2) > 1e-4).all())


@every_variant
def test_tokens_are_told_apart_by_their_places(name: str) -> None:
    """The last position's logits change when two others are swapped: order is not lost."""
    net, (x, time, condition) = build(name), inputs()
    x[:, 1], x[:, 4] = 0, 3
    swapped = x.clone()
    swapped[:, 1], swapped[:, 4] = 3, 0
    y, found = (net(v, time, condition)[:, 7] for v in (x, swapped))
    assert bool(((y - found).abs().amax(1) > 1e-5).all())


def test_rotated_products_depend_on_the_difference_of_positions_alone() -> None:
    size, length = 6, 40
    q, k = torch.randn(2, size, generator=torch.Generator().manual_seed(0)).double()
    both = torch.stack([q, k]).view(1, 1, 2, 1, size).expand(1, length, 2, 1, size)
    found = turned(both, turns(length, size).double())[0, :, :, 0]
    products = found[:, 0] @ found[:, 1].T
    for shift in (1, 7, 30):
        close(products[shift:, shift:], products[:-shift, :-shift], 1e-6)
    close(products.diagonal(), (q @ k).expand(length), 1e-6)
    assert float(products[0].diff().abs().min()) > 1e-4


def test_rotations_are_the_published_ones() -> None:
    """exp(i n w) on the numbers x_i + i x_(i + h), as complex numbers written out."""
    size, length = 8, 5
    x = torch.randn(1, length, 1, 1, size, generator=torch.Generator().manual_seed(0)).double()
    number = torch.complex(x[..., : size // 2], x[..., size // 2 :])
    w = 10_000.0 ** (-torch.arange(size // 2).double() / (size // 2))
    angle = torch.arange(length).double().view(-1, 1, 1, 1) * w
    expected = number * torch.polar(torch.ones_like(angle), angle)
    close(turned(x, turns(length, size).double()), torch.cat([expected.real, expected.imag], -1), 1e-6)


def test_longer_sequences_than_the_declared_one_keep_their_places() -> None:
    """Position 3 is turned alike in a network for 8 positions and in one for 20."""
    few, many = build("plain"), build("plain", shape=[20])
    many.load_state_dict(few.state_dict())
    x, time, _ = inputs(2, 20)
    close(few(x, time), many(x, time))


@pytest.mark.parametrize("masked", [False, True])
def test_the_ways_of_attending_agree(masked: bool) -> None:
    """The fused kernel, the written-out one and half precision's own on a CPU."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 7, 4, generator=generator)
    mask = (torch.arange(7) < torch.tensor([[7], [4]]))[:, None, None] if masked else None
    exact = attend(q.double(), k.double(), v.double(), mask)
    close(attend(q.double(), k.double(), v.double(), mask, fused=False), exact)
    scores = q.double() @ k.double().transpose(2, 3) / 2
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    close(scores.softmax(3) @ v.double(), exact)
    half = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask)
    assert half.dtype == torch.bfloat16
    close(half.double(), exact, 0.03)


def test_no_mask_is_passed_where_no_position_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    attend_fused = nn.functional.scaled_dot_product_attention

    def watched(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        seen.append(mask is None)
        return attend_fused(q, k, v, mask)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", watched)
    net, (x, time, _) = build("plain"), inputs()
    net(x, time)
    x[0, 7] = -1
    net(x, time)
    assert seen == [True, True, False, False]


@every_variant
def test_it_is_one_graph_to_the_compiler(name: str) -> None:
    net, (x, time, condition) = build(name), inputs()
    torch.compiler.reset()
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    close(compiled(x, time, condition), net(x, time, condition))
    x[1, 5:] = -1
    close(compiled(x, time, None)[0], net(x, time, None)[0])


@every_variant
def test_half_precision_is_close_and_finite(name: str) -> None:
    net, (x, time, condition) = build(name).float(), inputs()
    x[1, 5:], x[2, :3], x[3] = -1, -1, -1
    exact = net(x, time.float(), condition)
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(x, time.float(), condition).float()
    assert rough.isfinite().all()
    there = x >= 0
    assert (rough - exact)[there].square().mean() < 0.02**2 * exact[there].square().mean()


def test_cached_keys_and_values_may_be_attended_to_later() -> None:
    """`parts` of one token at its own place, beside those of the tokens before, is the last row of the whole."""
    torch.manual_seed(0)
    attention = SelfAttention(16, 2, qk_norm=True).double()
    x, places = torch.randn(3, 6, 16).double(), turns(6, 8).double()
    mask = torch.ones(6, 6, dtype=torch.bool).tril()
    whole = attention(x, turn=places, mask=mask)
    _, k, v = attention.parts(x[:, :5], places[:, :5])
    q, k_new, v_new = attention.parts(x[:, 5:], places[:, 5:])
    last = attention.joined(attend(q, torch.cat([k, k_new], 2), torch.cat([v, v_new], 2)))
    close(last[:, 0], whole[:, 5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (3, 8)}, r"shape \(3, 8\) is no sequence"),
        ({"categories": 7}, "categories = 7 must be >= 1 and <= states = 6"),
        ({"width": 18, "heads": 3}, None),
        ({"width": 18, "heads": 2}, "width = 18 must be a multiple of 2 heads = 4"),
        ({"local": 4}, "local = 4 must be odd"),
    ],
)
def test_impossible_options_get_one_clear_line(options: dict[str, Any], message: str | None) -> None:
    if message is None:
        Transformer(**{**SMALL, **options})
        return
    with pytest.raises(PerrinError, match=message) as caught:
        Transformer(**{**SMALL, **options})
    assert "\n" not in str(caught.value)

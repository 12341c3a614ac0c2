"""The autoregressive baseline of the text benchmark writes as it was trained."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from perrin.nets.sequence import Transformer

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks" / "text"


@pytest.fixture
def autoregressive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield import_module("autoregressive")
    sys.modules.pop("autoregressive")


def causal(local: int) -> Transformer:
    torch.manual_seed(0)
    net = Transformer(
        (12,), categories=5, states=6, width=16, blocks=2, heads=2, causal=True, local=local, qk_norm=True
    )
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return net.double()


@pytest.mark.parametrize("local", [0, 3])
def test_one_position_at_a_time_with_a_cache_is_the_whole_text_at_once(
    autoregressive: Any, local: int
) -> None:
    net = causal(local)
    texts = torch.randint(0, 5, (3, 12))
    whole = autoregressive.logits(net, texts)
    writer = autoregressive.Writer(net, 3, 12)
    fed = torch.cat([torch.full((3, 1), 5), texts[:, :-1]], 1)
    steps = torch.stack([writer.step(tokens) for tokens in fed.T], 1)
    torch.testing.assert_close(steps, whole, rtol=0, atol=1e-9)
    assert writer.calls == 12


def test_texts_are_drawn_by_their_chances(autoregressive: Any) -> None:
    """The first token's frequencies, and those of the second given it, are the network's own."""
    net, count = causal(3), 20_000
    texts, calls = autoregressive.write(net, count, 2, seed=0)
    assert calls == 2
    with torch.no_grad():
        chances = autoregressive.logits(net, texts).softmax(2)
    first = chances[0, 0]
    found = torch.bincount(texts[:, 0], minlength=5) / count
    assert bool(((found - first).abs() < 4 * (first * (1 - first) / count).sqrt()).all())
    token = int(first.argmax())
    after = texts[texts[:, 0] == token]
    second = chances[texts[:, 0] == token][0, 1]
    found = torch.bincount(after[:, 1], minlength=5) / len(after)
    assert bool(((found - second).abs() < 4 * (second * (1 - second) / len(after)).sqrt()).all())

"""The autoregressive transformer that masked diffusion is measured against: the same network, causal, left to right.

    python benchmarks/text/autoregressive.py --model runs/text --data tinyshakespeare.txt --out ar.safetensors

    log p(x) = sum_n log p(x_n | x_1 .. x_(n-1)),      x_0 = the token K, which no text holds

trained on the model's own vocabulary, context and network options for as many CPU-seconds as asked, the last tenth of
the text held out. `Writer` draws from it with keys and values kept (a KV cache): one call of the network per position.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

import perrin
from perrin.model import Model
from perrin.nets.attention import SelfAttention, attend
from perrin.nets.sequence import Transformer, Window

HELD = 0.1


def network(model: Model) -> Transformer:
    """The causal network of a masked model's own size, with fresh weights."""
    options = {name: value for name, value in model.design.net.items() if name != "name"}
    told = {"causal": True, "classes": None, "timed": False, "states": options["categories"] + 1}
    return Transformer(**{**options, **told})


def logits(net: Transformer, x: Tensor) -> Tensor:
    """Of every position of texts [B, L] given those before it, [B, L, K]."""
    start = torch.full((len(x), 1), net.categories, device=x.device)
    found: Tensor = net(torch.cat([start, x[:, :-1]], 1), torch.zeros(len(x)))
    return found


def cross_entropy(net: Transformer, x: Tensor) -> Tensor:
    """-ln p of every token [B, L]."""
    with torch.autocast("cpu", torch.bfloat16):
        found = logits(net, x)
    return functional.cross_entropy(found.float().transpose(1, 2), x, reduction="none")


def train(
    net: Transformer, tokens: Tensor, context: int, seconds: float, batch: int, rate: float, seed: int
) -> int:
    """Train on random crops for so many CPU-seconds; the number of steps."""
    generator, places, steps = torch.Generator().manual_seed(seed), torch.arange(context), 0
    optimiser = torch.optim.AdamW(net.parameters(), rate, betas=(0.9, 0.98), weight_decay=0.1, fused=True)
    started = time.process_time()
    while (spent := (time.process_time() - started) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, 20 * spent + 1e-3) * (1 + math.cos(math.pi * spent)) / 2
        first = torch.randint(0, len(tokens) - context + 1, (batch, 1), generator=generator)
        loss = cross_entropy(net, tokens[first + places]).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        steps += 1
    return steps


@torch.inference_mode()
def bits(net: Transformer, tokens: Tensor, context: int) -> float:
    """Per token of a text, window by window: each window's first token is given nothing."""
    rows = tokens[: len(tokens) // context * context].view(-1, context)
    found = [cross_entropy(net, rows[i : i + 32]).flatten() for i in range(0, len(rows), 32)]
    return float(torch.cat(found).mean()) / math.log(2)


class CachedAttention(nn.Module):
    """A causal self-attention that is given one position at a time and keeps the keys and values of those before."""

    def __init__(self, attention: SelfAttention, turns: Tensor, batch: int) -> None:
        super().__init__()
        self.attention, self.turns, self.place = attention, turns, 0
        shape = (2, batch, attention.heads, turns.shape[1], turns.shape[-1])
        self.kept = torch.empty(shape, dtype=attention.qkv.weight.dtype)

    def forward(
        self, x: Tensor, fused: bool = True, turn: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """x [B, 1, width], of the next position -> [B, 1, width]."""
        n = self.place
        q, *new = self.attention.parts(x, self.turns[:, n : n + 1])
        self.kept[:, :, :, n : n + 1] = torch.stack(new)
        self.place = n + 1
        k, v = self.kept[:, :, :, : n + 1]
        return self.attention.joined(attend(q, k, v))


class CachedWindow(nn.Module):
    """A causal window that keeps what it has seen."""

    def __init__(self, window: Window, batch: int) -> None:
        super().__init__()
        width, _, size = window.weight.shape
        self.weight = window.weight[:, 0].T
        self.seen = torch.zeros(batch, size, width, dtype=self.weight.dtype)

    def forward(self, x: Tensor, absent: Tensor | None) -> Tensor:
        """x [B, 1, width] -> [B, 1, width]."""
        self.seen = torch.cat([self.seen[:, 1:], x], 1)
        return x + (self.seen * self.weight).sum(1, keepdim=True)


class Writer:
    """Draws texts of at most `length` tokens from a causal network, a batch at a time, position by position."""

    def __init__(self, net: Transformer, batch: int, length: int) -> None:
        self.net, self.batch, self.calls = copy.deepcopy(net).eval(), batch, 0
        turns = net.turn(length)
        blocks: Any = self.net.blocks
        for block in blocks:
            block.attention = CachedAttention(block.attention, turns, batch)
        windows: Any = self.net.windows
        for i, window in enumerate(windows):
            windows[i] = CachedWindow(window, batch)
        self.time = torch.zeros(batch)

    @torch.inference_mode()
    def step(self, tokens: Tensor) -> Tensor:
        """Tokens [B] of this position -> logits [B, K] of the next."""
        self.calls += 1
        found: Tensor = self.net(tokens[:, None], self.time)[:, 0]
        return found


def write(net: Transformer, batch: int, length: int, seed: int) -> tuple[Tensor, int]:
    """(texts int64 [batch, length], calls of the network)."""
    writer, generator = Writer(net, batch, length), torch.Generator().manual_seed(seed)
    token, found = torch.full((batch,), net.categories), []
    for _ in range(length):
        chances = writer.step(token).softmax(1)
        token = torch.multinomial(chances, 1, generator=generator)[:, 0]
        found.append(token)
    return torch.stack(found, 1), writer.calls


def load(path: Path, model: Model) -> Transformer:
    """The baseline that `main` left."""
    net = network(model)
    net.load_state_dict(load_file(path))
    return net.eval()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", required=True, help="a masked model, whose vocabulary, context and size are taken"
    )
    parser.add_argument("--data", type=Path, required=True, help="the text, one .txt")
    parser.add_argument("--out", type=Path, required=True, help="the weights, .safetensors")
    parser.add_argument("--seconds", type=float, default=480.0, help="of CPU time, one thread")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=2e-3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = perrin.load(asked.model)
    codec: Any = model.codec
    text = asked.data.read_text(encoding="utf-8")
    cut = len(text) - int(HELD * len(text))
    tokens, held = (torch.from_numpy(codec.tokens(part)) for part in (text[:cut], text[cut:]))
    net, context = network(model), codec.shape[0]
    steps = train(net.train(), tokens, context, asked.seconds, asked.batch, asked.lr, 0)
    row = {
        "parameters": sum(p.numel() for p in net.parameters()),
        "cpu_seconds": asked.seconds,
        "steps": steps,
        "held_out_bits": bits(net.eval(), held, context),
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(net.state_dict(), asked.out)
    asked.out.with_suffix(".json").write_text(json.dumps(row, indent=2) + "\n")
    print(json.dumps(row))


if __name__ == "__main__":
    main()

r"""The transformer over tokens: from a sequence of them to the logits of every position's own token.

    h_n = Token[x_n],   h = block(h) at each of the blocks of `attention.py`, positions by `rotary.py`
    logits = W norm(h)

Every position sees every other that is there (Devlin et al. 2018, arXiv:1810.04805). A masked process needs no more:
the share of masked tokens says how much is known, so that the network is told no time unless it asks for it
(Sahoo et al. 2024, arXiv:2406.07524; Ou et al. 2024, arXiv:2406.03736).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from perrin.errors import PerrinError
from perrin.nets.attention import TransformerBlock, layer_norm, modulated
from perrin.nets.embedding import Condition, Embedding
from perrin.nets.residual_mlp import zero_linear
from perrin.nets.rotary import turns


class Transformer(nn.Module):
    """A transformer for sequences of tokens, bidirectional, of any length.

    Args:
        shape: (L,), the usual number of positions; more and fewer are accepted.
        categories: K, the number of logits of a position.
        states: number of tokens that may come in, K and whatever else a process makes of them (a mask).
        classes: number of classes of the condition `"label"`, or None.
        timed: tell every block the time, as the label is told; without it the time is not looked at.
        tied: logits are products with the embeddings of tokens 0 .. K - 1 instead of with weights of their own.
        causal: a position sees itself and those before it alone, as a network that writes from left to right.
        local: size of a window, odd, over which every block first takes a weighted sum, channel by channel; 0: none.
            Its zeros beyond the ends also tell where a text begins and ends, which rotary positions alone do not.
        width: size of a token; blocks: their number; heads: attention heads, which divide the width into even parts.
        expansion: width inside the MLPs, in units of `width`.
        qk_norm: normalise queries and keys, for large networks in half precision.

    A token of -1 says that there is no position here: nothing sees it, and its own logits mean nothing.

    Raises:
        PerrinError: options that do not match.
    """

    takes_tokens = True
    turns: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        *,
        categories: int,
        states: int,
        classes: int | None = None,
        timed: bool = False,
        tied: bool = False,
        causal: bool = False,
        local: int = 0,
        width: int = 192,
        blocks: int = 4,
        heads: int = 3,
        expansion: int = 4,
        qk_norm: bool = False,
    ) -> None:
        super().__init__()
        _check(tuple(shape), categories, states, width, heads, local)
        self.categories, self.timed, self.tied, self.causal = categories, timed, tied, causal
        self.register_buffer("turns", turns(shape[0], width // heads), persistent=False)
        self.tokens = nn.Embedding(states, width)
        told = timed or bool(classes)
        self.embedding = Embedding(width, classes, timed=timed) if told else None
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, expansion, qk_norm, told) for _ in range(blocks)
        )
        self.windows = nn.ModuleList(Window(width, local, causal) for _ in range(blocks if local else 0))
        self.norm = layer_norm(width, affine=not told)
        self.modulation = zero_linear(width, 2 * width) if told else None
        self.exit = zero_linear(width, width if tied else categories)

    def forward(self, x: Tensor, time: Tensor, condition: Condition | None = None) -> Tensor:
        """x int64 [B, L], time [B], condition None or `"label"` int64 [B] (-1: none) -> logits [B, L, K]."""
        absent = _absent(x)
        embedding = None if self.embedding is None else self.embedding(time, condition)
        h, turn, mask = self.tokens(x.clamp(min=0)), self.turn(x.shape[1]), self._mask(absent, x)
        for i, block in enumerate(self.blocks):
            if self.windows:
                h = self.windows[i](h, absent)
            h = block(h, embedding, turn=turn, mask=mask)
        return self.logits(h, embedding)

    def turn(self, length: int) -> Tensor:
        """The rotations of positions 0 .. length - 1."""
        if length <= self.turns.shape[1]:
            return self.turns[:, :length]
        return turns(length, self.turns.shape[-1]).to(self.turns)

    def logits(self, h: Tensor, embedding: Tensor | None) -> Tensor:
        """What the last block leaves, [B, N, width], as logits [B, N, K]."""
        h = self.norm(h)
        if self.modulation is not None:
            shift, scale = self.modulation(embedding)[:, None].chunk(2, dim=2)
            h = modulated(h, shift, scale)
        y: Tensor = self.exit(h)
        return functional.linear(y, self.tokens.weight[: self.categories]) if self.tied else y

    def _mask(self, absent: Tensor | None, x: Tensor) -> Tensor | None:
        if absent is None and not self.causal:
            return None
        mask = torch.ones(1, 1, 1, x.shape[1], dtype=torch.bool, device=x.device)
        if absent is not None:
            mask = ~absent[:, None, None]
        if self.causal:
            mask = mask & torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        blind = ~mask.any(3, keepdim=True)  # a softmax over no keys is NaN, so who sees none sees all
        return mask | blind


class Window(nn.Module):
    """x_n + sum_d w_d x_{n + d} over a small window, channel by channel; see "Primer" (So et al. 2021, arXiv:2109.08668).

    The order of neighbours, for which attention needs many steps and pairs, is there from the first step on, since
    the weights are random at first. Of a causal network the window ends at n.
    """

    def __init__(self, width: int, size: int, causal: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, 1, size) / math.sqrt(size))
        self.reach = (size - 1, 0) if causal else (size // 2, size // 2)

    def forward(self, x: Tensor, absent: Tensor | None) -> Tensor:
        """x [B, N, width], absent bool [B, N] or None -> [B, N, width]."""
        seen = x if absent is None else x.masked_fill(absent[:, :, None], 0.0)
        padded = functional.pad(seen.transpose(1, 2), self.reach)
        return x + functional.conv1d(padded, self.weight, groups=x.shape[2]).transpose(1, 2)


def _absent(x: Tensor) -> Tensor | None:
    absent = x < 0
    if torch.compiler.is_compiling() or bool(absent.any()):
        return absent
    return None  # a graph cannot ask, and the fused kernels are faster without a mask


def _check(shape: tuple[int, ...], categories: int, states: int, width: int, heads: int, local: int) -> None:
    if len(shape) != 1:
        raise PerrinError(f"transformer: shape {shape} is no sequence of tokens; (L,) is right")
    if not 1 <= categories <= states:
        raise PerrinError(f"transformer: categories = {categories} must be >= 1 and <= states = {states}")
    if width % (2 * heads):
        raise PerrinError(f"transformer: width = {width} must be a multiple of 2 heads = {2 * heads}")
    if local < 0 or (local and local % 2 == 0):
        raise PerrinError(f"transformer: local = {local} must be odd, or 0 for none")

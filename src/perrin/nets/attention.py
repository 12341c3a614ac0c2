r"""Self-attention and the pre-norm block around it: one for every transformer here, over patches or over tokens.

    x = x + gate_1 attention((1 + scale_1) norm(x) + shift_1)
    x = x + gate_2 W2 gelu(W1 ((1 + scale_2) norm(x) + shift_2))

Shifts, scales and gates are linear in an embedding and zero at first (adaLN-zero: Peebles and Xie 2023,
arXiv:2212.09748). A block that is told nothing has plain layer norms, no gates, and the two maps that lead back into
the stream start at zero instead. Either way a block begins as the identity.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from perrin.nets.residual_mlp import zero_linear
from perrin.nets.rotary import turned

WRITTEN_OUT = 1024
"""So many positions at most are attended to without the fused kernel in half precision on a CPU, see `attend`."""


class TransformerBlock(nn.Module):
    """Attention and MLP on tokens [B, N, width]; the identity at first.

    Args:
        width: size of a token; heads: attention heads, which divide it; expansion: of the MLP, in units of `width`.
        qk_norm: normalise queries and keys (Henry et al. 2020), for large networks in half precision.
        told: whether `forward` is given an embedding [B, width].
        epsilon: of the norm before the MLP.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        expansion: int,
        qk_norm: bool,
        told: bool = True,
        epsilon: float = 1e-6,
    ) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = layer_norm(width, not told), layer_norm(width, not told, epsilon)
        self.modulation = zero_linear(width, 6 * width) if told else None
        self.attention = SelfAttention(width, heads, qk_norm)
        self.widen, self.narrow = linear(width, expansion * width), linear(expansion * width, width)
        if not told:
            nn.init.zeros_(self.attention.out.weight)
            nn.init.zeros_(self.narrow.weight)

    def forward(
        self,
        x: Tensor,
        embedding: Tensor | None = None,
        fused: bool = True,
        turn: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """x [B, N, width], embedding [B, width] -> [B, N, width]; the others as in `SelfAttention`."""
        if self.modulation is None:
            x = x + self.attention(self.norm_1(x), fused, turn, mask)
            return x + self._mlp(self.norm_2(x))
        told = self.modulation(embedding)[:, None]
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = told.chunk(6, dim=2)
        x = torch.addcmul(
            x, gate_1, self.attention(modulated(self.norm_1(x), shift_1, scale_1), fused, turn, mask)
        )
        return torch.addcmul(x, gate_2, self._mlp(modulated(self.norm_2(x), shift_2, scale_2)))

    def _mlp(self, x: Tensor) -> Tensor:
        y: Tensor = self.narrow(functional.gelu(self.widen(x), approximate="tanh"))
        return y


class SelfAttention(nn.Module):
    """Self-attention over tokens [B, N, width]."""

    def __init__(self, width: int, heads: int, qk_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = linear(width, 3 * width), linear(width, width)
        self.scales = nn.Parameter(torch.ones(2, width // heads)) if qk_norm else None

    def forward(
        self, x: Tensor, fused: bool = True, turn: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Tokens to tokens [B, N, width].

        Args:
            fused: False where a derivative is asked for that PyTorch's fused kernels do not have.
            turn: `rotary.turns` of the positions; None for tokens that say themselves where they are.
            mask: bool, broadcast to [B, heads, N, N]: True where a query (row) may see a key (column). None: all.
        """
        return self.joined(attend(*self.parts(x, turn), mask, fused))

    def parts(self, x: Tensor, turn: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, heads, N, width / heads]."""
        qk, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).split([2, 1], dim=2)
        if self.scales is not None:
            qk = functional.rms_norm(qk, qk.shape[-1:]) * self.scales.to(qk.dtype)[:, None]
        if turn is not None:
            qk = turned(qk, turn)
        q, k = qk.permute(2, 0, 3, 1, 4)
        return q, k, v.squeeze(2).transpose(1, 2)

    def joined(self, y: Tensor) -> Tensor:
        """What the heads found, [B, heads, N, width / heads], as tokens [B, N, width]."""
        found: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return found


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, fused: bool = True) -> Tensor:
    """softmax(q k^T / sqrt(size) where the mask is True) v, by the fused kernel where that is the fast way.

    In half precision on a CPU the fused kernel of PyTorch (2.13) takes two to four times as long as its three parts
    at 128 and 256 positions; beyond those the matrix of all pairs costs too much memory.
    """
    if not fused:
        with sdpa_kernel(SDPBackend.MATH):
            return functional.scaled_dot_product_attention(q, k, v, mask)
    if q.device.type == "cpu" and q.dtype in (torch.bfloat16, torch.float16) and k.shape[2] <= WRITTEN_OUT:
        scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(2, 3)
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf)
        return scores.softmax(3) @ v
    return functional.scaled_dot_product_attention(q, k, v, mask)


def linear(size_in: int, size_out: int) -> nn.Linear:
    """A linear map that starts with variance 2 / (in + out), and no bias."""
    made = nn.Linear(size_in, size_out)
    nn.init.xavier_uniform_(made.weight)
    nn.init.zeros_(made.bias)
    return made


def layer_norm(width: int, affine: bool = False, epsilon: float = 1e-6) -> nn.LayerNorm:
    """The layer norm of published weights, by itself without scale and shift."""
    return nn.LayerNorm(width, eps=epsilon, elementwise_affine=affine)


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """(1 + scale) x + shift."""
    return torch.addcmul(x + shift, x, scale)

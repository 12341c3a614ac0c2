r"""The DiT: a transformer over patches, for series, images and volumes (Peebles and Xie 2023, arXiv:2212.09748).

    h = W fold(x) + positions
    at each block:  h = h + gate_1 attention((1 + scale_1) norm(h) + shift_1)
                    h = h + gate_2 mlp((1 + scale_2) norm(h) + shift_2)
    y = unfold(exit((1 + scale) norm(h) + shift))

Every shift, scale and gate is linear in the embedding of time and conditions and zero at first (adaLN-zero), so that
a block begins as the identity and the output as zero. The number of dimensions is read from the shape and nothing here
depends on it. Names and orders are those of published weights: one map to q, k and v with biases, an MLP with the
tanh GELU, six modulations as shift, scale, gate of the attention and then of the MLP, two at the exit as shift, scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from perrin.errors import PerrinError
from perrin.nets.embedding import Condition, Embedding, concatenated
from perrin.nets.folding import fold, pad, unfold
from perrin.nets.positions import sines
from perrin.nets.residual_mlp import zero_linear


class DiT(nn.Module):
    """A transformer over patches for states [C, length], [C, height, width] or [C, depth, height, width].

    Args:
        shape: state shape without the batch; `len(shape) - 1` is the number of dimensions, 1 to 3.
        classes: number of classes, or None.
        vector_size: K of the condition `"vector"` [B, K]; 0 for none.
        concat_channels: channels of the condition `"concat"` [B, Cc, *spatial]; 0 for none.
        out_channels: channels of the output, C when None.
        patch: side of a patch, one token each.
        width: size of a token.
        blocks: number of blocks.
        heads: attention heads, which must divide the width.
        expansion: width inside the MLPs, in units of `width`.
        qk_norm: normalise queries and keys (Henry et al. 2020), for large networks in half precision.

    Any spatial size is accepted, also other than `shape`: the input is padded with zeros and the output cut.

    Raises:
        PerrinError: for a shape of other than 1 to 3 spatial dimensions, or options that do not match.
    """

    positions: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        *,
        classes: int | None = None,
        vector_size: int = 0,
        concat_channels: int = 0,
        out_channels: int | None = None,
        patch: int = 2,
        width: int = 128,
        blocks: int = 6,
        heads: int = 4,
        expansion: int = 4,
        qk_norm: bool = False,
    ) -> None:
        super().__init__()
        dims = len(shape) - 1
        if not 1 <= dims <= 3:
            raise PerrinError(f"dit: shape {tuple(shape)} has {dims} spatial dimensions; 1 to 3 are right")
        if width % heads:
            raise PerrinError(f"dit: width = {width} must be a multiple of heads = {heads}")
        if patch < 1:
            raise PerrinError(f"dit: patch = {patch} must be >= 1")
        cells = patch**dims
        c_in = shape[0] + (concat_channels + 1 if concat_channels else 0)
        c_out = shape[0] if out_channels is None else out_channels
        self.patch, self.concat_channels = patch, concat_channels
        self.grid = tuple(-(-size // patch) for size in shape[1:])
        self.register_buffer("positions", sines(self.grid, width), persistent=False)
        self.embedding = Embedding(width, classes, vector_size)
        self.entrance = _linear(c_in * cells, width)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, expansion, qk_norm) for _ in range(blocks))
        self.norm = _layer_norm(width)
        self.modulation, self.exit = zero_linear(width, 2 * width), zero_linear(width, c_out * cells)

    def forward(self, x: Tensor, time: Tensor, condition: Condition | None = None) -> Tensor:
        """x [B, C, *spatial], time [B], condition as in `Embedding` or `"concat"` -> [B, C_out, *spatial]."""
        spatial, embedding = x.shape[2:], self.embedding(time, condition)
        cells = fold(pad(concatenated(x, condition, self.concat_channels), self.patch), self.patch)
        h = self.entrance(cells.flatten(2).transpose(1, 2))
        h = h + self._positions(cells).to(h.dtype)
        fused = not (_differentiated(x) or _differentiated(time))
        for block in self.blocks:
            h = block(h, embedding, fused)
        shift, scale = self.modulation(embedding)[:, None].chunk(2, dim=2)
        h = self.exit(_modulated(self.norm(h), shift, scale))
        y = unfold(h.transpose(1, 2).unflatten(2, cells.shape[2:]), self.patch)
        return y[(slice(None), slice(None), *(slice(size) for size in spatial))]

    def _positions(self, cells: Tensor) -> Tensor:
        sizes = tuple(cells.shape[2:])
        if sizes == self.grid:
            return self.positions
        return sines(sizes, self.positions.shape[1]).to(cells.device)


class TransformerBlock(nn.Module):
    """Attention and MLP on tokens [B, N, width], told the embedding [B, width]; the identity at first."""

    def __init__(self, width: int, heads: int, expansion: int, qk_norm: bool) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = _layer_norm(width), _layer_norm(width)
        self.modulation = zero_linear(width, 6 * width)
        self.attention = SelfAttention(width, heads, qk_norm)
        self.widen, self.narrow = _linear(width, expansion * width), _linear(expansion * width, width)

    def forward(self, x: Tensor, embedding: Tensor, fused: bool = True) -> Tensor:
        told = self.modulation(embedding)[:, None]
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = told.chunk(6, dim=2)
        x = torch.addcmul(x, gate_1, self.attention(_modulated(self.norm_1(x), shift_1, scale_1), fused))
        h = self.widen(_modulated(self.norm_2(x), shift_2, scale_2))
        return torch.addcmul(x, gate_2, self.narrow(functional.gelu(h, approximate="tanh")))


class SelfAttention(nn.Module):
    """Self-attention over tokens [B, N, width]."""

    def __init__(self, width: int, heads: int, qk_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = _linear(width, 3 * width), _linear(width, width)
        self.scales = nn.Parameter(torch.ones(2, width // heads)) if qk_norm else None

    def forward(self, x: Tensor, fused: bool = True) -> Tensor:
        """`fused` may be False where a derivative is asked for that PyTorch's fused kernels do not have."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.scales is not None:
            scales = self.scales.to(q.dtype)
            q, k = (functional.rms_norm(v, s.shape, s) for v, s in zip((q, k), scales, strict=True))
        if fused:
            y = functional.scaled_dot_product_attention(q, k, v)
        else:
            with sdpa_kernel(SDPBackend.MATH):
                y = functional.scaled_dot_product_attention(q, k, v)
        found: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return found


def _linear(size_in: int, size_out: int) -> nn.Linear:
    linear = nn.Linear(size_in, size_out)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _layer_norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)


def _modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return torch.addcmul(x + shift, x, scale)


def _differentiated(x: Tensor) -> bool:
    """Whether an input, and not the weights alone, is differentiated: by forward mode, or maybe twice."""
    dual = forward_ad.unpack_dual(x)  # type: ignore[no-untyped-call]
    return x.requires_grad or dual.tangent is not None

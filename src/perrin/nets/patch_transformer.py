r"""The DiT: a transformer over patches, for series, images and volumes (Peebles and Xie 2023, arXiv:2212.09748).

    h = W fold(x) + positions
    h = block(h, embedding)   at each of the blocks of `attention.py`
    y = unfold(exit((1 + scale) norm(h) + shift))

Every shift, scale and gate is linear in the embedding of time and conditions and zero at first (adaLN-zero), so that
a block begins as the identity and the output as zero. The number of dimensions is read from the shape and nothing here
depends on it. Names and orders are those of published weights: one map to q, k and v with biases, an MLP with the
tanh GELU, six modulations as shift, scale, gate of the attention and then of the MLP, two at the exit as shift, scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.autograd import forward_ad

from perrin.errors import PerrinError
from perrin.nets.attention import TransformerBlock, layer_norm, linear, modulated
from perrin.nets.embedding import Condition, Embedding, concatenated
from perrin.nets.folding import fold, pad, unfold
from perrin.nets.positions import sines
from perrin.nets.residual_mlp import zero_linear
from perrin.nets.steps import StepEmbedding

STEP_FEATURES = 256
"""Cosines and sines of a step in published DiTs."""


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
        clock: "level": the time is of order one, see `Embedding`; "step": it is the step of a chain, as published weights
            are told it, see `StepEmbedding`. It goes with a schedule of steps in the recipe's parameterisation.
        gap: of `StepEmbedding`: 0 in the published networks, 1 in those of diffusers.
        epsilon: of the norm before each MLP: 1e-6 in the published networks, 1e-5 in those of diffusers.
        own_embeddings: an embedding for each block, as weights may have that were trained in diffusers.
        until: whether the network is told where a step ends, by the condition `"until"` [B]; for clock: level.

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
        clock: Literal["level", "step"] = "level",
        gap: int = 0,
        epsilon: float = 1e-6,
        own_embeddings: bool = False,
        until: bool = False,
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
        self.patch, self.concat_channels, self.takes_until = patch, concat_channels, until
        self.grid = tuple(-(-size // patch) for size in shape[1:])
        self.register_buffer("positions", sines(self.grid, width), persistent=False)
        if clock == "step":
            if vector_size or until:
                raise PerrinError(
                    "dit: clock: step tells classes alone, no vector of properties and no end of a step"
                )
            made = [
                StepEmbedding(STEP_FEATURES, width, classes, gap)
                for _ in range(blocks if own_embeddings else 1)
            ]
            self.embedding: nn.Module = nn.ModuleList(made) if own_embeddings else made[0]
        else:
            if own_embeddings or gap:
                raise PerrinError("dit: own_embeddings and gap are for clock: step")
            self.embedding = Embedding(width, classes, vector_size, until=until)
        self.entrance = linear(c_in * cells, width)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, expansion, qk_norm, epsilon=epsilon) for _ in range(blocks)
        )
        self.norm = layer_norm(width)
        self.modulation, self.exit = zero_linear(width, 2 * width), zero_linear(width, c_out * cells)

    def forward(self, x: Tensor, time: Tensor, condition: Condition | None = None) -> Tensor:
        """x [B, C, *spatial], time [B], condition as in `Embedding` or `"concat"` -> [B, C_out, *spatial]."""
        spatial, embeddings = x.shape[2:], self._embeddings(time, condition)
        cells = fold(pad(concatenated(x, condition, self.concat_channels), self.patch), self.patch)
        h = self.entrance(cells.flatten(2).transpose(1, 2))
        h = h + self._positions(cells).to(h.dtype)
        fused = not (differentiated(x) or differentiated(time))
        for block, embedding in zip(self.blocks, embeddings, strict=False):
            h = block(h, embedding, fused)
        shift, scale = self.modulation(embeddings[0])[:, None].chunk(2, dim=2)
        h = self.exit(modulated(self.norm(h), shift, scale))
        y = unfold(h.transpose(1, 2).unflatten(2, cells.shape[2:]), self.patch)
        return y[(slice(None), slice(None), *(slice(size) for size in spatial))]

    def _embeddings(self, time: Tensor, condition: Condition | None) -> list[Tensor]:
        """What each block is told [B, width]; the exit is told what the first one is."""
        if isinstance(self.embedding, nn.ModuleList):
            return [embedding(time, condition) for embedding in self.embedding]
        return [self.embedding(time, condition)] * max(1, len(self.blocks))

    def _positions(self, cells: Tensor) -> Tensor:
        sizes = tuple(cells.shape[2:])
        if sizes == self.grid:
            return self.positions
        return sines(sizes, self.positions.shape[1]).to(cells.device)


def differentiated(x: Tensor) -> bool:
    """Whether an input, and not the weights alone, is differentiated: by forward mode, or maybe twice."""
    dual = forward_ad.unpack_dual(x)  # type: ignore[no-untyped-call]
    return x.requires_grad or dual.tangent is not None

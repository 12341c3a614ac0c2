"""The U-Net: one convolutional network for series, images and volumes.

    h = entrance(fold(x))
    down, at each resolution:  h = stage(h),  kept;  h = narrow(fold(h))
    up, in reverse:            h = stage([unfold(widen(h)), kept])
    y = unfold(exit(silu(norm(h))))

Ronneberger et al. 2015 (arXiv:1505.04597) with the parts in `blocks`. The number of dimensions is read from
the shape and nothing here depends on it. `patch` folds blocks of pixels into channels at the entrance, which
makes the highest and dearest resolution cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from perrin.errors import PerrinError
from perrin.nets.blocks import Stage, convolution, group_norm
from perrin.nets.embedding import Condition, Embedding, concatenated
from perrin.nets.folding import fold, pad, unfold


@dataclass
class DeepFeature:
    """What all resolutions below the `resolutions` highest hand up to these: changes slowly along a sampling path.

    A network that is given one without a value leaves it there, [B, channels, *spatial]; given one with a value it
    takes that instead of running those resolutions (Ma et al. 2023, arXiv:2312.00858).
    """

    resolutions: int = 1
    value: Tensor | None = None


class UNet(nn.Module):
    """A U-Net for states [C, length], [C, height, width] or [C, depth, height, width].

    Args:
        shape: state shape without the batch; `len(shape) - 1` is the number of dimensions, 1 to 3.
        classes: number of classes, or None.
        vector_size: K of the condition `"vector"` [B, K]; 0 for none.
        concat_channels: channels of the condition `"concat"` [B, Cc, *spatial]; 0 for none.
        out_channels: channels of the output, C when None.
        channels: channels at the highest resolution.
        multipliers: channels at each resolution, in units of `channels`; every entry after the first halves
            the resolution.
        blocks: residual blocks at each resolution on the way down, and again on the way up; the lowest
            resolution is passed once. One number for all, or one per resolution.
        attention: number of lowest resolutions with self-attention.
        patch: side of the blocks of pixels that are folded into channels at the entrance.
        until: whether the network is told where a step ends, by the condition `"until"` [B].

    Any spatial size is accepted, also other than `shape`: the input is padded with zeros and the output cut.

    Raises:
        PerrinError: for a shape of other than 1 to 3 spatial dimensions, or options that do not match.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        classes: int | None = None,
        vector_size: int = 0,
        concat_channels: int = 0,
        out_channels: int | None = None,
        channels: int = 64,
        multipliers: Sequence[int] = (1, 2),
        blocks: int | Sequence[int] = 2,
        attention: int = 0,
        patch: int = 1,
        until: bool = False,
    ) -> None:
        super().__init__()
        dims, depth = len(shape) - 1, len(multipliers)
        per_stage = [blocks] * depth if isinstance(blocks, int) else list(blocks)
        if not 1 <= dims <= 3:
            raise PerrinError(f"unet: shape {tuple(shape)} has {dims} spatial dimensions; 1 to 3 are right")
        if len(per_stage) != depth:
            raise PerrinError(
                f"unet: blocks {per_stage} and multipliers {list(multipliers)} differ in length"
            )
        sizes, width = [channels * m for m in multipliers], 4 * channels
        cells = patch**dims
        self.patch, self.multiple, self.concat_channels = patch, patch * 2 ** (depth - 1), concat_channels
        c_in = (shape[0] + (concat_channels + 1 if concat_channels else 0)) * cells
        c_out = (shape[0] if out_channels is None else out_channels) * cells
        self.embedding = Embedding(width, classes, vector_size, until=until)
        self.takes_until = until
        self.entrance = convolution(dims, c_in, sizes[0])
        self.down, self.narrow, self.widen, self.up = (nn.ModuleList() for _ in range(4))
        for i in range(depth - 1):
            attend = depth - i <= attention
            self.down.append(Stage(dims, sizes[i], sizes[i], per_stage[i], width, attend))
            self.narrow.append(convolution(dims, sizes[i] * 2**dims, sizes[i + 1], kernel=1))
            self.widen.append(convolution(dims, sizes[i + 1], sizes[i] * 2**dims, kernel=1))
            self.up.append(Stage(dims, 2 * sizes[i], sizes[i], per_stage[i], width, attend))
        self.middle = Stage(dims, sizes[-1], sizes[-1], per_stage[-1], width, attention > 0)
        self.norm, self.exit = group_norm(sizes[0]), convolution(dims, sizes[0], c_out, zero=True)

    @property
    def lower_resolutions(self) -> int:
        """How many resolutions lie below the highest: the most that a `DeepFeature` can leave running."""
        return len(self.down)

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        condition: Condition | None = None,
        deep: DeepFeature | None = None,
    ) -> Tensor:
        """The output [B, C_out, *spatial].

        Args:
            x: [B, C, *spatial]; time: [B].
            condition: as in `Embedding`, or `"concat"`.
            deep: where given, the lower resolutions run only if it holds nothing, and leave what they made in it.
        """
        spatial = x.shape[2:]
        embedding = self.embedding(time, condition)
        told = concatenated(x, condition, self.concat_channels)
        h = self.entrance(fold(pad(told, self.multiple), self.patch))
        h = self._from(0, h, embedding, deep)
        y = unfold(self.exit(functional.silu(self.norm(h))), self.patch)
        return y[(slice(None), slice(None), *(slice(size) for size in spatial))]

    def _from(self, i: int, h: Tensor, embedding: Tensor, deep: DeepFeature | None) -> Tensor:
        """Resolution i and all below it."""
        if i == len(self.down):
            found: Tensor = self.middle(h, embedding)
            return found
        kept = self.down[i](h, embedding)
        if deep is not None and deep.resolutions == i + 1:
            if deep.value is None:
                deep.value = self._below(i, kept, embedding, deep)
            risen = deep.value
        else:
            risen = self._below(i, kept, embedding, deep)
        y: Tensor = self.up[i](torch.cat([risen, kept], dim=1), embedding)
        return y

    def _below(self, i: int, kept: Tensor, embedding: Tensor, deep: DeepFeature | None) -> Tensor:
        """What the resolutions below i hand up to it."""
        return unfold(self.widen[i](self._from(i + 1, self.narrow[i](fold(kept, 2)), embedding, deep)), 2)

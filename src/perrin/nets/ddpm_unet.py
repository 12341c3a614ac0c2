"""The U-Net of DDPM (Ho et al. 2020, arXiv:2006.11239), block for block, so that its published weights can be held.

    down, at each resolution:  h = attention(block(h)), kept, at each block;  h = strided(h), kept
    middle:                    h = block(attention(block(h)))
    up, in reverse:            h = attention(block([h, kept])), one block more;  h = conv(nearest(h))

It differs from `conv_unet` in what an exchange of weights cannot bridge: every kept state is taken up again, resolutions
are crossed by 3-wide convolutions, and the step of a chain is told. That one is the better network to begin with here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from perrin.errors import PerrinError
from perrin.nets.blocks import Attention, Block, convolution
from perrin.nets.embedding import Condition
from perrin.nets.folding import pad
from perrin.nets.steps import StepEmbedding


class DDPMUNet(nn.Module):
    """A U-Net for states [C, length], [C, height, width] or [C, depth, height, width], told the step of a chain.

    Args:
        shape: state shape without the batch; `len(shape) - 1` is the number of dimensions, 1 to 3.
        classes: number of classes, or None.
        out_channels: channels of the output, C when None.
        channels: channels at the highest resolution.
        multipliers: channels at each resolution, in units of `channels`; each after the first halves the resolution.
        blocks: residual blocks at each resolution on the way down; on the way up one more.
        attention: number of lowest resolutions with self-attention, or for each, the highest first, whether it has it.
        middle: whether there is attention between the two lowest blocks.
        head: channels of an attention head.
        groups: of every group norm; it divides the channels of all resolutions.
        epsilon: of every group norm.
        told: the embedding scales and shifts what is normalised (Nichol and Dhariwal 2021), or is added before it is.
        gap: of `StepEmbedding`.
        padding: where halving convolutions see zeros: on both sides, or at the far one (Ho et al. 2020).

    Any spatial size is accepted: the input is padded with zeros and the output cut.

    Raises:
        PerrinError: for a shape of other than 1 to 3 spatial dimensions, or options that do not match.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        classes: int | None = None,
        out_channels: int | None = None,
        channels: int = 64,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 2,
        attention: int | Sequence[bool] = 0,
        middle: bool = True,
        head: int = 8,
        groups: int = 8,
        epsilon: float = 1e-5,
        told: Literal["scale_shift", "added"] = "scale_shift",
        gap: int = 0,
        padding: Literal["both", "far"] = "both",
    ) -> None:
        super().__init__()
        dims, depth = len(shape) - 1, len(multipliers)
        attends = _attends(attention, depth)
        sizes = [channels * m for m in multipliers]
        _check(dims, sizes, groups, head)
        norm = partial(nn.GroupNorm, groups, eps=epsilon)
        block = partial(Block, dims, width=4 * channels, norm=norm, added=told == "added")
        attend = partial(Attention, dims, norm=norm, head=head)
        self.per, self.multiple, self.far = blocks, 2 ** (depth - 1), padding == "far"
        self.embedding = StepEmbedding(channels, 4 * channels, classes, gap)
        self.entrance = convolution(dims, shape[0], sizes[0])
        self.down, self.narrow, self.widen, self.up = (nn.ModuleList() for _ in range(4))
        kept, size = [sizes[0]], sizes[0]
        for i in range(depth):
            self.down.append(Passage(block, attend, [size] + [sizes[i]] * (blocks - 1), sizes[i], attends[i]))
            kept += [sizes[i]] * blocks
            size = sizes[i]
            if i < depth - 1:
                self.narrow.append(_halving(dims, size, self.far))
                kept.append(size)
        self.before, self.after = block(size, size), block(size, size)
        self.attention = attend(size) if middle else nn.Identity()
        for i in reversed(range(depth)):
            taken = [(size if j == 0 else sizes[i]) + kept.pop() for j in range(blocks + 1)]
            self.up.append(Passage(block, attend, taken, sizes[i], attends[i]))
            size = sizes[i]
            if i > 0:
                self.widen.append(convolution(dims, size, size))
        self.norm = norm(size)
        self.exit = convolution(dims, size, shape[0] if out_channels is None else out_channels, zero=True)

    def forward(self, x: Tensor, time: Tensor, condition: Condition | None = None) -> Tensor:
        """x [B, C, *spatial], time [B], condition as in `StepEmbedding` -> [B, C_out, *spatial]."""
        spatial, embedding = x.shape[2:], self.embedding(time, condition)
        h = self.entrance(pad(x, self.multiple))
        kept = [h]
        for i, passage in enumerate(self.down):
            for j in range(self.per):
                h = passage(j, h, embedding)
                kept.append(h)
            if i < len(self.narrow):
                h = self.narrow[i](_beyond(h) if self.far else h)
                kept.append(h)
        h = self.after(self.attention(self.before(h, embedding)), embedding)
        for i, passage in enumerate(self.up):
            for j in range(self.per + 1):
                h = passage(j, torch.cat([h, kept.pop()], dim=1), embedding)
            if i < len(self.widen):
                h = self.widen[i](functional.interpolate(h, scale_factor=2.0, mode="nearest"))
        y: Tensor = self.exit(functional.silu(self.norm(h)))
        return y[(slice(None), slice(None), *(slice(size) for size in spatial))]


class Passage(nn.Module):
    """The blocks of one resolution, on the way down or up, each with attention after it where asked for."""

    def __init__(
        self,
        block: partial[Block],
        attend: partial[Attention],
        taken: Sequence[int],
        size: int,
        attention: bool,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(block(c_in, size) for c_in in taken)
        self.attentions = nn.ModuleList(attend(size) for _ in taken if attention)

    def forward(self, j: int, x: Tensor, embedding: Tensor) -> Tensor:
        """Block j."""
        x = self.blocks[j](x, embedding)
        return self.attentions[j](x) if len(self.attentions) else x


def _attends(attention: int | Sequence[bool], depth: int) -> list[bool]:
    if isinstance(attention, int):
        return [depth - i <= attention for i in range(depth)]
    if len(attention) != depth:
        raise PerrinError(
            f"ddpm_unet: attention {list(attention)} must say it of each of {depth} resolutions"
        )
    return list(attention)


def _check(dims: int, sizes: Sequence[int], groups: int, head: int) -> None:
    if not 1 <= dims <= 3:
        raise PerrinError(f"ddpm_unet: a shape has 1 to 3 spatial dimensions, not {dims}")
    for size in sizes:
        if size % groups or size % head:
            raise PerrinError(
                f"ddpm_unet: groups = {groups} and head = {head} must divide the channels {sizes} of all resolutions"
            )


def _halving(dims: int, size: int, far: bool) -> nn.Module:
    made: nn.Module = getattr(nn, f"Conv{dims}d")(size, size, 3, stride=2, padding=0 if far else 1)
    return made


def _beyond(x: Tensor) -> Tensor:
    """x with a zero at the far end of every dimension."""
    return functional.pad(x, [0, 1] * (x.ndim - 2))

"""The encoder: logits of a noisy state, the network that classifier guidance is trained with.

    h = entrance(fold(x));   at each resolution:  h = stage(h),  h = narrow(fold(h))
    logits = exit(mean over positions of silu(norm(h)))

The way down of the U-Net (`conv_unet`) and a mean over all positions, as in Dhariwal & Nichol 2021
(arXiv:2105.05233, section 4; they pool with attention). States without neighbourhoods go through the residual MLP.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from perrin.errors import PerrinError
from perrin.nets.blocks import Stage, convolution, group_norm
from perrin.nets.embedding import Condition, Embedding
from perrin.nets.folding import fold, pad
from perrin.nets.residual_mlp import MLP, zero_linear


class Encoder(nn.Module):
    """Logits [B, classes] of states [K], [C, length], [C, height, width] or [C, depth, height, width].

    Args:
        shape: state shape without the batch; one axis is a vector, and more are channels and space.
        classes: number of logits.
        channels: channels at the highest resolution; of a vector, the width of the MLP.
        multipliers: channels at each resolution, in units of `channels`; every entry after the first halves
            the resolution. Not used for a vector.
        blocks: residual blocks at each resolution; one number for all, or one per resolution.
        attention: number of lowest resolutions with self-attention.
        patch: side of the blocks of pixels that are folded into channels at the entrance.

    All logits are zero at initialisation: every class is as likely.

    Raises:
        PerrinError: fewer than two classes, a shape of more than 3 spatial dimensions, or options that do not match.
    """

    classifies = True

    def __init__(
        self,
        shape: Sequence[int],
        *,
        classes: int | None = None,
        channels: int = 32,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int | Sequence[int] = 1,
        attention: int = 0,
        patch: int = 1,
    ) -> None:
        super().__init__()
        if classes is None or classes < 2:
            raise PerrinError(f"encoder: {classes} classes; a classifier needs data with at least 2")
        if not 1 <= len(shape) <= 4:
            raise PerrinError(f"encoder: shape {tuple(shape)} must have 1 to 4 axes")
        depth = len(multipliers)
        counts = [blocks] * depth if isinstance(blocks, int) else list(blocks)
        if len(counts) != depth:
            raise PerrinError(
                f"encoder: blocks {counts} and multipliers {list(multipliers)} differ in length"
            )
        self.body: nn.Module
        if len(shape) == 1:
            self.body = MLP(shape, out_shape=(classes,), width=channels, blocks=sum(counts))
        else:
            sizes = [channels * m for m in multipliers]
            self.body = _Convolutional(shape, classes, sizes, counts, attention, patch)

    def forward(self, x: Tensor, time: Tensor, condition: Condition | None = None) -> Tensor:
        """x [B, *shape], time [B] -> logits [B, classes]; a classifier takes no condition, so none is used."""
        logits: Tensor = self.body(x, time)
        return logits


class _Convolutional(nn.Module):
    """The way down and the mean over positions."""

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        sizes: list[int],
        counts: list[int],
        attention: int,
        patch: int,
    ) -> None:
        super().__init__()
        dims, depth, width = len(shape) - 1, len(sizes), 4 * sizes[0]
        self.patch, self.multiple = patch, patch * 2 ** (depth - 1)
        self.embedding = Embedding(width)
        self.entrance = convolution(dims, shape[0] * patch**dims, sizes[0])
        self.stages = nn.ModuleList(
            Stage(dims, sizes[i], sizes[i], counts[i], width, depth - i <= attention) for i in range(depth)
        )
        self.narrow = nn.ModuleList(
            convolution(dims, sizes[i] * 2**dims, sizes[i + 1], kernel=1) for i in range(depth - 1)
        )
        self.norm, self.exit = group_norm(sizes[-1]), zero_linear(sizes[-1], classes)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        embedding = self.embedding(time)
        h = self.entrance(fold(pad(x, self.multiple), self.patch))
        for i, stage in enumerate(self.stages):
            h = stage(h, embedding)
            if i < len(self.narrow):
                h = self.narrow[i](fold(h, 2))
        logits: Tensor = self.exit(functional.silu(self.norm(h)).flatten(2).mean(2))
        return logits

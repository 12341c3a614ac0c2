r"""FLUX: a transformer of texts and of 2 x 2 latents as one token, that predicts the velocity of a flow.

    latents [B, C, h, w]  <->  tokens [B, h w / 4, 4 C],    token (i, j) at the place (0, i, j), texts at (0, 0, 0)

Its time is the noise level sigma, from 0 to 1. FLUX dev was distilled under guidance, whose scale it is told; FLUX schnell
was distilled without. The noise levels that are sampled move with the size of the picture; see `BySize`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from perrin.denoise.prediction import Condition
from perrin.errors import PerrinError
from perrin.systems.latent.components import module, tokenizer
from perrin.systems.latent.encoders import PooledAndTokens
from perrin.systems.latent.families.assembled import Assembled, latents, schedule
from perrin.systems.latent.layout import Layout
from perrin.systems.latent.scales import SCALE, Distilled
from perrin.systems.latent.telling import told
from perrin.systems.latent.text import T5, Clip

PATCH = 2
SIDE = 128
"""Latents of its own size, 1024 pixels; its configuration does not say."""


class Packed(nn.Module):
    """FLUX behind one call: latents in, latents out."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, time: Tensor, condition: Condition = None) -> Tensor:
        """Its raw output [B, C, h, w]."""
        own = told(condition, x)
        high, wide = x.shape[2] // PATCH, x.shape[3] // PATCH
        found: Tensor = self.net(
            hidden_states=packed(x),
            timestep=time,
            guidance=own.get(SCALE),
            pooled_projections=own["pooled"],
            encoder_hidden_states=own["prompt"],
            txt_ids=torch.zeros(own["prompt"].shape[1], 3, device=x.device),
            img_ids=_places(high, wide).to(x.device),
            return_dict=False,
        )[0]
        return unpacked(found, high, wide)


def packed(x: Tensor) -> Tensor:
    """Latents [B, C, h, w] as tokens [B, h w / 4, 4 C], of each channel its four values in order."""
    high, wide = x.shape[2] // PATCH, x.shape[3] // PATCH
    patches = x.unflatten(3, (wide, PATCH)).unflatten(2, (high, PATCH))  # [B, C, high, 2, wide, 2]
    return patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpacked(tokens: Tensor, high: int, wide: int) -> Tensor:
    """Tokens [B, high wide, 4 C] as latents [B, C, 2 high, 2 wide]."""
    patches = tokens.unflatten(1, (high, wide)).unflatten(3, (-1, PATCH, PATCH))
    return patches.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def _places(high: int, wide: int) -> Tensor:
    """float32 [high wide, 3]: nought, row and column of each token; half precision would not tell all apart."""
    rows, columns = torch.meshgrid(torch.arange(high), torch.arange(wide), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], -1).flatten(0, 1).float()


def flux(layout: Layout, dtype: torch.dtype) -> Assembled:
    """FLUX dev and schnell: CLIP's pooled text, T5's tokens, and a flow."""
    net = module(layout, "transformer", dtype)
    scaled = bool(net.config.guidance_embeds)
    first = Clip(tokenizer(layout, "tokenizer"), module(layout, "text_encoder", dtype), pools=True, cut=True)
    length = 512 if scaled else 256  # as each was trained
    second = T5(
        tokenizer(layout, "tokenizer_2"), module(layout, "text_encoder_2", dtype), length, filled=True
    )
    text = PooledAndTokens(first, second)
    distilled = Distilled(3.5 if scaled else None)
    codec = latents(layout, dtype, SIDE, text=text, multiple=PATCH, distilled=distilled)
    if net.config.in_channels != PATCH**2 * codec.shape[0]:
        raise PerrinError(
            f"the transformer of {layout.folder} takes {net.config.in_channels} numbers a token; known are "
            f"{PATCH**2 * codec.shape[0]}, of latents alone, and not of pictures to fill or to follow beside them"
        )
    parts = [codec.vae, *text.modules_of()]
    return Assembled(Packed(net), schedule(layout), codec, 1.0, 28 if scaled else 4, parts)

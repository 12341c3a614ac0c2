"""Stable Diffusion 1, 2 and XL: a U-Net of latents under texts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.systems.latent.components import module, tokenizer
from perrin.systems.latent.control import control_nets, controlled
from perrin.systems.latent.encoders import SideBySide
from perrin.systems.latent.families.assembled import Assembled, latents, schedule
from perrin.systems.latent.families.unet_of_text import OfText
from perrin.systems.latent.layout import Layout
from perrin.systems.latent.said import NEGATIVE
from perrin.systems.latent.text import Clip, TextEncoder


def stable_diffusion(layout: Layout, dtype: torch.dtype) -> Assembled:
    """Stable Diffusion 1 and 2: one text encoder, noise or v."""
    text = Clip(tokenizer(layout, "tokenizer"), module(layout, "text_encoder", dtype))
    return _with_unet(layout, dtype, text, 7.5)


def stable_diffusion_xl(layout: Layout, dtype: torch.dtype) -> Assembled:
    """SDXL: two text encoders, and the network is told the sizes of the picture; its refiner has the second alone."""
    second = Clip(tokenizer(layout, "tokenizer_2"), module(layout, "text_encoder_2", dtype), layer=-2)
    text: TextEncoder = second
    if "text_encoder" in layout.classes:
        first = Clip(tokenizer(layout, "tokenizer"), module(layout, "text_encoder", dtype), layer=-2)
        text = SideBySide(first, second)
    sizes = _original_and_score if layout.options.get("requires_aesthetics_score") else _original_and_target
    zero = bool(layout.options.get("force_zeros_for_empty_prompt", True))
    return _with_unet(layout, dtype, text, 5.0, sizes, zero)


def _original_and_target(n: int, height: int, width: int) -> dict[str, Tensor]:
    """SDXL's six numbers: original size, top and left of the crop, target size."""
    return {"sizes": torch.tensor([[height, width, 0, 0, height, width]] * n, dtype=torch.float32)}


def _original_and_score(n: int, height: int, width: int) -> dict[str, Tensor]:
    """The refiner's five: original size, top and left of the crop, how much people like the picture, of 10."""
    score = {"sizes": 6.0, NEGATIVE + "sizes": 2.5}
    return {name: torch.tensor([[height, width, 0, 0, liked]] * n) for name, liked in score.items()}


def _with_unet(
    layout: Layout,
    dtype: torch.dtype,
    text: TextEncoder,
    guidance: float,
    sizes: Any = None,
    empty_is_zero: bool = False,
) -> Assembled:
    unet = module(layout, "unet", dtype)
    depth = 2 ** (len(unet.config.block_out_channels) - 1)
    codec = latents(
        layout, dtype, unet.config, text=text, sizes=sizes, empty_is_zero=empty_is_zero, multiple=depth
    )
    codec = replace(codec, inpaints=_inpaints(layout, unet.config.in_channels, codec.shape[0]))
    net, parts = OfText(unet), [codec.vae, *text.modules_of()]
    for place, control in control_nets(layout, dtype):
        net, codec = controlled(net, codec, control, place)
    return Assembled(net, schedule(layout), codec, guidance, 25, parts)


def _inpaints(layout: Layout, channels: int, own: int) -> bool:
    """Whether a U-Net was trained to fill holes: it is given the hole and the latents outside of it."""
    if channels not in (own, 2 * own + 1):
        raise PerrinError(
            f"the unet of {layout.folder} takes {channels} channels; known are {own}, of latents, and {2 * own + 1}, of "
            "latents with a hole and what is outside of it"
        )
    return channels != own

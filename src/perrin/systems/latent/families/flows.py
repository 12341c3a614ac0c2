"""Stable Diffusion 3: a transformer of texts and latents that predicts the velocity of a flow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from perrin.denoise.prediction import Condition
from perrin.systems.latent.components import module, tokenizer
from perrin.systems.latent.encoders import Three
from perrin.systems.latent.families.assembled import Assembled, latents, schedule
from perrin.systems.latent.layout import Layout
from perrin.systems.latent.telling import told
from perrin.systems.latent.text import T5, Clip

FLOW_TIME = 1000.0
"""Flow networks of diffusers count time from 0 to 1000."""


class MultimodalFlow(nn.Module):
    """SD3: a transformer of texts and latents that predicts the velocity of a flow."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, time: Tensor, condition: Condition = None) -> Tensor:
        """Its raw output [B, C, h, w]."""
        own = told(condition, x)
        found: Tensor = self.net(
            hidden_states=x,
            timestep=FLOW_TIME * time,
            encoder_hidden_states=own["prompt"],
            pooled_projections=own["pooled"],
            return_dict=False,
        )[0]
        return found


def stable_diffusion_3(layout: Layout, dtype: torch.dtype) -> Assembled:
    """SD3: three text encoders, of which T5 may be left out, and a flow."""
    net = module(layout, "transformer", dtype)
    first = Clip(tokenizer(layout, "tokenizer"), module(layout, "text_encoder", dtype), layer=-2, cut=True)
    second = Clip(
        tokenizer(layout, "tokenizer_2"), module(layout, "text_encoder_2", dtype), layer=-2, cut=True
    )
    third = None
    length = 256
    if "text_encoder_3" in layout.classes:
        third = T5(
            tokenizer(layout, "tokenizer_3"), module(layout, "text_encoder_3", dtype), length, filled=True
        )
    text = Three(first, second, third, net.config.joint_attention_dim, length)
    codec = latents(layout, dtype, net.config, text=text, multiple=net.config.patch_size)
    return Assembled(MultimodalFlow(net), schedule(layout), codec, 7.0, 28, [codec.vae, *text.modules_of()])

"""DiT and PixArt: transformers of patches of latents, under classes or texts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from perrin.denoise.prediction import Condition
from perrin.systems.latent.components import module, tokenizer
from perrin.systems.latent.families.assembled import Assembled, latents, schedule
from perrin.systems.latent.layout import Layout
from perrin.systems.latent.telling import told
from perrin.systems.latent.text import T5


class OfClasses(nn.Module):
    """DiT: a transformer under class indices, of which the last means none; variances in the second half are left."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, time: Tensor, condition: Condition = None) -> Tensor:
        """Its raw output [B, C, h, w]."""
        none = self.net.config.num_embeds_ada_norm
        label = torch.full((len(x),), none, device=x.device)
        if condition is not None and "label" in condition:
            label = torch.where(condition["label"] < 0, none, condition["label"])
        found: Tensor = self.net(x, timestep=time, class_labels=label, return_dict=False)[0]
        return found[:, : x.shape[1]]


class MaskedText(nn.Module):
    """PixArt: a transformer that attends to the tokens of a text that are there."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, time: Tensor, condition: Condition = None) -> Tensor:
        """Its raw output [B, C, h, w]."""
        own = told(condition, x)
        added = {"resolution": own.get("resolution"), "aspect_ratio": own.get("aspect_ratio")}
        found: Tensor = self.net(
            x,
            encoder_hidden_states=own["prompt"],
            encoder_attention_mask=own["tokens"],
            timestep=time,
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
        return found[:, : x.shape[1]]


def dit(layout: Layout, dtype: torch.dtype) -> Assembled:
    """DiT: classes of ImageNet."""
    net = module(layout, "transformer", dtype)
    classes = class_names(layout, net.config.num_embeds_ada_norm)
    codec = latents(layout, dtype, net.config, classes=classes, multiple=net.config.patch_size, square=True)
    return Assembled(OfClasses(net), schedule(layout), codec, 4.0, 25, [codec.vae])


def class_names(layout: Layout, count: int) -> list[str]:
    """What a folder calls its classes; their numbers where it does not say."""
    names = layout.options.get("id2label") or {}
    return [str(names.get(str(i), i)) for i in range(count)]


def pixart(layout: Layout, dtype: torch.dtype) -> Assembled:
    """PixArt: T5's tokens, of which the network attends to those that are there."""
    net = module(layout, "transformer", dtype)
    length = 300 if "Sigma" in layout.pipeline else 120
    text = T5(tokenizer(layout, "tokenizer"), module(layout, "text_encoder", dtype), length, plain=True)
    sizes = _size_and_proportion if net.config.sample_size == 128 else None
    codec = latents(layout, dtype, net.config, text=text, sizes=sizes, multiple=net.config.patch_size)
    return Assembled(MaskedText(net), schedule(layout), codec, 4.5, 20, [codec.vae, *text.modules_of()])


def _size_and_proportion(n: int, height: int, width: int) -> dict[str, Tensor]:
    """What PixArt of 1024 pixels is told."""
    return {
        "resolution": torch.tensor([[height, width]] * n, dtype=torch.float32),
        "aspect_ratio": torch.tensor([[height / width]] * n, dtype=torch.float32),
    }

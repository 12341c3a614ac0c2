"""DDPM and its kin: a U-Net of images, without an autoencoder and without texts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from perrin.denoise.prediction import Condition
from perrin.kinds.images import Images
from perrin.systems.latent.components import configuration, module
from perrin.systems.latent.families.assembled import Assembled
from perrin.systems.latent.layout import Layout
from perrin.systems.latent.noise_tables import trained


class Alone(nn.Module):
    """UNet2DModel: images without any condition, or under class indices."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, time: Tensor, condition: Condition = None) -> Tensor:
        """Its raw output [B, C, H, W]."""
        label = None if condition is None else condition.get("label")
        found: Tensor = self.net(x, time, class_labels=label, return_dict=False)[0]
        return found


def unconditional(layout: Layout, dtype: torch.dtype) -> Assembled:
    """DDPM and its kin: a U-Net of images."""
    unet = module(layout, "unet", dtype)
    side = unet.config.sample_size
    size = (side, side) if isinstance(side, int) else tuple(side)
    codec = Images.codec((unet.config.in_channels, *size), None, 0.5)
    made = configuration(layout.of("scheduler"), "scheduler_config.json")
    clipped = bool(made.get("clip_sample", True))
    return Assembled(Alone(unet), trained(made), codec, 1.0, 50, clipped=clipped)

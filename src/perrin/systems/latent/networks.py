"""Networks of diffusers behind one call, `net(x, time, condition)`; what each is told of texts, sizes and classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from perrin.denoise.prediction import Condition

FLOW_TIME = 1000.0
"""Flow networks of diffusers count time from 0 to 1000."""


class OfText(nn.Module):
    """A U-Net under texts: UNet2DConditionModel, with pooled texts and sizes where the condition has them (SDXL).

    Where the condition has a `hole` [B, 1, h, w] and the latents `outside` of it [B, C, h, w], they are further channels.

    Args:
        control: a ControlNet (Zhang et al. 2023), which adds to the U-Net's features what it sees in the condition's
            `control` [B, 3, H, W] in [0, 1], times its `control_scale` [B].
    """

    def __init__(self, net: Any, control: Any = None) -> None:
        super().__init__()
        self.net, self.control = net, control

    def forward(self, x: Tensor, time: Tensor, condition: Condition = None) -> Tensor:
        """Its raw output [B, C, h, w]."""
        told = _told(condition, x)
        shared = {
            "encoder_hidden_states": told["prompt"],
            "added_cond_kwargs": {"text_embeds": told["pooled"], "time_ids": told["sizes"]}
            if "pooled" in told
            else None,
            "return_dict": False,
        }
        if "outside" in told:
            x = torch.cat([x, told["hole"], told["outside"]], 1)
        features: dict[str, Any] = {}
        if self.control is not None:
            scale = told["control_scale"][:, None, None, None]
            down, middle = self.control(
                x, time, controlnet_cond=told["control"], conditioning_scale=scale, **shared
            )
            features = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        found: Tensor = self.net(x, time, encoder_attention_mask=told.get("tokens"), **shared, **features)[0]
        return found


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


class MultimodalFlow(nn.Module):
    """SD3: a transformer of texts and latents that predicts the velocity of a flow."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, time: Tensor, condition: Condition = None) -> Tensor:
        """Its raw output [B, C, h, w]."""
        told = _told(condition, x)
        found: Tensor = self.net(
            hidden_states=x,
            timestep=FLOW_TIME * time,
            encoder_hidden_states=told["prompt"],
            pooled_projections=told["pooled"],
            return_dict=False,
        )[0]
        return found


class MaskedText(nn.Module):
    """PixArt: a transformer that attends to the tokens of a text that are there."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, time: Tensor, condition: Condition = None) -> Tensor:
        """Its raw output [B, C, h, w]."""
        told = _told(condition, x)
        added = {"resolution": told.get("resolution"), "aspect_ratio": told.get("aspect_ratio")}
        found: Tensor = self.net(
            x,
            encoder_hidden_states=told["prompt"],
            encoder_attention_mask=told["tokens"],
            timestep=time,
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
        return found[:, : x.shape[1]]


def _told(condition: Condition, x: Tensor) -> dict[str, Tensor]:
    """Conditions in the network's own precision."""
    return {n: v.to(x.dtype) if v.is_floating_point() else v for n, v in (condition or {}).items()}

"""The U-Net of Stable Diffusion behind one call, `net(x, time, condition)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from perrin.denoise.prediction import Condition
from perrin.systems.latent.telling import told


class OfText(nn.Module):
    """A U-Net under texts: UNet2DConditionModel, with pooled texts and sizes where the condition has them (SDXL).

    Where the condition has an `embedding` [B, width], it is added to that of the time (unCLIP).
    Where it has a picture to enlarge, `low` [B, 3, h, w], with noise of a `noise_level` [B], it is told of both.
    Where it has a `hole` [B, 1, h, w] and the latents `outside` of it [B, C, h, w], they are further channels.

    Args:
        controls: k ControlNets (Zhang et al. 2023), which add to the U-Net's features what each sees in its picture of the
            condition's `control` [B, k, 3, H, W] in [0, 1], times its `control_scale` [B, k].
        learned: whether the output has a second half that says variances; of others it is left out.
    """

    def __init__(self, net: Any, controls: Sequence[nn.Module] = (), learned: bool = False) -> None:
        super().__init__()
        self.learned = learned
        self.net, self.controls = net, nn.ModuleList(controls)

    def forward(self, x: Tensor, time: Tensor, condition: Condition = None) -> Tensor:
        """Its raw output [B, C, h, w]."""
        own, latents = told(condition, x), x
        if "low" in own:
            x = torch.cat([x, own["low"]], 1)
        if "outside" in own:
            x = torch.cat([x, own["hole"], own["outside"]], 1)
        added = self._added(latents, time, own) if len(self.controls) else {}
        found: Tensor = self.net(x, time, encoder_attention_mask=own.get("tokens"), **_shared(own), **added)[
            0
        ]
        channels = latents.shape[1]
        return found if self.learned or found.shape[1] == channels else found[:, :channels]

    def _added(self, x: Tensor, time: Tensor, own: Mapping[str, Tensor]) -> dict[str, Any]:
        """What the ControlNets add to features: of rows whose texts are as long at once, since they know no mask."""
        if "tokens" not in own:
            down, middle = self._seen(x, time, own)
        else:
            lengths = own["tokens"].sum(1)
            groups = [(lengths == length).nonzero()[:, 0] for length in lengths.unique()]
            parts = [self._seen(x[i], time[i], _some(own, i, int(lengths[i[0]]))) for i in groups]
            order, (downs, middles) = torch.cat(groups).argsort(), zip(*parts, strict=True)
            down = [torch.cat(each)[order] for each in zip(*downs, strict=True)]
            middle = torch.cat(middles)[order]
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}

    def _seen(self, x: Tensor, time: Tensor, own: Mapping[str, Tensor]) -> tuple[list[Tensor], Tensor]:
        """The sum of what the ControlNets give for the down blocks, and for the middle."""
        found = [
            control(
                x,
                time,
                controlnet_cond=own["control"][:, i],
                conditioning_scale=own["control_scale"][:, i, None, None, None],
                **_shared(own),
            )
            for i, control in enumerate(self.controls)
        ]
        down, middle = zip(*found, strict=True)
        return [sum(each[1:], each[0]) for each in zip(*down, strict=True)], sum(middle[1:], middle[0])


def _shared(own: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a U-Net and its ControlNets are told alike."""
    pooled = {"text_embeds": own["pooled"], "time_ids": own["sizes"]} if "pooled" in own else None
    return {
        "encoder_hidden_states": own["prompt"],
        "added_cond_kwargs": pooled,
        "class_labels": own.get("noise_level", own.get("embedding")),
        "return_dict": False,
    }


def _some(own: Mapping[str, Tensor], rows: Tensor, length: int) -> dict[str, Tensor]:
    """Rows of a condition, their texts without what only fills them up."""
    found = {name: value[rows] for name, value in own.items()}
    return {**found, "prompt": found["prompt"][:, :length]}

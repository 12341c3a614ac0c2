"""Where a layer of Perrin's ddpm_unet stands in diffusers' UNet2DModel."""

from __future__ import annotations

ENDS = {
    "entrance": "conv_in",
    "norm": "conv_norm_out",
    "exit": "conv_out",
    "embedding.time": "time_embedding.linear_1",
    "embedding.out": "time_embedding.linear_2",
}
BLOCK = {
    "norm_in": "norm1",
    "conv_in": "conv1",
    "modulation": "time_emb_proj",
    "norm_out": "norm2",
    "conv_out": "conv2",
    "skip": "conv_shortcut",
}
ATTENTION = {"norm": "group_norm", "qkv": "qkv", "out": "to_out.0"}
"""Theirs has three maps in the place of `qkv`."""


def stem_of(name: str) -> str:
    """The name of a layer, such as `down.1.blocks.0.conv_in`, in a UNet2DModel."""
    if name in ENDS:
        return ENDS[name]
    part, _, rest = name.partition(".")
    if part in ("before", "after"):
        return f"mid_block.resnets.{int(part == 'after')}.{BLOCK[rest]}"
    if part == "attention":
        return f"mid_block.attentions.0.{ATTENTION[rest]}"
    if part == "narrow":
        return f"down_blocks.{rest}.downsamplers.0.conv"
    if part == "widen":
        return f"up_blocks.{rest}.upsamplers.0.conv"
    i, kind, j, last = rest.split(".")
    within = f"resnets.{j}.{BLOCK[last]}" if kind == "blocks" else f"attentions.{j}.{ATTENTION[last]}"
    return f"{part}_blocks.{i}.{within}"

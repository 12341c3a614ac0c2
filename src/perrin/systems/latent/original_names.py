"""The names that layers of a U-Net had in the code that first trained it, which LoRA files of SDXL still use.

down_blocks.b.resnets.l      input_blocks.(1 + b (L + 1) + l).0           L layers per block
down_blocks.b.attentions.l   input_blocks.(1 + b (L + 1) + l).1
down_blocks.b.downsamplers.0.conv   input_blocks.((b + 1)(L + 1)).0.op
up_blocks.b.resnets.l        output_blocks.(b (L + 1) + l).0, attentions 1, upsamplers after them
"""

from __future__ import annotations

import re
from collections.abc import Collection

WHOLE = {
    "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2", "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}  # fmt: skip
WITHIN = {
    "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
"""Of a residual block."""
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")


def original_name(name: str, layers: int, names: Collection[str]) -> str | None:
    """The first name of a layer; None for one that has none.

    Args:
        layers: per block. names: of all layers, which tell whether a block attends.
    """
    for new, old in WHOLE.items():
        if name == new or name.startswith(new + "."):
            rest = name[len(new) + 1 :]
            return f"{old}.{WITHIN.get(rest, rest)}" if rest else old
    match = _BLOCK.fullmatch(name)
    if match is None:
        return None
    way, block, kind, layer, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    if kind == "downsamplers":
        return f"input_blocks.{(block + 1) * (layers + 1)}.0.op"
    first = 1 if way == "down" else 0
    old = "input_blocks" if way == "down" else "output_blocks"
    if kind == "upsamplers":
        attends = any(one.startswith(f"up_blocks.{block}.attentions.") for one in names)
        return f"{old}.{block * (layers + 1) + layers}.{1 + attends}.{rest}"
    place = first + block * (layers + 1) + layer
    return (
        f"{old}.{place}.{int(kind == 'attentions')}.{WITHIN.get(rest, rest) if kind == 'resnets' else rest}"
    )

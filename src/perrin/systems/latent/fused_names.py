"""The names that layers of FLUX and SD3 had in their first code, which kohya's scripts and other tools write.

    double_blocks.0.img_attn.qkv  =  transformer_blocks.0.attn.to_q, to_k and to_v, one below another

What was one layer there may be several here, so that rows of its change belong to each in turn.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import count

QKV, ADDED = (
    ("attn.to_q", "attn.to_k", "attn.to_v"),
    ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
)
FLUX_TWO = {
    "img_attn.qkv": QKV, "img_attn.proj": ("attn.to_out.0",), "img_mod.lin": ("norm1.linear",),
    "img_mlp.0": ("ff.net.0.proj",), "img_mlp.2": ("ff.net.2",),
    "txt_attn.qkv": ADDED, "txt_attn.proj": ("attn.to_add_out",), "txt_mod.lin": ("norm1_context.linear",),
    "txt_mlp.0": ("ff_context.net.0.proj",), "txt_mlp.2": ("ff_context.net.2",),
}  # fmt: skip
FLUX_ONE = {
    "linear1": (*QKV, "proj_mlp"), "linear2": ("proj_out",), "modulation.lin": ("norm.linear",),
}  # fmt: skip
SD3 = {
    "x_block.attn.qkv": QKV, "x_block.attn.proj": ("attn.to_out.0",),
    "x_block.attn2.qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"), "x_block.attn2.proj": ("attn2.to_out.0",),
    "x_block.mlp.fc1": ("ff.net.0.proj",), "x_block.mlp.fc2": ("ff.net.2",),
    "x_block.adaLN_modulation.1": ("norm1.linear",),
    "context_block.attn.qkv": ADDED, "context_block.attn.proj": ("attn.to_add_out",),
    "context_block.mlp.fc1": ("ff_context.net.0.proj",), "context_block.mlp.fc2": ("ff_context.net.2",),
    "context_block.adaLN_modulation.1": ("norm1_context.linear",),
}  # fmt: skip
ALONE = {
    "img_in": "x_embedder", "txt_in": "context_embedder", "final_layer.linear": "proj_out",
    **{
        f"{theirs}_in.{place}_layer": f"time_text_embed.{ours}_embedder.linear_{i}"
        for theirs, ours in (("time", "timestep"), ("vector", "text"), ("guidance", "guidance"))
        for i, place in ((1, "in"), (2, "out"))
    },
}  # fmt: skip
BLOCKS = (
    ("double_blocks", "transformer_blocks", FLUX_TWO),
    ("single_blocks", "single_transformer_blocks", FLUX_ONE),
    ("joint_blocks", "transformer_blocks", SD3),
)
"""Blocks in the first code, the same here, and the layers in them."""


def fused_names(found: Collection[str]) -> Iterator[tuple[str, list[str]]]:
    """Each first name, and the layers that it stands for in the order of their rows; `found`: the layers there are."""
    yield from ((theirs, [ours]) for theirs, ours in ALONE.items() if ours in found)
    for theirs, ours, layers in BLOCKS:
        for i in count():
            own = {name: [f"{ours}.{i}.{part}" for part in parts] for name, parts in layers.items()}
            there = {name: parts for name, parts in own.items() if all(part in found for part in parts)}
            if not there:
                break
            yield from ((f"{theirs}.{i}.{name}", parts) for name, parts in there.items())

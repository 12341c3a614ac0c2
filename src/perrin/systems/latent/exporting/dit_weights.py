"""The DiT: Perrin's options and weights beside diffusers' DiTTransformer2DModel and the names of the original code.

Peebles and Xie 2023 (arXiv:2212.09748). Two details differ between the two others: diffusers' lowest frequency of a step
is 1/10000 (`gap` 1) and its norm before an MLP adds 1e-5 (`epsilon`); the original has 0 and 1e-6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.nets.positions import sines
from perrin.systems.latent.exporting.pairs import Pair, alike, joined, layer, shared, turned

EMBEDDER = "norm1.emb"
EMBEDDINGS = {
    "time.weight": "timestep_embedder.linear_1.weight",
    "time.bias": "timestep_embedder.linear_1.bias",
    "out.weight": "timestep_embedder.linear_2.weight",
    "out.bias": "timestep_embedder.linear_2.bias",
    "label.weight": "class_embedder.embedding_table.weight",
}
FIXED = {
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "norm_type": "ada_norm_zero",
    "norm_elementwise_affine": False,
}
"""What Perrin's DiT is, in the words of a configuration of diffusers."""
HEADS = {1152: 16, 1024: 16, 768: 12, 384: 6}
"""Width -> heads of the published sizes XL, L, B, S, which weights do not say."""


def options_of(config: Mapping[str, Any], found: Mapping[str, Tensor], where: str) -> dict[str, Any]:
    """The options of Perrin's DiT that hold a DiTTransformer2DModel.

    Raises:
        PerrinError: what Perrin's network cannot be.
    """
    for name, value in FIXED.items():
        if config[name] != value:
            raise PerrinError(f"{where}: {name} = {config[name]!r} is not known; Perrin's DiT has {value!r}")
    channels, side, count = config["in_channels"], config["sample_size"], config["num_layers"]
    heads = config["num_attention_heads"]
    one = all(
        alike(found, [f"transformer_blocks.{i}.{EMBEDDER}.{name}" for i in range(count)])
        for name in EMBEDDINGS.values()
    )
    return {
        "name": "dit",
        "shape": [channels, side, side],
        "classes": config["num_embeds_ada_norm"],
        "out_channels": config["out_channels"] or channels,
        "patch": config["patch_size"],
        "width": heads * config["attention_head_dim"],
        "blocks": count,
        "heads": heads,
        "clock": "step",
        "gap": 1,
        "epsilon": config["norm_eps"],
        **({} if one else {"own_embeddings": True}),
    }


def config_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the DiTTransformer2DModel that does the same as a Perrin DiT of all these options.

    Raises:
        PerrinError: naming the option that diffusers has no word for.
    """
    shape, heads, patch = options["shape"], options["heads"], options["patch"]
    _refuse("clock", options["clock"], "step", "its network is told no steps of a chain")
    _refuse("gap", options["gap"], 1, "its frequencies of steps are others")
    for name, right in (("expansion", 4), ("qk_norm", False), ("vector_size", 0), ("concat_channels", 0)):
        _refuse(name, options[name], right)
    if not options["classes"]:
        raise PerrinError("dit: a DiT without classes cannot be exported; diffusers' has them")
    if len(shape) != 3 or shape[1] != shape[2] or shape[1] % patch:
        raise PerrinError(f"dit: diffusers' DiT draws squares of whole patches, not {tuple(shape[1:])}")
    return FIXED | {
        "num_attention_heads": heads,
        "attention_head_dim": options["width"] // heads,
        "in_channels": shape[0],
        "out_channels": options["out_channels"] or shape[0],
        "num_layers": options["blocks"],
        "sample_size": shape[1],
        "patch_size": patch,
        "num_embeds_ada_norm": options["classes"],
        "norm_eps": options["epsilon"],
    }


def _refuse(name: str, value: Any, right: Any, why: str = "") -> None:
    if value != right:
        because = f" ({why})" if why else ""
        raise PerrinError(
            f"dit: {name} = {value!r} cannot be exported{because}; diffusers' DiT is {name}: {right!r}"
        )


def diffusers_pairs(options: Mapping[str, Any]) -> list[Pair]:
    """The weights of a DiT of these options beside those of a DiTTransformer2DModel."""
    count = options["blocks"]
    pairs = _ends(options, "pos_embed.proj", "proj_out_1", "proj_out_2")
    for i in range(count):
        ours, theirs = f"blocks.{i}", f"transformer_blocks.{i}"
        pairs += layer(f"{ours}.modulation", f"{theirs}.norm1.linear")
        pairs += layer(f"{ours}.attention.out", f"{theirs}.attn1.to_out.0")
        pairs += layer(f"{ours}.widen", f"{theirs}.ff.net.0.proj")
        pairs += layer(f"{ours}.narrow", f"{theirs}.ff.net.2")
        for part in ("weight", "bias"):
            each = [f"{theirs}.attn1.to_{name}.{part}" for name in "qkv"]
            pairs.append(joined(f"{ours}.attention.qkv.{part}", each))
    groups = [[i] for i in range(count)] if options.get("own_embeddings") else [list(range(count))]
    for k, blocks in enumerate(groups):
        ours = f"embedding.{k}" if options.get("own_embeddings") else "embedding"
        for name, their in EMBEDDINGS.items():
            pair = shared(f"{ours}.{name}", [f"transformer_blocks.{i}.{EMBEDDER}.{their}" for i in blocks])
            pairs.append(_none_first(pair) if name == "label.weight" else pair)
    return pairs


def original_pairs(options: Mapping[str, Any]) -> list[Pair]:
    """The weights of a DiT of these options beside those of the original code, without `pos_embed`."""
    pairs = _ends(options, "x_embedder.proj", "final_layer.adaLN_modulation.1", "final_layer.linear")
    for i in range(options["blocks"]):
        ours, theirs = f"blocks.{i}", f"blocks.{i}"
        pairs += layer(f"{ours}.modulation", f"{theirs}.adaLN_modulation.1")
        pairs += layer(f"{ours}.attention.qkv", f"{theirs}.attn.qkv")
        pairs += layer(f"{ours}.attention.out", f"{theirs}.attn.proj")
        pairs += layer(f"{ours}.widen", f"{theirs}.mlp.fc1")
        pairs += layer(f"{ours}.narrow", f"{theirs}.mlp.fc2")
    pairs += layer("embedding.time", "t_embedder.mlp.0") + layer("embedding.out", "t_embedder.mlp.2")
    label = shared("embedding.label.weight", ["y_embedder.embedding_table.weight"])
    return [*pairs, _none_first(label)]


def original_options(found: Mapping[str, Tensor], heads: int | None, where: str) -> dict[str, Any]:
    """The options of Perrin's DiT that hold weights of the original code, whose last class means none.

    Raises:
        PerrinError: other weights, a number of heads that is neither given nor that of a published size.
    """
    try:
        width, channels, patch, _ = found["x_embedder.proj.weight"].shape
        classes = len(found["y_embedder.embedding_table.weight"]) - 1
        tokens, cells = found["pos_embed"].shape[1], len(found["final_layer.linear.weight"])
    except (KeyError, ValueError) as error:
        raise PerrinError(f"{where} holds no weights of the original DiT code: {error}") from error
    heads = HEADS.get(width) if heads is None else heads
    if heads is None or width % heads:
        raise PerrinError(
            f"{where}: weights do not say the number of attention heads; give it (--heads), a divisor of {width}"
        )
    side = round(tokens**0.5)
    table = sines((side, side), width)
    if side**2 != tokens or not torch.allclose(found["pos_embed"][0].float(), table, atol=1e-4):
        raise PerrinError(f"{where}: pos_embed is not the table of sines and cosines of the DiT")
    blocks = len({name.split(".")[1] for name in found if name.startswith("blocks.")})
    return {
        "name": "dit",
        "shape": [channels, side * patch, side * patch],
        "classes": classes,
        "out_channels": cells // patch**2,
        "patch": patch,
        "width": width,
        "blocks": blocks,
        "heads": heads,
        "clock": "step",
    }


def _ends(options: Mapping[str, Any], entrance: str, modulation: str, exit_: str) -> list[Pair]:
    """What stands before and after the blocks: patches as a convolution, their pixels in another order."""
    channels, patch = options["shape"][0], options["patch"]
    first, bias = layer("entrance", entrance)
    folded = turned(first, lambda v: v.flatten(1), lambda v: v.reshape(len(v), channels, patch, patch))
    last = [
        turned(pair, lambda v: _inner(v, patch), lambda v: _outer(v, patch)) for pair in layer("exit", exit_)
    ]
    return [folded, bias, *layer("modulation", modulation), *last]


def _inner(value: Tensor, patch: int) -> Tensor:
    """Rows (pixel, channel) as rows (channel, pixel)."""
    return value.unflatten(0, (patch * patch, -1)).transpose(0, 1).flatten(0, 1)


def _outer(value: Tensor, patch: int) -> Tensor:
    """Rows (channel, pixel) as rows (pixel, channel)."""
    return value.unflatten(0, (-1, patch * patch)).transpose(0, 1).flatten(0, 1)


def _none_first(pair: Pair) -> Pair:
    """The row of no class is our first and their last."""
    return turned(pair, lambda v: v.roll(1, 0), lambda v: v.roll(-1, 0))

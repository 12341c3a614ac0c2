"""The U-Net of DDPM: Perrin's options and weights beside diffusers' UNet2DModel.

A second norm of theirs has a weight g and a bias b of its own before the embedding scales and shifts; ours has none, since
they are no more than other numbers in the map from the embedding:

    (g n + b)(1 + s) + t  =  n (1 + s') + t',    s' = g (1 + s) - 1,    t' = t + b (1 + s)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.systems.latent.exporting.pairs import Pair, joined, layer, turned
from perrin.systems.latent.exporting.unet_names import stem_of

TOLD = {"default": "added", "scale_shift": "scale_shift"}
FIXED: dict[str, Any] = {
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "mid_block_type": "UNetMidBlock2D",
    "mid_block_scale_factor": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "act_fn": "silu",
    "class_embed_type": None,
    "num_class_embeds": None,
}
"""What Perrin's network is, in the words of a configuration of diffusers."""
BLOCKS = (("DownBlock2D", "UpBlock2D"), ("AttnDownBlock2D", "AttnUpBlock2D"))
"""(down, up) without and with attention."""


def options_of(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The options of Perrin's network that hold a UNet2DModel.

    Raises:
        PerrinError: naming the setting that Perrin's network cannot be.
    """
    for name, value in FIXED.items():
        if config[name] != value and not (name == "act_fn" and config[name] == "swish"):
            raise PerrinError(f"{where}: {name} = {config[name]!r} is not known to Perrin's ddpm_unet")
    sizes, added = list(config["block_out_channels"]), config["resnet_time_scale_shift"]
    if added not in TOLD:
        raise PerrinError(
            f"{where}: resnet_time_scale_shift = {added!r} is not known; known: {', '.join(TOLD)}"
        )
    groups, of_middle = config["norm_num_groups"], config["attn_norm_num_groups"]
    if config["add_attention"] and (of_middle or (groups if added == "default" else None)) != groups:
        raise PerrinError(f"{where}: attn_norm_num_groups = {of_middle!r} in the middle; {groups} is known")
    if any(size % sizes[0] for size in sizes) or config.get("time_embedding_dim") not in (None, 4 * sizes[0]):
        raise PerrinError(f"{where}: block_out_channels {sizes} are no multiples of the first")
    side = config["sample_size"]
    if side is None:
        raise PerrinError(f"{where}: sample_size is not said")
    height, width = (side, side) if isinstance(side, int) else side
    if config["attention_head_dim"] is None:
        raise PerrinError(f"{where}: attention_head_dim is not said; heads of one size are known")
    return {
        "name": "ddpm_unet",
        "shape": [config["in_channels"], height, width],
        "out_channels": config["out_channels"],
        "channels": sizes[0],
        "multipliers": [size // sizes[0] for size in sizes],
        "blocks": config["layers_per_block"],
        "attention": _attends(config, where),
        "middle": bool(config["add_attention"]),
        "head": config["attention_head_dim"],
        "groups": groups,
        "epsilon": config["norm_eps"],
        "told": TOLD[added],
        "gap": int(config["freq_shift"]),
        "padding": "both" if config["downsample_padding"] else "far",
    }


def _attends(config: Mapping[str, Any], where: str) -> list[bool]:
    pairs = list(zip(config["down_block_types"], reversed(config["up_block_types"]), strict=True))
    for pair in pairs:
        if pair not in BLOCKS:
            raise PerrinError(
                f"{where}: the blocks {' and '.join(pair)} of one resolution are not known together"
            )
    return [pair == BLOCKS[1] for pair in pairs]


def config_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the UNet2DModel that does the same as Perrin's network of all these options.

    Raises:
        PerrinError: naming the option that diffusers has no word for.
    """
    shape, multipliers = options["shape"], options["multipliers"]
    if len(shape) != 3:
        raise PerrinError(f"ddpm_unet: UNet2DModel draws pictures, not states of {tuple(shape)}")
    step = 2 ** (len(multipliers) - 1)
    if shape[1] % step or shape[2] % step:
        raise PerrinError(
            f"ddpm_unet: UNet2DModel takes sides that are multiples of {step}, not {tuple(shape[1:])}"
        )
    if options["classes"]:
        raise PerrinError(
            "ddpm_unet: classes cannot be exported; diffusers' pipelines of a UNet2DModel ask for none: train with "
            "codec: {labels: false}"
        )
    attends, groups = options["attention"], options["groups"]
    if isinstance(attends, int):
        attends = [len(multipliers) - i <= attends for i in range(len(multipliers))]
    return FIXED | {
        "sample_size": shape[1] if shape[1] == shape[2] else tuple(shape[1:]),
        "in_channels": shape[0],
        "out_channels": options["out_channels"] or shape[0],
        "block_out_channels": tuple(options["channels"] * m for m in multipliers),
        "layers_per_block": options["blocks"],
        "down_block_types": tuple(BLOCKS[a][0] for a in attends),
        "up_block_types": tuple(BLOCKS[a][1] for a in reversed(attends)),
        "add_attention": options["middle"],
        "attention_head_dim": options["head"],
        "norm_num_groups": groups,
        "attn_norm_num_groups": groups,
        "norm_eps": options["epsilon"],
        "resnet_time_scale_shift": {v: k for k, v in TOLD.items()}[options["told"]],
        "freq_shift": options["gap"],
        "flip_sin_to_cos": True,
        "downsample_padding": 1 if options["padding"] == "both" else 0,
    }


def unet_pairs(names: Sequence[str], config: Mapping[str, Any]) -> list[Pair]:
    """The weights of Perrin's network beside those of a UNet2DModel.

    Args:
        names: of Perrin's weights; config: of the UNet2DModel.
    """
    pairs = list[Pair]()
    stems = dict.fromkeys(name.rpartition(".")[0] for name in names)
    for stem in stems:
        theirs = stem_of(stem)
        if stem.endswith(".qkv"):
            base = theirs.removesuffix(".qkv")
            for part in ("weight", "bias"):
                pairs.append(joined(f"{stem}.{part}", [f"{base}.to_{n}.{part}" for n in "qkv"], pixels=2))
        elif stem.endswith("attention.out") or (".attentions." in stem and stem.endswith(".out")):
            pairs += [joined(f"{stem}.{part}", [f"{theirs}.{part}"], pixels=2) for part in ("weight", "bias")]
        elif stem.endswith(".modulation") and config["resnet_time_scale_shift"] == "scale_shift":
            pairs += _modulation(stem, theirs)
        elif stem == "embedding.time":
            weight, bias = layer(stem, theirs)
            pairs += [weight if config["flip_sin_to_cos"] else turned(weight, _swapped, _swapped), bias]
        else:
            pairs += layer(stem, theirs)
    return pairs


def _modulation(ours: str, theirs: str) -> list[Pair]:
    """Scale and shift, into which goes what their second norm has of its own; see above."""
    norm = theirs.removesuffix("time_emb_proj") + "norm2"
    own = (f"{norm}.weight", f"{norm}.bias")

    def into(value: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        scale, shift = value.chunk(2)
        if value.ndim == 2:
            return torch.cat([weight[:, None] * scale, shift + bias[:, None] * scale])
        # so, and not g (1 + s) - 1: where g is one and b zero no digit changes
        return torch.cat([weight * scale + (weight - 1), shift + bias * (1 + scale)])

    def out(value: Tensor) -> list[Tensor]:
        half = len(value) // 2
        return [value, torch.ones(half), torch.zeros(half)]

    return [Pair(f"{ours}.{part}", (f"{theirs}.{part}", *own), into, out) for part in ("weight", "bias")]


def _swapped(value: Tensor) -> Tensor:
    """Columns of sines before those of cosines, and the other way round."""
    return value.roll(value.shape[1] // 2, 1)

"""The low-rank matrices of a LoRA file, under whichever names they were saved: diffusers and peft, or kohya's scripts.

    unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight      (also .lora.down, .lora_B, .lora.up)
    lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight      (also input_blocks_1_1_...)
    diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight      (see `fused_names`)

Both are read with underscores for dots. Without an `.alpha` it is the rank, so that the scale is 1.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from perrin.errors import PerrinError
from perrin.saving import PICKLES, load_tensors

NETWORK = "network"
"""The component that is called unet or transformer."""
COMPONENTS = {
    "unet": NETWORK, "transformer": NETWORK, "base_model_model": NETWORK, "lora_unet": NETWORK,
    "lora_transformer": NETWORK, "diffusion_model": NETWORK, "text_encoder": "text_encoder",
    "text_encoder_2": "text_encoder_2", "text_encoder_3": "text_encoder_3",
    "lora_te": "text_encoder", "lora_te1": "text_encoder", "lora_te2": "text_encoder_2", "lora_te3": "text_encoder_3",
}  # fmt: skip
"""What names begin with, and the component that they are of."""
METADATA = "lora_adapter_metadata"
_FACTOR = re.compile(
    r"(?P<place>.+?)(?:\.alpha|(?:\.lora_(?P<letter>[AB])(?:\.\w+)?|[._]lora(?:_linear_layer)?[._](?P<way>down|up))\.weight)"
)


@dataclass(frozen=True)
class LowRank:
    """What is added to one layer: scale B A.

    Attributes:
        key: its name in the file. component: see `COMPONENTS`. place: the layer's name, underscores for dots.
        down: A [rank, in, ...]. up: B [out, rank, ...]. scale: alpha / rank.
    """

    key: str
    component: str
    place: str
    down: Tensor
    up: Tensor
    scale: float


def low_ranks(path: Path) -> list[LowRank]:
    """All of a file.

    Raises:
        PerrinError: no such file, a pickle, one that is damaged or no LoRA, half of a pair.
    """
    if path.suffix in PICKLES:
        raise PerrinError(
            f"{path} is a pickle, which can run code when it is read; LoRA files are .safetensors"
        )
    if not path.is_file():
        raise PerrinError(f"no LoRA at {path}: no such file")
    found: dict[str, dict[str, tuple[str, Tensor]]] = {}
    for key, value in load_tensors(path).items():
        match = _FACTOR.fullmatch(key)
        if match is None:
            raise PerrinError(
                f"{path} has {key!r}, which is no part of a LoRA (up, down, alpha); LoHa, LoKr and DoRA are not known"
            )
        part = {"A": "down", "B": "up", None: match["way"] or "alpha"}[match["letter"]]
        found.setdefault(match["place"], {})[part] = key, value
    if not found:
        raise PerrinError(f"{path} holds no tensors")
    facts = _metadata(path)
    return [_paired(path, place, parts, facts) for place, parts in found.items()]


def _paired(path: Path, name: str, parts: dict[str, tuple[str, Tensor]], facts: dict[str, Any]) -> LowRank:
    key = next(iter(parts.values()))[0]
    for part in ("down", "up"):
        if part not in parts:
            raise PerrinError(f"{path} has {key!r} without the {part} matrix that belongs to it")
    (key, down), (_, up) = parts["down"], parts["up"]
    component, place = _component(name)
    rank = len(down)
    said = facts.get(name.split(".")[0]) or facts.get("", {})
    alpha = float(parts["alpha"][1]) if "alpha" in parts else _alpha(said, name, rank)
    return LowRank(
        key, component, place, down, up, alpha / (math.sqrt(rank) if said.get("use_rslora") else rank)
    )


def _component(name: str) -> tuple[str, str]:
    """(component, place); a name that begins with none is the network's."""
    flat = name.replace(".", "_")
    for start in sorted(COMPONENTS, key=len, reverse=True):
        if flat.startswith(start + "_"):
            place = flat[len(start) + 1 :]
            break
    else:
        return NETWORK, flat
    if "_processor_to_" in place:  # as attention processors were saved once
        place = place.replace("_processor_", "_")
        place = place + "_0" if place.endswith("_to_out") else place
    return COMPONENTS[start], place


def _metadata(path: Path) -> dict[str, dict[str, Any]]:
    """What peft wrote of its settings into the header, by the beginning of the names."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get(METADATA)
    found: dict[str, dict[str, Any]] = {}
    try:
        for name, value in json.loads(text or "{}").items():
            start, dot, setting = name.partition(".")
            found.setdefault(start if dot else "", {})[setting if dot else start] = value
    except (ValueError, AttributeError) as error:
        raise PerrinError(f"{path} has {METADATA} that cannot be read: {error}") from error
    return found


def _alpha(said: dict[str, Any], name: str, rank: int) -> float:
    for place, value in (said.get("alpha_pattern") or {}).items():
        if name == place or name.endswith("." + place):
            return float(value)
    return float(said.get("lora_alpha", rank))

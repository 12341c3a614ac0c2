"""The line of settings that other tools write into their pictures, and read: the PNG text `parameters`.

    PROMPT <lora:NAME:SCALE>
    Negative prompt: NEGATIVE
    Steps: 20, Sampler: DPM++ 2M, CFG scale: 7.5, Seed: 7, Size: 512x512, Model hash: ..., Model: ..., Version: Perrin ...

The format is that of AUTOMATIC1111's web interface: pairs with commas between them, values with a comma or a colon in
quotes. What has no name there stands in Perrin's own provenance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SAMPLERS = {
    "ddim": "DDIM", "euler": "Euler", "euler_ancestral": "Euler a", "heun": "Heun", "dpm_2": "DPM2",
    "dpmpp_2s": "DPM++ 2S", "dpmpp_2m": "DPM++ 2M", "dpmpp_3m": "DPM++ 3M", "dpmpp_sde": "DPM++ SDE",
    "dpmpp_2m_sde": "DPM++ 2M SDE", "unipc_2": "UniPC", "unipc_3": "UniPC", "ab_4": "LMS", "deis_3": "DEIS",
}  # fmt: skip
"""Rules by the names that other tools have for them; the rest keep their own."""


def parameters(made: Mapping[str, Any]) -> dict[str, str]:
    """The texts to put into a picture of one sample, by its provenance; none for pictures of no prompt."""
    wanted = made.get("wanted", {})
    if "prompt" not in wanted:
        return {}
    loras = [one for one in made.get("changes", ()) if "lora" in one]
    lines = [
        " ".join([wanted["prompt"], *(f"<lora:{_stem(one['lora'])}:{one['scale']:g}>" for one in loras)])
    ]
    if wanted.get("negative"):
        lines.append(f"Negative prompt: {wanted['negative']}")
    facts = _sampled(made) | _pictured(made) | _loras(loras) | {"Version": f"Perrin {made['perrin']}"}
    return {"parameters": "\n".join([*lines, ", ".join(f"{name}: {quoted(v)}" for name, v in facts.items())])}


def _sampled(made: Mapping[str, Any]) -> dict[str, Any]:
    plan, wanted = made["plan"], made["wanted"]
    facts = {
        "Steps": made.get("steps", len(plan["grid"]) - 1),
        "Sampler": SAMPLERS.get(plan["rule"], plan["rule"]),
        "CFG scale": made["guidance"],
    }
    if wanted.get("embedded_guidance") is not None:
        facts["Distilled CFG Scale"] = wanted["embedded_guidance"]
    facts |= {"Seed": made["seed"], "Size": f"{wanted['width']}x{wanted['height']}"}
    return facts | {"Model hash": made["model_hash"], "Model": made["model"]}


def _pictured(made: Mapping[str, Any]) -> dict[str, Any]:
    """What pictures were given, and what was done to the model besides LoRA."""
    changes, wanted = made.get("changes", ()), made["wanted"]
    facts: dict[str, Any] = {}
    if made.get("strength") is not None:
        facts["Denoising strength"] = made["strength"]
    if any("seamless" in one for one in changes):
        facts["Tiling"] = True
    nets = [one for one in changes if "control" in one]
    scales = wanted.get("control_scale", 1.0)
    each = scales if isinstance(scales, Sequence) else [scales] * len(nets)
    for i, (one, scale) in enumerate(zip(nets, each, strict=False)):
        facts[f"ControlNet {i}"] = f"Model: {_stem(one['control'])} [{one['hash']}], Weight: {scale:g}"
    return facts


def _loras(loras: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return (
        {"Lora hashes": ", ".join(f"{_stem(one['lora'])}: {one['hash']}" for one in loras)} if loras else {}
    )


def _stem(place: str) -> str:
    """The name of a file or a folder, without the ending of weights."""
    return Path(place).name.removesuffix(".safetensors")


def quoted(value: Any) -> str:
    """A value as it stands in the line: in quotes where it holds what divides values."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(sign in text for sign in ',:\n"') else text

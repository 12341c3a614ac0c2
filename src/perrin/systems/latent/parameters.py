"""The line of settings that other tools write into their pictures, and read: the PNG text `parameters`.

PROMPT
Negative prompt: NEGATIVE
Steps: 20, Sampler: dpmpp_2m, CFG scale: 7.5, Seed: 7, Size: 512x512, Model hash: ..., Model: ...
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def parameters(made: Mapping[str, Any]) -> dict[str, str]:
    """The texts to put into a picture of one sample, by its provenance; none for pictures of no prompt."""
    wanted = made.get("wanted", {})
    if "prompt" not in wanted:
        return {}
    plan = made["plan"]
    facts = {
        "Steps": len(plan["grid"]) - 1,
        "Sampler": plan["rule"],
        "CFG scale": made["guidance"],
        "Seed": made["seed"],
        "Size": f"{wanted['width']}x{wanted['height']}",
        "Model hash": made["model_hash"],
        "Model": made["model"],
    }
    lines = [wanted["prompt"]]
    if wanted.get("negative"):
        lines.append(f"Negative prompt: {wanted['negative']}")
    return {"parameters": "\n".join([*lines, ", ".join(f"{name}: {value}" for name, value in facts.items())])}

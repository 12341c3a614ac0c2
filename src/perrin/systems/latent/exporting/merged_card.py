"""What a folder that was merged says of how it was made, to people and to programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perrin.systems.latent.folder_model import Pretrained

MERGED, CONTROL = "lora", "control"
"""The first words of the changes that a folder can hold; see `changes`."""


def merges(model: Pretrained) -> bool:
    """Whether a LoRA was merged into a model."""
    return any(MERGED in change for change in model.about.get("changes", []))


def record(model: Pretrained, rewritten: list[str]) -> dict[str, Any]:
    """What the folder says of itself to programs."""
    return {
        "format": "perrin-export",
        "model": str(model.folder),
        "hash": model.hash,
        "changes": model.about.get("changes", []),
        "rewritten": rewritten,
    }


def card_of(model: Pretrained, index: Mapping[str, Any], rewritten: list[str]) -> str:
    """What it says to people."""
    name = model.about.get("name", "a model")
    lines = [
        f"# {name}, changed",
        "",
        f"The pretrained folder {name!r} with what was merged into it by Perrin.",
        "",
    ]
    for change in model.about.get("changes", []):
        if MERGED in change:
            place = Path(change[MERGED]).name
            lines.append(f"- LoRA {place} (sha256 {change['hash']}), scale {change['scale']}")
        else:
            lines.append(
                f"- ControlNet {Path(change[CONTROL]).name} (weights {change['hash']}), as a component"
            )
    lines += [
        "",
        f"Written anew: {', '.join(rewritten) or 'nothing'}; all else is as it was. The licences of all of them hold;",
        "the card of the folder, if it had one, is README.base.md.",
        "",
        "```python",
        f"from diffusers import {index['_class_name']}",
        "",
        f'pipeline = {index["_class_name"]}.from_pretrained("this folder")',
        "```",
        "",
    ]
    return "\n".join(lines)

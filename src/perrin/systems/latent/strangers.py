"""What files and folders are that are no models, such as checkpoints in one file, and what to do with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from perrin.errors import PerrinError
from perrin.kinds.files import few
from perrin.saving import PICKLES
from perrin.systems.latent.layout import INDEX

CONVERT = (
    "convert it once in diffusers: StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER), or the "
    "pipeline that it is of"
)
DIT = frozenset(("x_embedder.proj.weight", "y_embedder.embedding_table.weight"))
"""Names that the original code of DiT has."""
CODE = "a pickle, which can run code when it is read"


def refusal(place: Path) -> PerrinError:
    """Why a file or a folder is not loaded: what was found, and what would be right."""
    return PerrinError(f"{place} {_file(place) if place.is_file() else _folder(place)}")


def _file(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix in PICKLES:
        return f"is {CODE}; a model is a folder: if this is a checkpoint in one file, {CONVERT}, on a machine that may"
    if suffix != ".safetensors":
        return "is a file; give the model's folder"
    names = _tensors(file)
    if any("lora" in name for name in names):
        return f"is a LoRA, not a model: perrin sample MODEL --lora {file}, or model.with_lora(...)"
    if DIT.issubset(names):
        return f"holds the weights of a DiT: perrin import {file} --autoencoder FOLDER --out MODEL makes a model of them"
    if any(name.startswith(("model.diffusion_model.", "first_stage_model.")) for name in names):
        return f"is a checkpoint in one file; a model is a folder: {CONVERT}"
    return f"is a file of {len(names)} tensors; give the model's folder. If it is a checkpoint in one file, {CONVERT}"


def _tensors(file: Path) -> list[str]:
    """The names in a safetensors file, from its header alone."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            return list(opened.keys())
    except (SafetensorError, OSError) as error:
        raise PerrinError(f"{file} is a damaged safetensors file: {error}") from error


def _folder(folder: Path) -> str:
    name = _component(folder)
    if name is not None:
        return (
            f"is one component, a {name}, and no whole model: give the folder above it, which has {INDEX}"
            + (
                f"; perrin sample MODEL --control-net {folder} puts it beside one"
                if "ControlNet" in name
                else ""
            )
        )
    neither = f"is not a model folder: it has no model.json, nor the {INDEX} of a pipeline of diffusers"
    files = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    if not files:
        return f"{neither}; it is empty"
    found = f"{neither}; it holds {few(files)}"
    whole = next((file for file in files if Path(file).suffix.lower() in (".safetensors", ".ckpt")), None)
    if whole is None:
        inner = [path.name for path in sorted(folder.iterdir()) if _is_model(path)]
        return f"{found}; {folder / inner[0]} is one" if inner else found
    what = CODE if whole.endswith(".ckpt") else "perhaps a checkpoint in one file"
    return f"{found}; {whole} is {what}: {CONVERT}"


def _is_model(place: Path) -> bool:
    return (place / "model.json").is_file() or (place / INDEX).is_file()


def _component(folder: Path) -> str | None:
    """The class of a folder that diffusers or transformers saved a single network into."""
    try:
        said: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        name = said.get("_class_name") or (said.get("architectures") or [None])[0]
    except (OSError, ValueError, AttributeError, LookupError, TypeError):
        return None
    return name if isinstance(name, str) else None

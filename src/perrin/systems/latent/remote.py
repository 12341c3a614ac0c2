"""Which files of a repository in the diffusers layout are fetched: each component's settings, and its weights once.

A repository may hold the same weights many times: as safetensors and as pickles, in single and in half precision
(`model.fp16.safetensors`), whole and in parts, for other libraries, and all of them in one file beside.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from perrin.errors import PerrinError
from perrin.kinds.files import few
from perrin.systems.latent.layout import INDEX, PICKLES, UNUSED

TOLD = (".json", ".txt", ".model")
"""Endings of settings, of vocabularies and of tokenizers."""
WEIGHTS = re.compile(
    r"(diffusion_pytorch_model|model)(\.(?P<one>\w+))?(-\d+-of-\d+)?(\.(?P<two>\w+))?\.safetensors"
    r"(\.index(\.(?P<three>\w+))?\.json)?"
)


def wanted(name: str, files: Sequence[str]) -> list[str]:
    """The files to fetch of a repository.

    Raises:
        PerrinError: neither layout, or a component whose weights are pickles alone.
    """
    if INDEX not in files:
        raise PerrinError(
            f"{name} on the Hub is not a model: it has no model.json, nor the {INDEX} of a pipeline of diffusers; it "
            f"holds {_shown(files)}"
        )
    components: dict[str, list[str]] = {}
    for file in files:
        folder, slash, inner = file.partition("/")
        if slash and "/" not in inner and folder not in UNUSED:
            components.setdefault(folder, []).append(inner)
    found = [file for file in (INDEX, "README.md") if file in files]
    for folder, inside in sorted(components.items()):
        found += [f"{folder}/{file}" for file in _of_component(f"{name}/{folder}", inside)]
    return found


def _of_component(where: str, files: Sequence[str]) -> list[str]:
    weights = {file: match for file in files if (match := WEIGHTS.fullmatch(file))}
    variants = {file: _variant(match) for file, match in weights.items()}
    if not weights and "config.json" in files and any(file.endswith(PICKLES) for file in files):
        raise PerrinError(
            f"{where} on the Hub holds its weights as pickles alone, which can run code when they are read: load it once "
            "in diffusers, on a machine that may, and save_pretrained(FOLDER, safe_serialization=True)"
        )
    chosen = min(
        variants.values(), key=lambda v: ("", "fp16").index(v) if v in ("", "fp16") else 2, default=""
    )
    return sorted(
        file for file in files if (variants[file] == chosen if file in variants else file.endswith(TOLD))
    )


def _variant(match: re.Match[str]) -> str:
    """Such as fp16; nothing of plain weights."""
    return match["one"] or match["two"] or match["three"] or ""


def _shown(files: Sequence[str]) -> str:
    return few(sorted(files, key=lambda file: (file.count("/"), PurePosixPath(file)))) or "nothing"

"""Parts of a pretrained folder by the classes that made them, from safetensors alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from perrin.errors import PerrinError
from perrin.registry import unknown
from perrin.systems.latent.layout import Layout, variant_of, weights_of

MODULES = {
    "UNet2DConditionModel": "diffusers.models.unets.unet_2d_condition",
    "UNet2DModel": "diffusers.models.unets.unet_2d",
    "ControlNetModel": "diffusers.models.controlnets.controlnet",
    "AutoencoderKL": "diffusers.models.autoencoders.autoencoder_kl",
    "DiTTransformer2DModel": "diffusers.models.transformers.dit_transformer_2d",
    "PixArtTransformer2DModel": "diffusers.models.transformers.pixart_transformer_2d",
    "SD3Transformer2DModel": "diffusers.models.transformers.transformer_sd3",
    "FluxTransformer2DModel": "diffusers.models.transformers.transformer_flux",
    "PriorTransformer": "diffusers.models.transformers.prior_transformer",
    "StableUnCLIPImageNormalizer": "diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer",
    "UnCLIPTextProjModel": "diffusers.pipelines.deprecated.unclip.text_proj",
    "CLIPVisionModelWithProjection": "transformers",
    "CLIPTextModel": "transformers",
    "CLIPTextModelWithProjection": "transformers",
    "CLIPTokenizer": "transformers",
    "CLIPTokenizerFast": "transformers",
    "T5EncoderModel": "transformers",
    "T5Tokenizer": "transformers",
    "T5TokenizerFast": "transformers",
}
"""The classes that are known, and the modules that they come from; a folder cannot name others."""
VOCABULARIES = {
    "CLIP": (("tokenizer.json",), ("vocab.json", "merges.txt")),
    "T5": (("tokenizer.json",), ("spiece.model",)),
}
"""Of tokenizers, the files of which either these or those must be there: without any, transformers makes an empty one."""
RENAMED = {"Transformer2DModel": "DiTTransformer2DModel"}


def module(layout: Layout, component: str, dtype: torch.dtype) -> Any:
    """A network of a folder, in evaluation mode.

    Raises:
        PerrinError: a class that is not known, missing files, pickles, weights that do not fit.
    """
    place = layout.of(component)
    return loaded(place, _class(f"the {component} of {layout.folder}", layout.classes[component]), dtype)


def module_at(place: Path, name: str, dtype: torch.dtype) -> Any:
    """A network of one class in a folder of its own.

    Raises:
        PerrinError: no such folder, one of another class, and as in `module`.
    """
    if not place.is_dir():
        raise PerrinError(f"no {name} at {place}: no such folder")
    found = configuration(place).get("_class_name")
    if found != name:
        raise PerrinError(f"{place} holds a {found}, not a {name}")
    return loaded(place, _class(str(place), name), dtype)


def loaded(place: Path, made: Any, dtype: torch.dtype) -> Any:
    """A network of a class from the safetensors of a folder; see `module`."""
    variant = variant_of(weights_of(place))
    try:
        with _without_bars(made):
            found = made.from_pretrained(
                place,
                use_safetensors=True,
                variant=variant,
                local_files_only=True,
                torch_dtype=dtype,
                low_cpu_mem_usage=find_spec("accelerate") is not None,
            )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise PerrinError(f"{place} cannot be loaded: {_first_line(error)}") from error
    if not getattr(found, "_keep_in_fp32_modules", None):
        # without accelerate some classes (SD3's) come in float32, whatever is asked for
        nn.Module.to(found, dtype)
    return found.eval().requires_grad_(False)


@contextmanager
def _without_bars(made: Any) -> Iterator[None]:
    """Local weights are read at once; transformers shows a bar for each network all the same."""
    if not made.__module__.startswith("transformers."):
        yield
        return
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def tokenizer(layout: Layout, component: str) -> Any:
    """A tokenizer of a folder.

    Raises:
        PerrinError: a class that is not known, missing files.
    """
    place, name = layout.of(component), layout.classes[component]
    words = VOCABULARIES.get(name.removesuffix("Fast").removesuffix("Tokenizer"), ())
    if words and not any(all((place / file).is_file() for file in files) for files in words):
        raise PerrinError(
            f"{place} lacks its vocabulary ({' and '.join(words[-1])}); download the whole repository"
        )
    try:
        made = _class(f"the {component} of {layout.folder}", name)
        return made.from_pretrained(place, local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        raise PerrinError(f"{place} cannot be loaded: {_first_line(error)}") from error


def configuration(place: Path, file: str = "config.json") -> dict[str, Any]:
    """The configuration of a component.

    Raises:
        PerrinError: none, or one that is no JSON.
    """
    try:
        found: dict[str, Any] = json.loads((place / file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PerrinError(f"{place / file} cannot be read: {_first_line(error)}") from error
    return found


def _class(where: str, name: str) -> Any:
    name = RENAMED.get(name, name)
    if name not in MODULES:
        raise unknown(f"class of {where}", name, MODULES)
    source = MODULES[name]
    try:
        return getattr(import_module(source), name)
    except ImportError as error:
        raise PerrinError(f"{name} needs {source.split('.')[0]}: pip install 'perrin[pretrained]'") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

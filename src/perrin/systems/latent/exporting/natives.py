"""A Perrin model as a folder that diffusers' own pipelines load: `DiTPipeline`, `DDIMPipeline` of a `UNet2DModel`."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from perrin.errors import PerrinError
from perrin.model import Model
from perrin.registry import nets
from perrin.saving import read_json, write_json, write_text
from perrin.systems.latent.exporting import dit_weights, unet_weights
from perrin.systems.latent.exporting.chains import scheduler_options
from perrin.systems.latent.exporting.folders import copied_folder, whole_folder
from perrin.systems.latent.exporting.pairs import foreign
from perrin.systems.latent.latents import AutoencoderCodec
from perrin.systems.latent.layout import INDEX

OF_IMAGENET = 1000
RECORD = "perrin.json"
"""Says how a folder was made."""


def write_native(model: Model, folder: Path, overwrite: bool = False) -> Path:
    """Write a trained model in the layout of diffusers.

    A DiT of pixels has no pipeline there; its folder holds `transformer` and `scheduler` alone.

    Raises:
        PerrinError: naming what diffusers has no counterpart for.
    """
    _refuse(model)
    scheduler = _theirs("DDIMScheduler")(**scheduler_options(model.design.parameterisation))
    options = complete(model.design.net)
    if options["name"] == "dit":
        parts, pipeline = {"transformer": _dit(model, options)}, "DiTPipeline"
    else:
        parts, pipeline = {"unet": _unet(model, options)}, "DDIMPipeline"
    codec = model.codec
    with whole_folder(folder, overwrite) as part:
        if isinstance(codec, AutoencoderCodec):
            names = dict(enumerate(codec.classes or ()))
            whole = _theirs(pipeline)(**parts, vae=codec.pictures.vae, scheduler=scheduler, id2label=names)
            whole.save_pretrained(part)
            index = read_json(part / INDEX, "the index")
            write_json(part / INDEX, {**index, "id2label": names})  # which it reads and does not write
            shutil.rmtree(part / "vae")
            copied_folder(Path(codec.autoencoder), part / "vae")
        elif pipeline == "DDIMPipeline":
            _theirs(pipeline)(**parts, scheduler=scheduler).save_pretrained(part)
        else:
            for name, value in {**parts, "scheduler": scheduler}.items():
                value.save_pretrained(part / name)
        write_json(part / RECORD, _record(model))
        write_text(part / "README.md", _card(model, pipeline, (part / INDEX).is_file()))
    return folder


def complete(net: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a network with the defaults of those that are not said."""
    signature = inspect.signature(nets[net["name"]]).parameters.values()
    return {p.name: p.default for p in signature if p.default is not p.empty} | dict(net)


def _refuse(model: Model) -> None:
    design, name = model.design, model.design.net["name"]
    if design.role != "denoiser" or design.process is not None:
        raise PerrinError("only denoisers of pictures can be exported to the layout of diffusers")
    if name not in ("dit", "ddpm_unet"):
        raise PerrinError(
            f"net {name!r} has no counterpart in diffusers; a model with net: {{name: ddpm_unet}} (UNet2DModel) or "
            "{name: dit, clock: step, gap: 1} (DiTTransformer2DModel) can be exported"
        )
    if model.codec.kind not in (("images", "latents") if name == "dit" else ("images",)):
        raise PerrinError(
            f"net {name!r} of {model.codec.kind} has no pipeline in diffusers that could draw them"
        )
    if model.sampling.evaluated is not None:
        raise PerrinError("a distilled model samples in its own way, which no scheduler of diffusers knows")
    variance = (design.parameterisation.get("variance") or {}).get("name")
    if variance is not None and (name, variance) != ("dit", "published_range"):
        raise PerrinError(
            f"parameterisation.variance {variance!r} of net {name!r} cannot be exported: diffusers means something else "
            "by a second half of the output, of a DiT 'published_range', of a UNet2DModel nothing"
        )


def _dit(model: Model, options: Mapping[str, Any]) -> Any:
    net = _theirs("DiTTransformer2DModel")(**dit_weights.config_of(options))
    pairs = dit_weights.diffusers_pairs(options)
    net.load_state_dict(foreign(pairs, model.module.net.state_dict()))
    return net.eval()


def _unet(model: Model, options: Mapping[str, Any]) -> Any:
    config, weights = unet_weights.config_of(options), model.module.net.state_dict()
    net = _theirs("UNet2DModel")(**config)
    net.load_state_dict(foreign(unet_weights.unet_pairs(list(weights), config), weights))
    return net.eval()


def _theirs(name: str) -> Any:
    """A class of diffusers."""
    try:
        return getattr(import_module("diffusers"), name)
    except ImportError as error:
        raise PerrinError(
            "the layout of diffusers is written by diffusers: pip install 'perrin[pretrained]'"
        ) from error


def _record(model: Model) -> dict[str, Any]:
    return {"format": "perrin-export", "model": str(model.folder), "hash": model.hash, "about": model.about}


def _card(model: Model, pipeline: str, whole: bool) -> str:
    name = model.about.get("name", "a model")
    use = f'pipeline = {pipeline}.from_pretrained("this folder")'
    if not whole:
        pipeline, use = (
            "DiTTransformer2DModel",
            'net = DiTTransformer2DModel.from_pretrained("this folder/transformer")',
        )
    lines = [
        f"# {name}",
        "",
        f"Trained with Perrin (weights {model.hash}) and written in the layout of diffusers by `perrin export`.",
        ""
        if whole
        else "No pipeline of diffusers draws pixels with a DiT; the network can be loaded by itself.",
        "",
        "```python",
        f"from diffusers import {pipeline}",
        "",
        use,
        "```",
        "",
        "`perrin import` makes a Perrin model of it again.",
        *_of_none(model),
        "",
    ]
    return "\n".join(lines)


def _of_none(model: Model) -> list[str]:
    """DiTPipeline was written for ImageNet."""
    classes = model.codec.classes or ()
    if model.codec.kind != "latents" or len(classes) == OF_IMAGENET:
        return []
    return [
        "",
        f"DiTPipeline takes class {OF_IMAGENET} for none, which this network calls {len(classes)}: give it "
        "`guidance_scale=1`, or draw with Perrin.",
    ]

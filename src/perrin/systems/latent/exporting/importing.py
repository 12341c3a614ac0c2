"""Networks of diffusers, and the DiT of its authors, as Perrin's own: a model that can be trained on.

From a folder of a `DiTPipeline`, from one of a `UNet2DModel` (`DDPMPipeline`, `DDIMPipeline`), or from the weights of the
original DiT code as safetensors. An autoencoder stays where it is; the model remembers its folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perrin.design import Design
from perrin.errors import PerrinError
from perrin.kinds.images import ImageCodec
from perrin.model import Model
from perrin.registry import nets
from perrin.saving import PICKLES, load_tensors
from perrin.systems.latent.components import configuration, module, module_at
from perrin.systems.latent.exporting import dit_weights, unet_weights
from perrin.systems.latent.exporting.chains import chain_of
from perrin.systems.latent.exporting.pairs import native
from perrin.systems.latent.families.assembled import Assembled
from perrin.systems.latent.families.known import sampling
from perrin.systems.latent.families.patches import class_names
from perrin.systems.latent.latents import AutoencoderCodec
from perrin.systems.latent.layout import is_layout, read
from perrin.systems.latent.noise_tables import Trained, trained

STEPS = 25
"""Evaluations by default."""
UNETS = ("DDPMPipeline", "DDIMPipeline", "PNDMPipeline")


def imported(place: str | Path, autoencoder: str | Path | None = None, heads: int | None = None) -> Model:
    """A Perrin model with the weights of a network that was made elsewhere.

    Args:
        place: a folder in the layout of diffusers, or a safetensors file of the original DiT code.
        autoencoder: of such a file: the folder of its AutoencoderKL. heads: its attention heads, where its width does
            not say them.

    Raises:
        PerrinError: a network that Perrin has no counterpart for, missing files, pickles.
    """
    place = Path(place)
    if place.suffix.lower() in PICKLES:
        raise PerrinError(
            f"{place} is a pickle, which can run code when it is read: load it once in torch, on a machine that may, and "
            "safetensors.torch.save_file(weights, NAME)"
        )
    if place.is_file():
        return _of_original(place, autoencoder, heads)
    if autoencoder is not None or heads is not None:
        raise PerrinError(
            "autoencoder and heads are for a file of the original DiT code; a folder says both itself"
        )
    if not is_layout(place):
        return _of_pixels(place)
    layout = read(place)
    made = trained(configuration(layout.of("scheduler"), "scheduler_config.json"))
    if layout.pipeline == "DiTPipeline":
        net = module(layout, "transformer", torch.float32)
        classes = class_names(layout, net.config.num_embeds_ada_norm)
        side = net.config.sample_size
        codec = AutoencoderCodec.of(layout.of("vae"), (side, side), classes)
        return _dit(place, net, made, codec)
    if layout.pipeline in UNETS:
        return _unet(place, module(layout, "unet", torch.float32), made)
    raise PerrinError(
        f"{place} is of a {layout.pipeline}; networks of DiTPipeline, {', '.join(UNETS)} can be imported, and "
        "perrin.load opens the others as they are"
    )


def _of_pixels(place: Path) -> Model:
    """A DiT of pixels, as `natives` writes it: a network and its scheduler without a pipeline."""
    if not (place / "transformer").is_dir() or not (place / "scheduler").is_dir():
        raise PerrinError(f"{place} holds no model in the layout of diffusers, and is no safetensors file")
    net = module_at(place / "transformer", "DiTTransformer2DModel", torch.float32)
    made = trained(configuration(place / "scheduler", "scheduler_config.json"))
    config = net.config
    classes = [str(i) for i in range(config.num_embeds_ada_norm)]
    codec = ImageCodec((config.in_channels, config.sample_size, config.sample_size), classes, 0.5)
    return _dit(place, net, made, codec)


def _dit(place: Path, net: Any, made: Trained, codec: Any) -> Model:
    found = net.state_dict()
    options = dit_weights.options_of(net.config, found, str(place))
    weights = native(dit_weights.diffusers_pairs(options), found, str(place))
    return _model(place, options, weights, made.parameterisation, chain_of(made, str(place)), codec, 4.0)


def _of_original(place: Path, autoencoder: str | Path | None, heads: int | None) -> Model:
    found = load_tensors(place)
    options = dit_weights.original_options(found, heads, str(place))
    found.pop("pos_embed")
    weights = native(dit_weights.original_pairs(options), found, str(place))
    if autoencoder is None:
        raise PerrinError(f"{place} draws latents: give the folder of its autoencoder too (--autoencoder)")
    size = (options["shape"][1], options["shape"][2])
    classes = [str(i) for i in range(options["classes"])]
    codec = AutoencoderCodec.of(Path(autoencoder), size, classes)
    if codec.shape[0] != options["shape"][0]:
        raise PerrinError(
            f"{autoencoder} has {codec.shape[0]} channels a latent, {place} {options['shape'][0]}"
        )
    return _model(place, options, weights, "noise", {"name": "ddpm_linear"}, codec, 4.0)


def _unet(place: Path, net: Any, made: Trained) -> Model:
    options = unet_weights.options_of(net.config, str(place))
    with torch.device("meta"):  # for the names alone
        names = list(nets.build(options).state_dict())
    weights = native(unet_weights.unet_pairs(names, net.config), net.state_dict(), str(place))
    codec = ImageCodec(tuple(options["shape"]), None, 0.5)
    return _model(place, options, weights, made.parameterisation, chain_of(made, str(place)), codec, 1.0)


def _model(
    place: Path,
    options: dict[str, Any],
    weights: dict[str, Tensor],
    predicts: str,
    schedule: dict[str, Any],
    codec: Any,
    guidance: float,
) -> Model:
    parameterisation = {"name": predicts, "schedule": schedule}
    if options["out_channels"] == 2 * options["shape"][0]:
        parameterisation["variance"] = {"name": "published_range", "schedule": schedule}
    design = Design(options, parameterisation, {"kind": codec.kind, "config": codec.config()})
    made = design.denoiser()
    try:
        made.net.load_state_dict(weights)
    except RuntimeError as error:
        said = str(error).strip().splitlines()[-1].strip()
        raise PerrinError(f"{place} does not fit Perrin's {options['name']}: {said}") from error
    parts = Assembled(made.net, Trained(schedule, predicts), codec, guidance, STEPS)
    about = {"name": place.stem, "imported": str(place.resolve())}
    return Model(design, made, codec, sampling(parts), None, about)

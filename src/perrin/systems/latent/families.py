"""Which components make a model of each pipeline, and how: one function each, by the class that wrote the folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from perrin.contracts import Codec
from perrin.design import Sampling
from perrin.errors import PerrinError
from perrin.kinds.images import Images
from perrin.registry import unknown
from perrin.systems.latent import networks
from perrin.systems.latent.codec import LatentCodec
from perrin.systems.latent.components import configuration, module, tokenizer
from perrin.systems.latent.control import controlled
from perrin.systems.latent.layout import Layout
from perrin.systems.latent.noise_tables import Trained, trained
from perrin.systems.latent.text import T5, Clip, SideBySide, TextEncoder, Three


@dataclass(frozen=True)
class Assembled:
    """A pretrained model's parts.

    Attributes:
        net: called as `net(x, time, condition)`. trained: its schedule and what it predicts. modules: what else moves
            between devices. clipped: whether predictions are kept within the range of pixels.
    """

    net: nn.Module
    trained: Trained
    codec: Codec
    guidance: float
    steps: int
    modules: list[nn.Module] = field(default_factory=list)
    clipped: bool = False


Family = Callable[[Layout, torch.dtype], Assembled]


def stable_diffusion(layout: Layout, dtype: torch.dtype) -> Assembled:
    """Stable Diffusion 1 and 2: one text encoder, noise or v."""
    text = Clip(tokenizer(layout, "tokenizer"), module(layout, "text_encoder", dtype))
    return _with_unet(layout, dtype, text, 7.5)


def stable_diffusion_xl(layout: Layout, dtype: torch.dtype) -> Assembled:
    """SDXL: two text encoders, and the network is told the sizes of the picture."""
    first = Clip(tokenizer(layout, "tokenizer"), module(layout, "text_encoder", dtype), layer=-2)
    second = Clip(tokenizer(layout, "tokenizer_2"), module(layout, "text_encoder_2", dtype), layer=-2)
    zero = bool(layout.options.get("force_zeros_for_empty_prompt", True))
    return _with_unet(layout, dtype, SideBySide(first, second), 5.0, _original_and_target, zero)


def _original_and_target(n: int, height: int, width: int) -> dict[str, Tensor]:
    """SDXL's six numbers: original size, top and left of the crop, target size."""
    return {"sizes": torch.tensor([[height, width, 0, 0, height, width]] * n, dtype=torch.float32)}


def _with_unet(
    layout: Layout,
    dtype: torch.dtype,
    text: TextEncoder,
    guidance: float,
    sizes: Any = None,
    empty_is_zero: bool = False,
) -> Assembled:
    unet = module(layout, "unet", dtype)
    depth = 2 ** (len(unet.config.block_out_channels) - 1)
    codec = _latents(
        layout, dtype, unet.config, text=text, sizes=sizes, empty_is_zero=empty_is_zero, multiple=depth
    )
    codec = replace(codec, inpaints=_inpaints(layout, unet.config.in_channels, codec.shape[0]))
    net, parts = networks.OfText(unet), [codec.vae, *text.modules_of()]
    if "controlnet" in layout.classes:
        net, codec = controlled(net, codec, module(layout, "controlnet", dtype), layout.of("controlnet"))
    return Assembled(net, _schedule(layout), codec, guidance, 25, parts)


def _inpaints(layout: Layout, channels: int, own: int) -> bool:
    """Whether a U-Net was trained to fill holes: it is given the hole and the latents outside of it."""
    if channels not in (own, 2 * own + 1):
        raise PerrinError(
            f"the unet of {layout.folder} takes {channels} channels; known are {own}, of latents, and {2 * own + 1}, of "
            "latents with a hole and what is outside of it"
        )
    return channels != own


def stable_diffusion_3(layout: Layout, dtype: torch.dtype) -> Assembled:
    """SD3: three text encoders, of which T5 may be left out, and a flow."""
    net = module(layout, "transformer", dtype)
    first = Clip(tokenizer(layout, "tokenizer"), module(layout, "text_encoder", dtype), layer=-2)
    second = Clip(tokenizer(layout, "tokenizer_2"), module(layout, "text_encoder_2", dtype), layer=-2)
    third = None
    length = 256
    if "text_encoder_3" in layout.classes:
        third = T5(tokenizer(layout, "tokenizer_3"), module(layout, "text_encoder_3", dtype), length)
    text = Three(first, second, third, net.config.joint_attention_dim, length)
    codec = _latents(layout, dtype, net.config, text=text, multiple=net.config.patch_size)
    return Assembled(
        networks.MultimodalFlow(net), _schedule(layout), codec, 7.0, 28, [codec.vae, *text.modules_of()]
    )


def dit(layout: Layout, dtype: torch.dtype) -> Assembled:
    """DiT: classes of ImageNet."""
    net = module(layout, "transformer", dtype)
    names = layout.options.get("id2label") or {}
    count = net.config.num_embeds_ada_norm
    classes = [str(names.get(str(i), i)) for i in range(count)]
    codec = _latents(layout, dtype, net.config, classes=classes, multiple=net.config.patch_size)
    return Assembled(networks.OfClasses(net), _schedule(layout), codec, 4.0, 25, [codec.vae])


def pixart(layout: Layout, dtype: torch.dtype) -> Assembled:
    """PixArt: T5's tokens, of which the network attends to those that are there."""
    net = module(layout, "transformer", dtype)
    length = 300 if "Sigma" in layout.pipeline else 120
    text = T5(tokenizer(layout, "tokenizer"), module(layout, "text_encoder", dtype), length, plain=True)
    sizes = _size_and_proportion if net.config.sample_size == 128 else None
    codec = _latents(layout, dtype, net.config, text=text, sizes=sizes, multiple=net.config.patch_size)
    return Assembled(
        networks.MaskedText(net), _schedule(layout), codec, 4.5, 20, [codec.vae, *text.modules_of()]
    )


def _size_and_proportion(n: int, height: int, width: int) -> dict[str, Tensor]:
    """What PixArt of 1024 pixels is told."""
    return {
        "resolution": torch.tensor([[height, width]] * n, dtype=torch.float32),
        "aspect_ratio": torch.tensor([[height / width]] * n, dtype=torch.float32),
    }


def unconditional(layout: Layout, dtype: torch.dtype) -> Assembled:
    """DDPM and its kin: a U-Net of images."""
    unet = module(layout, "unet", dtype)
    side = unet.config.sample_size
    size = (side, side) if isinstance(side, int) else tuple(side)
    codec = Images.codec((unet.config.in_channels, *size), None, 0.5)
    made = configuration(layout.of("scheduler"), "scheduler_config.json")
    clipped = bool(made.get("clip_sample", True))
    return Assembled(networks.Alone(unet), trained(made), codec, 1.0, 50, clipped=clipped)


def _latents(layout: Layout, dtype: torch.dtype, config: Any, **options: Any) -> LatentCodec:
    vae = module(layout, "vae", dtype)
    side = config.sample_size
    height, width = (side, side) if isinstance(side, int) else side
    channels = vae.config.latent_channels
    return LatentCodec(
        (channels, height, width),
        2 ** (len(vae.config.block_out_channels) - 1),
        vae,
        float(vae.config.scaling_factor),
        float(getattr(vae.config, "shift_factor", None) or 0.0),
        name=layout.pipeline,
        **options,
    )


def _schedule(layout: Layout) -> Trained:
    return trained(configuration(layout.of("scheduler"), "scheduler_config.json"))


FAMILIES: dict[str, Family] = {
    "StableDiffusionPipeline": stable_diffusion,
    "StableDiffusionImg2ImgPipeline": stable_diffusion,
    "StableDiffusionInpaintPipeline": stable_diffusion,
    "StableDiffusionControlNetPipeline": stable_diffusion,
    "StableDiffusionXLPipeline": stable_diffusion_xl,
    "StableDiffusionXLImg2ImgPipeline": stable_diffusion_xl,
    "StableDiffusionXLInpaintPipeline": stable_diffusion_xl,
    "StableDiffusionXLControlNetPipeline": stable_diffusion_xl,
    "StableDiffusion3Pipeline": stable_diffusion_3,
    "StableDiffusion3Img2ImgPipeline": stable_diffusion_3,
    "DiTPipeline": dit,
    "PixArtAlphaPipeline": pixart,
    "PixArtSigmaPipeline": pixart,
    "DDPMPipeline": unconditional,
    "DDIMPipeline": unconditional,
    "PNDMPipeline": unconditional,
}


def family(layout: Layout) -> Family:
    """The function that assembles a folder's model.

    Raises:
        PerrinError: a pipeline that is not known.
    """
    if layout.pipeline not in FAMILIES:
        raise unknown(f"pipeline of {layout.folder}", layout.pipeline, FAMILIES)
    return FAMILIES[layout.pipeline]


def sampling(parts: Assembled) -> Sampling:
    """How such a model samples unless told otherwise."""
    made = parts.trained
    if made.parameterisation == "flow_velocity":
        schedule = {"name": "flow", "shift": made.shift}
        return Sampling("ddim", parts.steps, "time", schedule, parts.guidance)
    return Sampling("dpmpp_2m", parts.steps, "karras", made.schedule, parts.guidance)

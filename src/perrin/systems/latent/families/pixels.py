"""DeepFloyd-IF: U-Nets of pixels under T5's texts, the second of which enlarges; and the upscaler of Stable Diffusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process.schedulebook.table import Discrete
from perrin.registry import schedules
from perrin.systems.latent.borrowing import Borrowed
from perrin.systems.latent.codec import LatentCodec
from perrin.systems.latent.components import configuration, module, tokenizer
from perrin.systems.latent.enlarging import Enlarging
from perrin.systems.latent.families.assembled import Assembled, depth, latents, schedule
from perrin.systems.latent.families.unet_of_text import OfText
from perrin.systems.latent.layout import Layout
from perrin.systems.latent.noise_tables import trained
from perrin.systems.latent.text import T5, Clip, TextEncoder
from perrin.systems.latent.thresholded import threshold

LENGTH = 77
"""Tokens of a text of DeepFloyd-IF."""
LEARNED = "learned_range"


class Whole(T5):
    """T5 for a network that attends to what fills up a text, too, which T5 itself does not."""

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """`prompt` [n, length, width]."""
        return {"prompt": super().__call__(texts)["prompt"]}


def deepfloyd(layout: Layout, dtype: torch.dtype) -> Assembled:
    """DeepFloyd-IF's first stage: pictures of texts."""
    return _of_pixels(layout, dtype, 7.0, 50)


def deepfloyd_larger(layout: Layout, dtype: torch.dtype) -> Assembled:
    """Its second and third stage: pictures four times as large."""
    chain = _chain(layout, "image_noising_scheduler")
    most = len(chain.levels) - 1
    follows = Enlarging(chain, min(250, most), most)
    return _of_pixels(layout, dtype, 4.0, 50, follows)


def upscaler(layout: Layout, dtype: torch.dtype) -> Assembled:
    """Stable Diffusion's upscaler: latents under a picture of the latents' size."""
    text = Clip(tokenizer(layout, "tokenizer"), module(layout, "text_encoder", dtype))
    unet = module(layout, "unet", dtype)
    codec = latents(layout, dtype, unet.config, text=text, multiple=depth(unet))
    _refuse_channels(layout, unet, codec.shape[0] + 3)
    most = int(layout.options.get("max_noise_level", 350))
    follows = Enlarging(_chain(layout, "low_res_scheduler"), min(20, most), most, codec.factor)
    codec = replace(codec, follows=follows)
    return Assembled(OfText(unet), schedule(layout), codec, 9.0, 50, [codec.vae, *text.modules_of()])


def _of_pixels(
    layout: Layout, dtype: torch.dtype, guidance: float, steps: int, follows: Enlarging | None = None
) -> Assembled:
    text = _texts(layout, dtype, lent=follows is not None)
    unet = module(layout, "unet", dtype)
    _refuse_channels(layout, unet, 3 if follows is None else 6)
    made = configuration(layout.of("scheduler"), "scheduler_config.json")
    side = unet.config.sample_size
    high, wide = (side, side) if isinstance(side, int) else side
    codec = LatentCodec(
        (3, high, wide),
        1,
        None,
        1.0,
        text=text,
        multiple=depth(unet),
        name=layout.pipeline,
        follows=follows,
        steer=threshold(made),
    )
    learned = made.get("variance_type") == LEARNED and unet.config.out_channels == 6
    variance = "published_range" if learned else None
    net = OfText(unet, learned=learned)
    return Assembled(net, trained(made), codec, guidance, steps, [*text.modules_of()], variance=variance)


def _texts(layout: Layout, dtype: torch.dtype, lent: bool) -> TextEncoder:
    if lent and not (layout.folder / "text_encoder").is_dir():
        return Borrowed(layout.folder)
    return Whole(tokenizer(layout, "tokenizer"), module(layout, "text_encoder", dtype), LENGTH, plain=True)


def _chain(layout: Layout, component: str) -> Discrete:
    """The chain of the noise on a small picture."""
    made = trained(configuration(layout.of(component), "scheduler_config.json")).schedule
    found: Discrete = schedules.build(made)
    return found


def _refuse_channels(layout: Layout, unet: Any, wanted: int) -> None:
    if unet.config.in_channels != wanted:
        raise PerrinError(
            f"the unet of {layout.folder} takes {unet.config.in_channels} channels; {layout.pipeline} is for {wanted}"
        )

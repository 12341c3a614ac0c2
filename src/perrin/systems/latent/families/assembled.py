"""What a family of pretrained folders gives: one function each makes the parts of a model from a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import nn

from perrin.contracts import Codec
from perrin.denoise.wrapped import Wrapped, wrap
from perrin.design import Design
from perrin.registry import schedules, variances
from perrin.systems.latent.clipped import Clipped
from perrin.systems.latent.codec import LatentCodec
from perrin.systems.latent.components import configuration, module
from perrin.systems.latent.layout import Layout
from perrin.systems.latent.noise_tables import Trained, trained


@dataclass(frozen=True)
class Assembled:
    """A pretrained model's parts.

    Attributes:
        net: called as `net(x, time, condition)`. trained: its schedule and what it predicts. modules: what else moves
            between devices. clipped: whether predictions are kept within the range of pixels. variance: how its
            second half says variances, a name of `registry.variances`; None: it has none. grid: of its levels by
            default; None: what suits its schedule.
    """

    net: nn.Module
    trained: Trained
    codec: Codec
    guidance: float
    steps: int
    modules: list[nn.Module] = field(default_factory=list)
    clipped: bool = False
    variance: str | None = None
    grid: str | None = None


Family: TypeAlias = Callable[[Layout, torch.dtype], Assembled]


def latents(layout: Layout, dtype: torch.dtype, config: Any, **options: Any) -> LatentCodec:
    """The codec of a folder's autoencoder; `config`: of the network, or its own size; `options`: of `LatentCodec`."""
    vae = module(layout, "vae", dtype)
    side = config if isinstance(config, int) else config.sample_size
    size = (side, side) if isinstance(side, int) else tuple(side)
    return of_autoencoder(vae, size, name=layout.pipeline, **options)


def of_autoencoder(vae: Any, size: tuple[int, int], **options: Any) -> LatentCodec:
    """The codec of an autoencoder for latents of this size (h, w); `options`: of `LatentCodec`."""
    return LatentCodec(
        (vae.config.latent_channels, *size),
        2 ** (len(vae.config.block_out_channels) - 1),
        vae,
        float(vae.config.scaling_factor),
        float(getattr(vae.config, "shift_factor", None) or 0.0),
        **options,
    )


def depth(unet: Any) -> int:
    """What the sides of a U-Net's states must be divisible by."""
    return int(2 ** (len(unet.config.block_out_channels) - 1))


def denoising(parts: Assembled) -> tuple[Design, Wrapped]:
    """What a model is made of, and its denoiser."""
    made = parts.trained
    told: dict[str, Any] = {}
    if parts.variance is not None:
        told["variance"] = {"name": parts.variance, "schedule": made.schedule}
    options = {name: variances.build(value) for name, value in told.items()}
    found = wrap(parts.net, made.parameterisation, schedules.build(made.schedule), **options)
    design = Design(
        {"name": type(parts.net).__name__},
        {"name": made.parameterisation, "schedule": made.schedule, **told},
        {"kind": parts.codec.kind, "config": parts.codec.config()},
    )
    return design, Clipped(found.net, found.parameterisation) if parts.clipped else found


def schedule(layout: Layout) -> Trained:
    """What the network of a folder was trained with."""
    return trained(configuration(layout.of("scheduler"), "scheduler_config.json"))

"""Memory that runs out while a pretrained model draws: one line that says what to lower for this model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from perrin.errors import NotEnoughMemory, PerrinError
from perrin.sample.device import out_of_memory
from perrin.systems.latent.offloading import visits_of

if TYPE_CHECKING:
    from perrin.systems.latent.codec import LatentCodec
    from perrin.systems.latent.folder_model import Pretrained

TILE = 512
"""Pixels of a tile, unless the picture itself is not larger."""


@contextmanager
def enough_to_draw(model: Pretrained, asked: Mapping[str, Any]) -> Iterator[None]:
    """Around drawing samples that are `asked` for; what stayed on the device goes home afterwards.

    Raises:
        PerrinError: memory for not even one of them; says what to lower.
    """
    try:
        yield
    except (MemoryError, RuntimeError, NotEnoughMemory) as error:
        _refuse_other(error)
        codec, net = model.codec, model.denoiser.net
        raise _refused("for one sample", [*smaller(codec, asked), *lighter(net, model.device)]) from error
    finally:
        if model.visits is not None:
            model.visits.end()


@contextmanager
def enough_to_code(codec: LatentCodec, height: int, width: int, what: str) -> Iterator[None]:
    """Around the autoencoder's work, `what`, on a picture of so many pixels.

    Raises:
        PerrinError: memory for less than one of them; says what to lower.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        _refuse_other(error)
        vae = codec.vae
        others = [*smaller(codec, {"height": height, "width": width}), *lighter(vae, _device(vae))]
        raise _refused(f"to {what} a picture", [*_tiles(codec, max(height, width)), *others]) from error


@contextmanager
def enough_to_read(encoders: Sequence[nn.Module], count: int) -> Iterator[None]:
    """Around the encoders of so many texts.

    Raises:
        PerrinError: memory for less; says what to lower.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        _refuse_other(error)
        fewer = [f"fewer prompts at a time ({count} now, negative ones included)"] if count > 2 else []
        own = [way for encoder in encoders[:1] for way in lighter(encoder, _device(encoder))]
        raise _refused("for the text encoders", [*fewer, *own]) from error


def smaller(codec: Any, asked: Mapping[str, Any]) -> list[str]:
    """The sides that make about half of the picture that was asked for, where the model can draw it."""
    factor, step = getattr(codec, "factor", None), getattr(codec, "multiple", 1)
    if factor is None or (asked.get("image") is not None and asked.get("height") is None):
        return []  # a model of one size, or a picture that says it
    own = [codec.shape[1] * factor, codec.shape[2] * factor]
    sides = [asked.get(name) or side for name, side in zip(("height", "width"), own, strict=True)]
    less = [max(factor * step, side * 3 // 4 // (factor * step) * factor * step) for side in sides]
    if less == sides:
        return []
    return [f"--height {less[0]} --width {less[1]} (now {sides[0]} x {sides[1]})"]


def lighter(part: nn.Module, device: torch.device) -> list[str]:
    """Fewer bytes a weight, and fewer weights on the device."""
    visits = visits_of(part)
    found = ["--dtype bfloat16 (now float32)"] if _precision(part) == torch.float32 else []
    if visits is None:
        return [*found, *(["--offload parts or layers (now none)"] if device.type != "cpu" else [])]
    return [*found, *(["--offload layers (now parts)"] if visits.way == "parts" else [])]


def _tiles(codec: LatentCodec, side: int) -> list[str]:
    """Tiles of fewer pixels than the picture, or than its tiles, has."""
    vae: Any = codec.vae
    now = vae.tile_sample_min_size if getattr(vae, "use_tiling", False) else None
    step = 4 * codec.factor
    tile = min(TILE, (now or side) // 2 // step * step)
    if tile < step:
        return []
    return [f"--tiles {tile}" + (f" (now {now})" if now else "")]


def _refuse_other(error: Exception) -> None:
    """Pass on an error that is not of memory."""
    if not (isinstance(error, NotEnoughMemory) or out_of_memory(error)):
        raise error


def _refused(what: str, ways: list[str]) -> PerrinError:
    lower = f"; lower it by {', '.join(ways)}" if ways else ", and nothing of it can be lowered"
    return PerrinError(f"there is not enough memory {what}{lower}")


def _precision(part: nn.Module) -> torch.dtype:
    return next(part.parameters()).dtype


def _device(part: nn.Module) -> torch.device:
    return next(part.parameters()).device

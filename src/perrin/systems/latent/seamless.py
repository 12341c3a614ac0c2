"""Pictures whose borders fit each other: convolutions that see, beyond one border, what is at the other one.

Attention of a U-Net has no positions, so that a picture that is shifted round is nothing new to network and autoencoder.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.functional import pad

from perrin.errors import PerrinError
from perrin.systems.latent.enlarging import Enlarging
from perrin.systems.latent.families.unet_of_text import OfText
from perrin.systems.latent.sharing import copied

if TYPE_CHECKING:
    from perrin.systems.latent.folder_model import Pretrained


def seamless(model: Pretrained, across: bool = True, down: bool = True) -> Pretrained:
    """The model of such pictures; see `Pretrained.seamless`."""
    _refuse(model, across, down)
    made = copied(model, {"seamless": [across, down]})
    codec: Any = made.codec
    for part in (made.denoiser.net, *([] if codec.vae is None else [codec.vae])):
        for module in part.modules():
            if isinstance(module, nn.Conv2d) and module.padding != (0, 0):
                high, wide = (int(n) for n in module.padding)
                module.register_forward_pre_hook(
                    partial(_wrapped, high=high, wide=wide, across=across, down=down)
                )
                module.padding = (0, 0)
    return made


def _refuse(model: Pretrained, across: bool, down: bool) -> None:
    if not isinstance(model.denoiser.net, OfText):
        raise PerrinError("seamless pictures need a U-Net of texts; networks of patches know positions")
    if isinstance(getattr(model.codec, "follows", None), Enlarging):
        raise PerrinError("a model that enlarges pictures is as seamless as those; it cannot be made so")
    if not across and not down:
        raise PerrinError("seamless pictures fit across, down or both; neither was asked for")
    for change in model.about.get("changes", []):
        if "seamless" in change or "tiled" in change:
            raise PerrinError(f"a model that is {next(iter(change))} cannot be made seamless")


def _wrapped(module: nn.Module, told: Any, *, high: int, wide: int, across: bool, down: bool) -> Tensor:
    """The input [B, C, H, W] with what the convolution is to see beyond its borders."""
    x: Tensor = told[0]
    x = pad(x, (wide, wide, 0, 0), mode="circular" if across else "constant")
    return pad(x, (0, 0, high, high), mode="circular" if down else "constant")

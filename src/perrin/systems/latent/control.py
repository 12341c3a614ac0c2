"""ControlNets (Zhang et al. 2023): networks that see drawings, and add to the features of a U-Net, one or several."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from perrin.denoise.wrapped import Wrapped, wrap
from perrin.errors import PerrinError
from perrin.saving import weights_hash
from perrin.systems.latent.codec import LatentCodec
from perrin.systems.latent.components import module, module_at
from perrin.systems.latent.families.unet_of_text import OfText
from perrin.systems.latent.layout import Layout
from perrin.systems.latent.sharing import copied

if TYPE_CHECKING:
    from perrin.systems.latent.folder_model import Pretrained

CONTROL, SEVERAL = "controlnet", "MultiControlNetModel"
"""The component, and what an index calls several of them."""


def with_control(model: Pretrained, folder: str | Path) -> Pretrained:
    """The model under a ControlNet; see `Pretrained.with_control`."""
    net: Any = model.denoiser.net
    if not isinstance(net, OfText):
        said = f"is a {type(net.net).__name__}"
        raise PerrinError(f"a ControlNet is for the U-Net of a model of texts; this model's network {said}")
    weight = next(net.parameters())
    control = module_at(Path(folder), "ControlNetModel", weight.dtype).to(weight.device)
    made = copied(model, {"control": str(folder), "hash": weights_hash(control.state_dict())})
    assert isinstance(made.module, Wrapped)
    assert isinstance(made.codec, LatentCodec)
    own, made.codec = controlled(cast(OfText, made.module.net), made.codec, control, Path(folder))
    made.module = wrap(own, made.module.parameterisation).eval()
    return made


def controlled(net: OfText, codec: LatentCodec, control: Any, place: Path) -> tuple[OfText, LatentCodec]:
    """A network and its codec with a ControlNet, beside those that are there.

    Raises:
        PerrinError: one that was trained for another network.
    """
    ours, other = {**net.net.config, "in_channels": codec.shape[0]}, control.config  # it sees latents alone
    for name in ("in_channels", "block_out_channels", "layers_per_block", "cross_attention_dim"):
        if _plain(ours[name]) != _plain(other[name]):
            raise PerrinError(
                f"{place} does not fit: its {name} is {other[name]}, that of the model is {ours[name]}"
            )
    factor = 2 ** (len(other.conditioning_embedding_out_channels) - 1)
    if factor != codec.factor:
        raise PerrinError(
            f"{place} does not fit: it sees {factor} pixels a latent, the model has {codec.factor}"
        )
    controls = [*net.controls, control]
    return OfText(net.net, controls, net.learned), replace(codec, controls=len(controls))


def control_nets(layout: Layout, dtype: torch.dtype) -> list[tuple[Path, Any]]:
    """The ControlNets in a folder of a pipeline, and where they are.

    Raises:
        PerrinError: folders that are missing, of other classes, or cannot be loaded.
    """
    if layout.classes.get(CONTROL) not in (None, SEVERAL):
        return [(layout.of(CONTROL), module(layout, CONTROL, dtype))]
    return [(place, module_at(place, "ControlNetModel", dtype)) for place in control_places(layout)]


def control_places(layout: Layout) -> list[Path]:
    """Where the ControlNets in a folder of a pipeline are: controlnet, controlnet_1, ..."""
    if CONTROL not in layout.classes:
        return []
    places = [layout.of(CONTROL)]
    if layout.classes[CONTROL] == SEVERAL:
        while (following := layout.folder / numbered(len(places))).is_dir():
            places.append(following)
    return places


def numbered(i: int) -> str:
    """The name of the i-th ControlNet's folder."""
    return f"{CONTROL}_{i}" if i else CONTROL


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

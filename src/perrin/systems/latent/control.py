"""ControlNet (Zhang et al. 2023): a second network that sees a drawing, and adds to the features of a U-Net."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from perrin.denoise.wrapped import Wrapped, wrap
from perrin.errors import PerrinError
from perrin.saving import weights_hash
from perrin.systems.latent.codec import LatentCodec
from perrin.systems.latent.components import module_at
from perrin.systems.latent.networks import OfText
from perrin.systems.latent.sharing import copied

if TYPE_CHECKING:
    from perrin.systems.latent.opening import Pretrained


def with_control(model: Pretrained, folder: str | Path) -> Pretrained:
    """The model under a ControlNet; see `Pretrained.with_control`."""
    net: Any = model.denoiser.net
    if not isinstance(net, OfText) or net.control is not None:
        said = "has a ControlNet already" if isinstance(net, OfText) else f"is a {type(net.net).__name__}"
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
    """A network and its codec with a ControlNet.

    Raises:
        PerrinError: one that was trained for another network.
    """
    ours, other = net.net.config, control.config
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
    return OfText(net.net, control), replace(codec, controlled=True)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

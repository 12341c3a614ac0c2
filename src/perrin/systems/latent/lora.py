r"""LoRA (Hu et al. 2021): a small change of trained weights, merged into them.

    W  <-  W + scale (alpha / rank) B A      A [rank, in], B [out, rank]; of convolutions A [rank, in, k, k]

The sum is made in float32. Merged, it costs nothing when sampling.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from perrin.errors import PerrinError
from perrin.systems.latent.fused_names import fused_names
from perrin.systems.latent.lora_reading import NETWORK, LowRank, low_ranks
from perrin.systems.latent.original_names import original_name
from perrin.systems.latent.sharing import copied

if TYPE_CHECKING:
    from perrin.systems.latent.folder_model import Pretrained


def with_lora(model: Pretrained, path: str | Path, scale: float = 1.0) -> Pretrained:
    """The model with the change of a LoRA file; see `Pretrained.with_lora`."""
    path = Path(path)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not math.isfinite(scale):
        raise PerrinError(f"the scale of a LoRA is a finite number, not {scale!r}")
    parts = low_ranks(path)
    made = copied(model, {"lora": str(path), "hash": file_hash(path), "scale": float(scale)})
    layers = {name: _layers(part) for name, part in _components(made).items()}
    for part in parts:
        fused = _fused(path, part, layers)
        rows = [len(layer.weight) for layer in fused]
        added = (part.scale * scale) * _product(path, part, (sum(rows), *fused[0].weight.shape[1:]))
        for layer, own in zip(fused, added.split(rows), strict=True):
            weight = (layer.weight.float() + own.to(layer.weight.device)).to(layer.weight.dtype)
            layer.weight = nn.Parameter(weight, requires_grad=False)
    return made


def file_hash(path: Path) -> str:
    """12 hexadecimal digits that name a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def _components(model: Pretrained) -> dict[str, Any]:
    net: Any = model.denoiser.net
    text = getattr(model.codec, "text", None)
    encoders = [] if text is None else text.modules_of()
    names = ("text_encoder", "text_encoder_2", "text_encoder_3")
    return {NETWORK: net.net, **dict(zip(names, encoders, strict=False))}


def _layers(part: Any) -> dict[str, list[Any]]:
    """Linear and convolution layers, by every name that files have for them, underscores for dots; some are of several."""
    found = {name: m for name, m in part.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    table = {name.replace(".", "_"): m for name, m in found.items()}
    table |= {_plain(name): m for name, m in table.items()}
    per_block = getattr(getattr(part, "config", None), "layers_per_block", None)
    if isinstance(per_block, int):
        old = {original_name(name, per_block, found): m for name, m in found.items()}
        table |= {name.replace(".", "_"): m for name, m in old.items() if name is not None}
    fused = {name.replace(".", "_"): [found[one] for one in names] for name, names in fused_names(found)}
    return {name: [m] for name, m in table.items()} | fused


def _plain(place: str) -> str:
    """Without a prefix that text encoders had in some versions and not in others."""
    return place.removeprefix("text_model_")


def _fused(path: Path, part: LowRank, layers: dict[str, dict[str, list[Any]]]) -> list[Any]:
    """The layers that a part is of, one after another by their rows."""
    if part.component not in layers:
        raise PerrinError(
            f"{path} does not fit: {part.key!r} is of the {part.component}, and this model has {', '.join(layers)}"
        )
    table = layers[part.component]
    found = table.get(part.place) or table.get(_plain(part.place))
    if found is None:
        raise PerrinError(
            f"{path} does not fit: {part.key!r} is of a layer that this model's {part.component} lacks; it has "
            f"{len({id(m) for own in table.values() for m in own})} layers, such as {next(iter(table))}"
        )
    return found


def _product(path: Path, part: LowRank, shape: tuple[int, ...]) -> Tensor:
    """B A, float32 of the weight's shape."""
    down, up = part.down.float().flatten(1), part.up.float().flatten(1)
    wanted = (shape[0], math.prod(shape[1:]))
    if (len(up), down.shape[1]) != wanted or up.shape[1] != len(down):
        raise PerrinError(
            f"{path} does not fit: {part.key!r} {tuple(part.down.shape)} and its other half {tuple(part.up.shape)} are "
            f"for another layer than this model's of {shape}: it was trained for another model"
        )
    found: Tensor = torch.matmul(up, down).reshape(shape)
    return found

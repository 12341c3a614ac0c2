"""Where a pretrained model computes and in what precision, chosen by what fits there, and a line that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from perrin.errors import PerrinError
from perrin.registry import unknown
from perrin.sample.device import out_of_memory
from perrin.systems.latent.offloading import Visits, offloaded

if TYPE_CHECKING:
    from perrin.systems.latent.folder_model import Pretrained

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
OFFLOADS = ("none", "parts", "layers")
ROOM = 4_000_000_000
"""Bytes beside the weights: what decoding a picture of 1024 x 1024 takes in float32, measured on a CPU."""


@dataclass(frozen=True)
class Placed:
    """How a model was placed.

    Attributes:
        precision, offload: why these; formats: whether convolutions keep their channels last; compiled: whether the
            network is.
    """

    precision: str = ""
    offload: str = ""
    formats: bool = False
    compiled: bool = False


def precision(dtype: str | torch.dtype | None, device: torch.device) -> tuple[torch.dtype, str]:
    """The precision of the networks, and why.

    Raises:
        PerrinError: one that is not known.
    """
    if dtype is None:
        if device.type == "cpu":
            return torch.float32, "bfloat16 rounds, and is faster on some CPUs alone"
        return torch.bfloat16, "half the memory of float32"
    found = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise unknown("dtype", str(dtype), DTYPES)
    return found, "as asked"


def fitting(sizes: Sequence[int], free: int) -> str:
    """The offload under which weights fit.

    Args:
        sizes: bytes of each component. free: bytes on the device.
    """
    if sum(sizes) + ROOM <= free:
        return "none"
    return "parts" if max(sizes) + ROOM <= free else "layers"


def place(model: Pretrained, device: torch.device, offload: str | None, why: str) -> None:
    """Put a model, which is on the CPU, where it computes.

    Args:
        offload: see `OFFLOADS`; None: what fits in the memory that is free on a GPU. why: of its precision.

    Raises:
        PerrinError: an offload that is not known, or weights that do not fit.
    """
    if offload is not None and offload not in OFFLOADS:
        raise unknown("offload", str(offload), OFFLOADS)
    networks = components(model)
    sizes = [bytes_of(part) for part in networks]
    chosen, reason = offload or "none", "as asked" if offload else ""
    if offload is None and device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        chosen = fitting(sizes, free)
        reason = f"they are {in_words(sum(sizes))}, and {in_words(free)} are free"
    model.placed = Placed(why, reason)
    if device.type == "cuda":
        model.channels_last()
    try:
        if chosen == "none":
            model.to(device)
        else:
            model.under(Visits(chosen, device))
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise PerrinError(
            f"the weights of {model.folder} are {in_words(sum(sizes))}, more than is free on {device}: --dtype bfloat16 "
            "halves those of float32, --offload parts or --offload layers keeps them off it until they are used"
        ) from error


def components(model: Pretrained) -> list[nn.Module]:
    """The networks of a model and of those before it, which may share some: each can be on the device alone."""
    before = getattr(model.codec, "before", None)
    others = [] if before is None else components(before.model)
    return list(dict.fromkeys([model.denoiser.net, *getattr(model, "parts", []), *others]))


def put_under(model: Pretrained, visits: Visits) -> None:
    """Let the weights of a model, and of those before it, visit the device."""
    offloaded(model.parts, model.denoiser.net, visits)
    before = getattr(model.codec, "before", None)
    if before is not None and hasattr(before.model, "under"):
        before.model.under(visits)


def in_channels_last(part: nn.Module) -> None:
    """Keep the weights of its convolutions in the order that a GPU's kernels for them read."""
    part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def convolves(part: nn.Module) -> bool:
    """Whether much of its weights are of convolutions over more than a place, as a U-Net's are."""
    counts = [(weight.numel(), weight.dim() == 4 and weight.shape[-1] > 1) for weight in part.parameters()]
    return 10 * sum(count for count, own in counts if own) > sum(count for count, _ in counts)


def chosen(model: Pretrained) -> str:
    """What was chosen and why, in a line."""
    placed, weight = model.placed, next(model.denoiser.parameters())
    said = [f"{str(weight.dtype).removeprefix('torch.')} on {model.device}: {placed.precision}"]
    if model.visits is not None:
        what = "part by part" if model.visits.way == "parts" else "block by block"
        said.append(f"weights visit it {what}" + _because(placed.offload))
    elif model.device.type != "cpu":
        said.append("all weights are there" + _because(placed.offload))
    if placed.formats:
        said.append("convolutions with channels last")
    if placed.compiled:
        said.append("the network compiled")
    vae: Any = getattr(model.codec, "vae", None)
    if vae is not None:
        tiles = f", in tiles of {vae.tile_sample_min_size}" if getattr(vae, "use_tiling", False) else ""
        said.append(f"decoding one picture at a time{tiles}")
    if model.sampling.guidance != 1:
        said.append("guidance in one call")
    return "; ".join(said)


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""


def bytes_of(part: nn.Module) -> int:
    """Of its weights and buffers, each once."""
    return sum(tensor.nbytes for tensor in (*part.parameters(), *part.buffers()))


def in_words(size: int) -> str:
    """Bytes, as people read them."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"

"""Pictures that a sample is drawn from: files, pixels or latents, and what provenance says of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from perrin.errors import PerrinError
from perrin.kinds.images.framing import frame
from perrin.kinds.images.pixels import decode_file, with_channels


@dataclass(frozen=True)
class Given:
    """A picture.

    Attributes:
        value: uint8 [H, W] or [H, W, 3], or latents [C, h, w].
        about: what gives it again, JSON-able: its `file` and `hash`; `hash` alone of one that is in no file.
    """

    value: np.ndarray | Tensor
    about: dict[str, str]

    def size(self, factor: int) -> tuple[int, int]:
        """(height, width) in pixels, `factor` of them for each latent."""
        if isinstance(self.value, Tensor):
            return self.value.shape[-2] * factor, self.value.shape[-1] * factor
        return self.value.shape[0], self.value.shape[1]

    def pixels(self, size: tuple[int, int], what: str) -> Tensor:
        """float32 [3, H, W] in [0, 1], scaled and cropped to cover the size.

        Raises:
            PerrinError: latents.
        """
        if isinstance(self.value, Tensor):
            raise PerrinError(f"the {what} is needed as pixels, not as latents")
        found = frame(with_channels(self.value, 3), size)
        return torch.from_numpy(np.array(found)).movedim(-1, 0).float() / 255


def given(value: Any, what: str) -> Given:
    """One picture.

    Args:
        value: a file, pixels (uint8, or bool of a mask), a PIL image, latents, or what `Given.about` says.

    Raises:
        PerrinError: none of these, a file that cannot be read or that has changed since.
    """
    if isinstance(value, Mapping):
        return _again(value, what)
    if isinstance(value, str | Path):
        return _of_file(Path(value), what)
    if isinstance(value, Tensor):
        if value.dim() != 3 or not value.is_floating_point():
            raise PerrinError(
                f"the {what} as a tensor is latents [C, h, w], not {value.dtype} {tuple(value.shape)}"
            )
        return Given(value, {"hash": _hash(value.detach().cpu().float().numpy().tobytes())})
    pixels = np.asarray(value.convert("RGB") if isinstance(value, Image.Image) else value)
    pixels = pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise PerrinError(
            f"the {what} is a file or uint8 pixels [H, W, 3], not {pixels.dtype} {pixels.shape}"
        )
    return Given(pixels, {"hash": _hash(pixels.tobytes())})


def each(n: int, value: Any, what: str) -> list[Given]:
    """One for each of n samples; one alone is for all, and is read once.

    Raises:
        PerrinError: another number of them.
    """
    many = list(value) if isinstance(value, list | tuple) or getattr(value, "ndim", 0) == 4 else None
    if many is None:
        return [given(value, what)] * n
    if len(many) != n:
        raise PerrinError(f"{len(many)} {what}s for {n} samples; give one, or one each")
    return [given(one, what) for one in many]


def _of_file(path: Path, what: str) -> Given:
    try:
        content = path.read_bytes()
        return Given(decode_file(content), {"file": str(path), "hash": _hash(content)})
    except (OSError, PerrinError) as error:
        raise PerrinError(f"the {what} {path} cannot be read: {error}") from error


def _again(said: Mapping[str, str], what: str) -> Given:
    if "file" not in said:
        raise PerrinError(f"the {what} was given in Python and is in no file; draw the sample again there")
    found = _of_file(Path(said["file"]), what)
    if found.about["hash"] != said["hash"]:
        raise PerrinError(f"{said['file']} is no longer the {what} that the sample was drawn from")
    return found


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]

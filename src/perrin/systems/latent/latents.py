"""The kind of data `latents`: images as an autoencoder's latents, for training a latent network with `perrin train`.

dataset = Latents.open("photos/")
codec = Latents.codec.fit(dataset, autoencoder="dit/vae", size=256)

The autoencoder stays in its own folder; a model remembers where, and which weights it had. It works on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from perrin.contracts import Batch, Dataset, Item, Seen
from perrin.errors import PerrinError
from perrin.kinds.conditions import label_condition
from perrin.kinds.images import Images
from perrin.kinds.images.codec import ImageCodec
from perrin.kinds.labels import find_label
from perrin.kinds.spread import sigma_data
from perrin.saving import weights_hash
from perrin.systems.latent.codec import LatentCodec
from perrin.systems.latent.components import module_at
from perrin.systems.latent.families.assembled import of_autoencoder

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class AutoencoderCodec:
    """Codec of the kind `latents` (`contracts.Codec`): what goes in and comes out is uint8 images.

    Args:
        shape: (C, h, w) of a state. autoencoder: the folder of an AutoencoderKL; digest: 12 digits that name its weights.
        classes: class names; None for data without labels. sigma_data: standard deviation of the latents.
    """

    shape: tuple[int, int, int]
    autoencoder: str
    digest: str
    classes: list[str] | None = None
    sigma_data: float = 1.0

    kind: ClassVar[str] = "latents"
    lattice: ClassVar[None] = None
    categories: ClassVar[None] = None
    augments: ClassVar[bool] = False

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        *,
        autoencoder: str = "",
        size: int | tuple[int, int] = 256,
        labels: bool = True,
        classes: int = 0,
    ) -> Self:
        """The codec of an autoencoder, and the spread of the data's latents.

        Args:
            autoencoder: the folder of an AutoencoderKL, such as `vae` within a folder of Stable Diffusion.
            size: side of the images in pixels, or (height, width): larger ones are scaled and cropped.
            labels: False makes states without a condition.
            classes: so many, as a network has that is trained on: the data's are the first of them, and data without labels
                are of none. 0: the data's own.

        Raises:
            PerrinError: no autoencoder, a size that it does not divide into latents, or more classes than there are.
        """
        if not autoencoder:
            raise PerrinError("codec.autoencoder is missing: the folder of an AutoencoderKL, such as dit/vae")
        high, wide = (size, size) if isinstance(size, int) else size
        folder, names = Path(autoencoder), _names(dataset.classes if labels else None, classes)
        factor = of_autoencoder(module_at(folder, "AutoencoderKL", torch.float32), (1, 1)).factor
        if min(high, wide) < factor or high % factor or wide % factor:
            raise PerrinError(
                f"size = {size} must be multiples of {factor}, the autoencoder's pixels a latent"
            )
        codec = cls.of(folder, (high // factor, wide // factor), names)
        spread = sigma_data(lambda items: codec.encode(items).state, dataset)
        return cls(codec.shape, codec.autoencoder, codec.digest, names, spread)

    @classmethod
    def of(cls, folder: Path, size: tuple[int, int], classes: list[str] | None) -> Self:
        """The codec of an autoencoder for latents of this size (h, w)."""
        vae = module_at(folder, "AutoencoderKL", torch.float32)
        shape = of_autoencoder(vae, size).shape
        return cls(shape, str(folder.resolve()), weights_hash(vae.state_dict()), classes)

    @cached_property
    def pictures(self) -> LatentCodec:
        """Latents <-> pictures.

        Raises:
            PerrinError: the autoencoder is another one now.
        """
        folder = Path(self.autoencoder)
        vae = module_at(folder, "AutoencoderKL", torch.float32)
        found = weights_hash(vae.state_dict())
        if found != self.digest:
            raise PerrinError(
                f"{folder} holds the autoencoder {found}; this model was made with {self.digest}"
            )
        return of_autoencoder(vae, self.shape[1:])

    def encode(self, items: Sequence[Item], seeds: Sequence[int] | None = None) -> Batch:
        """uint8 images of any size to latents: the means of the autoencoder's posterior."""
        state = self.pictures.encode(items).state if items else torch.empty(0, *self.shape)
        return Batch(state, label_condition(items, self.classes))

    def decode(self, state: Tensor) -> list[np.ndarray]:
        """Latents to uint8 images [H, W, 3]."""
        return self.pictures.decode(state)

    def save(
        self, decoded: Sequence[np.ndarray], path: Path, provenance: Sequence[dict[str, Any]]
    ) -> list[Path]:
        """Write PNG files with their provenance inside."""
        return self.pictures.save(decoded, path, provenance)

    def picture(self, decoded: Sequence[np.ndarray], columns: int | None = None) -> Image | None:
        """A grid of all images; None for none."""
        return self.pictures.picture(decoded, columns)

    def save_trajectory(
        self, states: Sequence[Tensor], path: Path, provenance: Sequence[dict[str, Any]]
    ) -> Path:
        """Write states as an animated GIF."""
        return self.pictures.save_trajectory(states, path, provenance)

    def label(self, name: str | int) -> int:
        """The index of a class."""
        return find_label(self.classes, name)

    def shown(self, height: int | None = None, width: int | None = None) -> ImageCodec:
        """The codec of decoded pictures, which have one size.

        Raises:
            PerrinError: another size.
        """
        own = self.pictures.size
        if (height or own[0], width or own[1]) != own:
            raise PerrinError(
                f"pictures of {width or own[1]} x {height or own[0]} pixels; this model's are of {own[1]} x {own[0]}"
            )
        return self.pictures.shown()

    def seen(self, guidance: float | None, usual: float, **wanted: Any) -> Seen:
        """What is measured of samples by their pictures; see `decoding.seen`."""
        self.shown(wanted.get("height"), wanted.get("width"))
        return replace(self.pictures, classes=self.classes).seen(guidance, usual, **wanted)

    def log_det(self) -> float:
        """Refused: an autoencoder loses details, so that images have no density."""
        return self.pictures.log_det()

    def config(self) -> dict[str, Any]:
        """JSON-able; with the autoencoder's folder it is complete."""
        return {"kind": self.kind, **asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The codec that wrote this `config()`; the autoencoder is opened when it is needed.

        Raises:
            PerrinError: the autoencoder is gone.
        """
        folder = Path(config["autoencoder"])
        if not folder.is_dir():  # now, and not after an hour of drawing
            raise PerrinError(
                f"the autoencoder of this model was at {folder}, which is gone: put it back, or correct it in model.json"
            )
        own = {name: value for name, value in config.items() if name != "kind"}
        return cls(**{**own, "shape": tuple(config["shape"])})


def _names(own: list[str] | None, count: int) -> list[str] | None:
    """Names of `count` classes, of which the data's own are the first."""
    found = own or []
    if not count:
        return own
    if len(found) > count:
        raise PerrinError(f"the data have {len(found)} classes, and codec.classes = {count}")
    return [*found, *(f"class {i}" for i in range(len(found), count))]


class Latents:
    """Images as the latents of an autoencoder of your own (`codec: {autoencoder: FOLDER}`); out as PNG."""

    sources = Images.sources
    codec = AutoencoderCodec
    open = Images.open
    read_saved = Images.read_saved

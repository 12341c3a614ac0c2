r"""Images <-> latents of an autoencoder, and texts or classes as the condition of what is drawn.

    z = s (E(v) - b),    v = D(z / s + b),    v = pixels / 127.5 - 1

s and b are the autoencoder's scaling and shift, with which latents have about unit variance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from perrin.contracts import Batch, Dataset, Item, Outline
from perrin.errors import PerrinError
from perrin.kinds.animation import save_pictures
from perrin.kinds.images import gallery
from perrin.kinds.images.framing import frame
from perrin.kinds.images.pixels import with_channels
from perrin.kinds.labels import find_label
from perrin.process.state import Masks
from perrin.systems.latent import pictured
from perrin.systems.latent.given import Given
from perrin.systems.latent.parameters import parameters
from perrin.systems.latent.said import NEGATIVE, of_classes, of_texts
from perrin.systems.latent.text import TextEncoder

if TYPE_CHECKING:
    from PIL.Image import Image

Sizes = Callable[[int, int, int], dict[str, Tensor]]
"""(n, height, width) to the entries of a condition that tell a network the size of the picture."""


@dataclass(frozen=True)
class LatentCodec:
    """Codec of pretrained latent models (`contracts.Codec`, `contracts.Outlines`).

    Args:
        shape: (C, h, w) of latents of the model's own size. factor: pixels for each latent.
        vae: the autoencoder. scaling, shift: s and b.
        text: encodes prompts; None of models of classes or of nothing.
        sizes: see `Sizes`; None: the network is not told.
        empty_is_zero: whether the absence of a negative prompt is zeros, not the empty text (SDXL).
        multiple: what the sides of latents must be divisible by, since the network halves them.
        classes: class names of models of classes.
        inpaints: whether the network was trained to fill holes; controlled: whether a ControlNet stands beside it.
    """

    shape: tuple[int, int, int]
    factor: int
    vae: Any
    scaling: float
    shift: float = 0.0
    text: TextEncoder | None = None
    sizes: Sizes | None = None
    empty_is_zero: bool = False
    multiple: int = 1
    classes: list[str] | None = None
    name: str = ""
    inpaints: bool = False
    controlled: bool = False

    kind: ClassVar[str] = "images"
    sigma_data: ClassVar[float] = 1.0
    lattice: ClassVar[None] = None
    categories: ClassVar[None] = None
    augments: ClassVar[bool] = False
    processes: ClassVar[Mapping[str, dict[str, Any]]] = {}
    properties: ClassVar[Sequence[str]] = ()

    @classmethod
    def fit(cls, dataset: Dataset, *args: Any, **options: Any) -> Self:
        """Refused: an autoencoder is loaded, not fitted."""
        raise PerrinError("latent models are loaded with their autoencoder; training them is not offered yet")

    def outline(
        self,
        n: int,
        seed: int,
        first: int,
        *,
        prompt: str | Sequence[str] | None = None,
        negative: str | Sequence[str] | None = None,
        label: Any = None,
        height: int | None = None,
        width: int | None = None,
        image: Any = None,
        mask: Any = None,
        begin: bool | None = None,
        control: Any = None,
        control_scale: float | None = None,
    ) -> Outline:
        """What samples are to be.

        Args:
            prompt, negative: one for all, or one for each sample: what the pictures show, and what they do not.
            label: of models of classes.
            height, width: in pixels; by default those of the picture that is given, or else the model's own.
            image: a picture, or one for each sample (a file, uint8 pixels, latents [C, h, w]) to begin at, with noise.
            mask: of the image's size, light where it is to be filled; the rest is kept.
            begin: whether to begin at the image; by default where there is no mask.
            control: a picture for the ControlNet, or one for each sample; control_scale: how much it counts, 1 by default.

        Raises:
            PerrinError: a missing or an empty prompt, one too many, sizes that the model cannot draw, pictures that it has
                no use for.
        """
        pictures = pictured.read(self, n, image, mask, control, control_scale, begin)
        shape = self._shape(height, width, pictures.size)
        told = {"height": shape[1] * self.factor, "width": shape[2] * self.factor}
        if self.text is None:
            if prompt is not None or negative is not None:
                raise PerrinError(
                    "this model knows no texts; it takes " + ("label" if self.classes else "none")
                )
            condition, about = of_classes(self, n, first, label)
        else:
            if label is not None:
                raise PerrinError("this model knows texts, no classes: prompt=")
            condition, about = of_texts(self, n, prompt, negative)
            if self.sizes is not None:
                own = self.sizes(n, told["height"], told["width"])
                condition |= own | {NEGATIVE + name: value for name, value in own.items()}
        seen = pictured.told(self, pictures, shape)
        facts = [{**one, **two, **told} for one, two in zip(about, seen.about, strict=True)]
        return Outline(
            shape,
            Masks(),
            condition=condition | seen.condition,
            about=facts,
            steer=seen.steer,
            start=seen.start,
        )

    def _shape(
        self, height: int | None, width: int | None, picture: Given | None = None
    ) -> tuple[int, int, int]:
        step = self.factor * self.multiple
        sides = []
        size = (self.shape[1] * self.factor, self.shape[2] * self.factor)
        high, wide = size if picture is None else picture.size(self.factor)
        for name, asked, own in (("height", height, high), ("width", width, wide)):
            pixels = own if asked is None else asked
            if pixels < step or pixels % step:
                nearest = max(step, round(pixels / step) * step)
                raise PerrinError(f"{name} = {pixels} is not a multiple of {step}; the nearest is {nearest}")
            sides.append(pixels // self.factor)
        return self.shape[0], sides[0], sides[1]

    def null(self, condition: Mapping[str, Tensor] | None) -> dict[str, Tensor] | None:
        """The condition of the unguided branch: what stands under `negative/`, and label -1."""
        if condition is None:
            return None
        return {
            name: condition[NEGATIVE + name]
            if NEGATIVE + name in condition
            else torch.full_like(value, -1)
            if name == "label"
            else value
            for name, value in condition.items()
        }

    def encode(self, items: Sequence[Item], seeds: Sequence[int] | None = None) -> Batch:
        """uint8 images to latents: the means of the autoencoder's posterior, of the model's own size."""
        size = (self.shape[1] * self.factor, self.shape[2] * self.factor)
        pixels = [frame(with_channels(item["value"], 3), size) for item in items]
        values = torch.from_numpy(np.stack(pixels)).movedim(-1, 1).float() / 127.5 - 1
        return Batch(self.latents(values), None)

    @torch.no_grad()
    def latents(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] to latents [B, C, h, w], float32."""
        parameter = next(self.vae.parameters())
        found = [self.vae.encode(one[None].to(parameter)).latent_dist.mode() for one in images]
        return (torch.cat(found).float() - self.shift) * self.scaling

    @torch.no_grad()
    def images(self, state: Tensor) -> Tensor:
        """Latents [B, C, h, w] to images [B, 3, H, W] in [0, 1], float32, one at a time."""
        parameter = next(self.vae.parameters())
        z = (state / self.scaling + self.shift).to(parameter)
        found = torch.cat([self.vae.decode(one[None], return_dict=False)[0].float() for one in z])
        return (found / 2 + 0.5).clamp(0, 1)

    def decode(self, state: Tensor) -> list[np.ndarray]:
        """Latents to uint8 images [H, W, 3]."""
        if not bool(torch.isfinite(state).all()):
            raise PerrinError(
                "the latents hold NaN or infinity; half precision may be too little for this model"
            )
        pixels = (self.images(state) * 255).round().to(torch.uint8).movedim(1, -1)
        return list(pixels.contiguous().cpu().numpy())

    def save(
        self, decoded: Sequence[np.ndarray], path: Path, provenance: Sequence[dict[str, Any]]
    ) -> list[Path]:
        """Write PNG files with their provenance inside, and the `parameters` that other tools read."""
        return gallery.save_images(decoded, Path(path), provenance, self.classes, others=parameters)

    def picture(self, decoded: Sequence[np.ndarray], columns: int | None = None) -> Image | None:
        """A grid of all images; None for none."""
        return gallery.grid(decoded, columns) if len(decoded) else None

    def save_trajectory(
        self, states: Sequence[Tensor], path: Path, provenance: Sequence[dict[str, Any]]
    ) -> Path:
        """Write states as an animated GIF."""
        return save_pictures(self, states, path, provenance)

    def label(self, name: str | int) -> int:
        """The index of a class."""
        return find_label(self.classes, name)

    @property
    def affine(self) -> tuple[float, float]:
        """Refused: latents are not pixels on another scale."""
        raise PerrinError(
            "latents are no pixels; sample(image=, strength=, mask=) redraws pictures with a latent model"
        )

    def log_det(self) -> float:
        """Refused: an autoencoder loses details, so that images have no density."""
        raise PerrinError("a likelihood of images needs states that are the images; latents lose details")

    def config(self) -> dict[str, Any]:
        """What it is; not enough to rebuild it, which needs the folder."""
        return {"kind": self.kind, "name": self.name, "shape": list(self.shape), "factor": self.factor}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Refused: see `config`."""
        raise PerrinError("a latent model is loaded from its own folder")

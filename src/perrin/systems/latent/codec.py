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
from torch import Tensor, nn

from perrin.contracts import Batch, Dataset, Item, Outline, Seen
from perrin.errors import PerrinError
from perrin.kinds.animation import save_pictures
from perrin.kinds.images import gallery
from perrin.kinds.images.codec import ImageCodec
from perrin.kinds.images.framing import frame
from perrin.kinds.images.pixels import with_channels
from perrin.kinds.labels import find_label
from perrin.mixing import keys_of
from perrin.process.state import Masks
from perrin.systems.latent import decoding, pictured
from perrin.systems.latent.before import Before
from perrin.systems.latent.following import Followed, Follows, followed, hears
from perrin.systems.latent.given import Given
from perrin.systems.latent.parameters import parameters
from perrin.systems.latent.said import NEGATIVE, of_words
from perrin.systems.latent.scales import Distilled, of_scale
from perrin.systems.latent.shortage import enough_to_code
from perrin.systems.latent.text import TextEncoder

if TYPE_CHECKING:
    from PIL.Image import Image

Steer = Callable[[nn.Module], nn.Module]
Sizes = Callable[[int, int, int], dict[str, Tensor]]
"""(n, height, width) to the entries of a condition that tell a network the size of the picture, also under `negative/`."""


@dataclass(frozen=True)
class LatentCodec:
    """Codec of pretrained latent models (`contracts.Codec`, `contracts.Outlines`).

    Args:
        shape: (C, h, w) of latents of the model's own size. factor: pixels for each latent.
        vae: the autoencoder; None: states are pixels, v itself. scaling, shift: s and b.
        text: encodes prompts; None of models of classes or of nothing.
        sizes: see `Sizes`; None: the network is not told.
        empty_is_zero: whether the absence of a negative prompt is zeros, not the empty text (SDXL).
        multiple: what the sides of latents must be divisible by, since the network halves them.
        square: whether it draws squares alone.
        classes: class names of models of classes.
        wordless: whether a prompt may be left out, since a picture says what is to be drawn.
        inpaints: whether the network was trained to fill holes; controls: how many ControlNets stand beside it.
        distilled: of a network with guidance in its weights.
        follows: of a network that is told of a picture or of another model's samples; before: that model, if there is one.
        steer: what the model's own chain puts around the guided denoiser, such as a threshold.
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
    square: bool = False
    classes: list[str] | None = None
    name: str = ""
    wordless: bool = False
    inpaints: bool = False
    controls: int = 0
    distilled: Distilled | None = None
    follows: Follows | None = None
    before: Before | None = None
    steer: Steer | None = None

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
        seed: int | Sequence[int],
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
        control_scale: float | Sequence[float] | None = None,
        embedded_guidance: float | Sequence[float | None] | None = None,
        variation_of: Any = None,
        noise_level: int | None = None,
        before: Mapping[str, Any] | None = None,
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
                Of several ControlNets a list with one entry for each: a picture, or a list of one for each sample.
            embedded_guidance: the scale that is told to a network with guidance in its weights.
            variation_of: of models that draw variations: a picture, or one for each sample.
            noise_level: how much noise is put on what the network follows, a time of its own schedule.
            before: how the model that comes before is drawn from, such as `{"steps": 20, "guidance": 4}`; see
                `before.SETTINGS`.

        Raises:
            PerrinError: a missing or an empty prompt, one too many, sizes that the model cannot draw, pictures that it has
                no use for.
        """
        words = {"prompt": prompt, "negative": negative, "label": label}
        given = {"image": image, "variation_of": variation_of}
        first_of = None if self.follows is None else given.pop(self.follows.argument)
        words |= {"variation_of": given.get("variation_of")}
        keys = keys_of(n, seed, first)
        there = followed(self, keys, first_of, before, words, height, width)
        pictures = pictured.read(self, n, given.get("image"), mask, control, control_scale, begin)
        shape = self.shape_of(height, width, self._own_size(pictures.size, there))
        told = {"height": shape[1] * self.factor, "width": shape[2] * self.factor}
        others = hears(self.before.model.codec) if self.before is not None and first_of is None else ()
        condition, about = of_words(self, n, first, words, others)
        if self.sizes is not None and self.text is not None:
            own = self.sizes(n, told["height"], told["width"])
            condition |= {NEGATIVE + name: value for name, value in own.items() if NEGATIVE not in name} | own
        if self.follows is not None and there.source is not None:
            more, level = self.follows.told(there.source, shape, keys, noise_level)
            condition, told = condition | more, told | level
        elif noise_level is not None:
            raise PerrinError("noise_level is for models that enlarge or vary a picture")
        scale, scaled = of_scale(self.distilled, n, embedded_guidance)
        seen = pictured.told(self, pictures, shape)
        facts = [
            {**one, **two, **three, **four, **told}
            for one, two, three, four in zip(about, scaled, there.about, seen.about, strict=True)
        ]
        return Outline(
            shape,
            Masks(),
            condition=condition | scale | seen.condition,
            about=facts,
            steer=_one_in_another(self.steer, seen.steer),
            start=seen.start,
        )

    def _own_size(self, picture: Given | None, there: Followed) -> tuple[int, int]:
        """(height, width) in pixels where nothing else is asked for."""
        if picture is not None:
            return picture.size(self.factor)
        size = None if self.follows is None or there.source is None else self.follows.size(there.source)
        return size or self.size

    def shape_of(self, height: int | None, width: int | None, own: tuple[int, int]) -> tuple[int, int, int]:
        """(C, h, w) of latents of so many pixels, `own` where nothing is asked.

        Raises:
            PerrinError: sizes that the model cannot draw, with the nearest that it can.
        """
        step = self.factor * self.multiple
        sides = []
        for name, asked, usual in (("height", height, own[0]), ("width", width, own[1])):
            pixels = usual if asked is None else asked
            if pixels < step or pixels % step:
                nearest = max(step, round(pixels / step) * step)
                raise PerrinError(f"{name} = {pixels} is not a multiple of {step}; the nearest is {nearest}")
            sides.append(pixels // self.factor)
        if self.square and sides[0] != sides[1]:
            high, wide = (side * self.factor for side in sides)
            raise PerrinError(
                f"this model draws squares, and {wide} x {high} is none; give height and width alike"
            )
        return self.shape[0], sides[0], sides[1]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels of the model's own."""
        return self.shape[1] * self.factor, self.shape[2] * self.factor

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
            if not name.startswith(NEGATIVE)
        }

    def encode(self, items: Sequence[Item], seeds: Sequence[int] | None = None) -> Batch:
        """uint8 images to latents: the means of the autoencoder's posterior, of the model's own size."""
        pixels = [frame(with_channels(item["value"], 3), self.size) for item in items]
        values = torch.from_numpy(np.stack(pixels)).movedim(-1, 1).float() / 127.5 - 1
        return Batch(self.latents(values), None)

    @torch.no_grad()
    def latents(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] to latents [B, C, h, w], float32."""
        if self.vae is None:
            return images.float()
        parameter = next(self.vae.parameters())
        with enough_to_code(self, images.shape[2], images.shape[3], "encode"):
            found = [self.vae.encode(one[None].to(parameter)).latent_dist.mode() for one in images]
        return (torch.cat(found).float() - self.shift) * self.scaling

    @torch.no_grad()
    def images(self, state: Tensor) -> Tensor:
        """Latents [B, C, h, w] to images [B, 3, H, W] in [0, 1], float32, one at a time."""
        return (self.values(state).float() / 2 + 0.5).clamp(0, 1)

    def values(self, state: Tensor) -> Tensor:
        """v of latents, with its derivative where one is taken."""
        if self.vae is None:
            return state
        parameter = next(self.vae.parameters())
        z = (state / self.scaling + self.shift).to(parameter)
        with enough_to_code(self, z.shape[2] * self.factor, z.shape[3] * self.factor, "decode"):
            return torch.cat([self.vae.decode(one[None], return_dict=False)[0] for one in z])

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

    def shown(self, height: int | None = None, width: int | None = None) -> ImageCodec:
        """The codec of decoded pictures; see `decoding.pictures_of`."""
        return decoding.pictures_of(self, height, width)

    def seen(self, guidance: float | None, usual: float, **wanted: Any) -> Seen:
        """What is measured of samples by their pictures; see `decoding.seen`."""
        return decoding.seen(self, guidance, usual, wanted)

    def log_det(self) -> float:
        """Refused: an autoencoder loses details, so that images have no density; under prompts they have many."""
        if self.vae is None:
            raise PerrinError(
                "a likelihood under prompts is not offered; models of images without texts have one, such as a DDPMPipeline"
            )
        raise PerrinError(
            "a likelihood of images needs states that are the images, and latents lose details; models of pixels have one, "
            "such as a DDPMPipeline"
        )

    def config(self) -> dict[str, Any]:
        """What it is; not enough to rebuild it, which needs the folder."""
        return {"kind": self.kind, "name": self.name, "shape": list(self.shape), "factor": self.factor}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Refused: see `config`."""
        raise PerrinError("a latent model is loaded from its own folder")


def _one_in_another(inner: Steer | None, outer: Steer | None) -> Steer | None:
    """Both around a denoiser, what there is of them."""
    if inner is None or outer is None:
        return inner or outer
    return lambda denoiser: outer(inner(denoiser))

r"""Networks that follow the embedding of a picture, which a prior has drawn or an image encoder has seen.

Stable unCLIP's decoder is told how much noise the embedding has, so that samples may leave it more or less:

    e  <-  mean + std (sqrt(a_k) (e - mean) / std + sqrt(1 - a_k) z),     told: [e, cos(k w), sin(k w)]

with k the noise level, a_k of a schedule of its own, w_i = 10000^(-i / h), h half the embedding's width.
Ramesh et al. 2022, section 2; the noise is that of cascades (Ho et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.sample.noise import Key, normals, seed_of, seed_tensor
from perrin.samples import Samples
from perrin.systems.latent.following import Source
from perrin.systems.latent.said import NEGATIVE
from perrin.systems.latent.seeing import ImageEncoder

if TYPE_CHECKING:
    from perrin.systems.latent.codec import LatentCodec


@dataclass(frozen=True)
class Noising:
    """Noise on embeddings.

    Attributes:
        mean, std: of embeddings, float32 [width]. alphas_cumprod: a_k, [levels].
    """

    mean: Tensor
    std: Tensor
    alphas_cumprod: Sequence[float]

    def __call__(self, embedding: Tensor, keys: Sequence[Key], level: int) -> Tensor:
        """Embeddings [n, width] with noise that is a function of each key, and how much of it: [n, 2 width].

        Raises:
            PerrinError: a level that the schedule does not have.
        """
        count = len(self.alphas_cumprod)
        if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level < count:
            raise PerrinError(f"noise_level = {level!r} must be a whole number from 0 to {count - 1}")
        signal = self.alphas_cumprod[level]
        seeds = seed_tensor([seed_of(key, "embedding", "noise") for key in keys])
        noise = normals(seeds, embedding.shape[1:])
        kept = signal**0.5 * (embedding - self.mean) / self.std
        noised = self.mean + self.std * (kept + (1 - signal) ** 0.5 * noise)
        told = _waves(level, embedding.shape[1]).expand(len(embedding), -1)
        return torch.cat([noised, told], 1)


@dataclass(frozen=True)
class OfEmbedding:
    """How a network is told of an embedding (`following.Follows`).

    Attributes:
        entry: of the condition, "embedding" [n, width], or "prompt" [n, 1, width] where it takes a text's place.
        encoder: of pictures; None of models that draw embeddings alone. noising: None where none is put on them.
        nothing: the embedding [width] of the unguided branch; zeros where there is none.
    """

    entry: str
    encoder: ImageEncoder | None = None
    noising: Noising | None = None
    nothing: Tensor | None = None

    argument: ClassVar[str] = "variation_of"
    lacking: ClassVar[str] = "this model draws variations of a picture: give variation_of"

    def asked(self, height: int | None, width: int | None) -> dict[str, Any]:
        """Nothing: an embedding has no size."""
        return {}

    def size(self, source: Tensor) -> None:
        """None: it does not say how large a picture is."""

    def source(self, codec: LatentCodec, found: Source, height: int | None, width: int | None) -> Tensor:
        """Embeddings [n, width], float32."""
        if isinstance(found, Samples):
            return torch.from_numpy(np.stack(found.decoded)).float()
        if self.encoder is None:
            raise PerrinError(
                "this model draws the embedding of a picture from a prompt; it has no image encoder for variation_of"
            )
        return self.encoder(found)

    def told(
        self, source: Tensor, shape: tuple[int, int, int], keys: Sequence[Key], noise_level: int | None
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See `Follows.told`; the noise is that of level 0, the least, unless another one is asked for."""
        if self.noising is None:
            if noise_level is not None:
                raise PerrinError("this model's embeddings take no noise; it has no noise_level")
            value, about = source, dict[str, Any]()
        else:
            level = 0 if noise_level is None else noise_level
            value, about = self.noising(source, keys, level), {"noise_level": level}
        value = value[:, None] if self.entry == "prompt" else value
        none = torch.zeros_like(value) if self.nothing is None else self.nothing.to(value).expand_as(value)
        return {self.entry: value, NEGATIVE + self.entry: none}, about


def _waves(level: int, width: int) -> Tensor:
    """The level as cosines and sines [width]; a last odd place is 0."""
    half = width // 2
    angle = level * 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    return torch.nn.functional.pad(torch.cat([angle.cos(), angle.sin()]), (0, width % 2)).float()

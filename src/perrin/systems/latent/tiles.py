"""Encoding and decoding of large pictures tile by tile, so that the autoencoder's memory does not grow with them.

Tiles overlap by a quarter and are blended. A group norm sees its own tile alone, so that the picture differs a little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perrin.errors import PerrinError
from perrin.systems.latent.codec import LatentCodec
from perrin.systems.latent.sharing import copied

if TYPE_CHECKING:
    from perrin.systems.latent.folder_model import Pretrained


def tiled(model: Pretrained, pixels: int = 512) -> Pretrained:
    """The model whose pictures are decoded in tiles; see `Pretrained.tiled`."""
    if not isinstance(model.codec, LatentCodec) or model.codec.vae is None:
        raise PerrinError("tiles are for models with an autoencoder; this one draws pixels")
    step = 4 * model.codec.factor  # a quarter of a tile is whole latents
    if isinstance(pixels, bool) or not isinstance(pixels, int) or pixels < step or pixels % step:
        raise PerrinError(f"tiles = {pixels!r} pixels must be a multiple of {step}")
    if any("seamless" in change for change in model.about.get("changes", [])):
        raise PerrinError("a seamless picture cannot be decoded in tiles, which have borders")
    made = copied(model, {"tiled": pixels})
    assert isinstance(made.codec, LatentCodec)
    vae = made.codec.vae
    vae.enable_tiling()
    vae.tile_sample_min_size, vae.tile_latent_min_size = pixels, pixels // made.codec.factor
    return made

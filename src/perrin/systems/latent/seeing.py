"""Pictures as CLIP's vision transformer sees them (Radford et al. 2021): one embedding each.

The preprocessing is of the folder's `preprocessor_config.json`: the shorter side resized, the middle cut out, each colour
standardised, v = (pixels / 255 - mean) / std.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from perrin.errors import PerrinError
from perrin.kinds.images.pixels import with_channels
from perrin.systems.latent.given import Given


class ImageEncoder:
    """CLIP's vision transformer with its projection.

    Args:
        encoder: a CLIPVisionModelWithProjection. preprocessing: what its preprocessor_config.json says.
    """

    def __init__(self, encoder: Any, preprocessing: Mapping[str, Any]) -> None:
        self.encoder, self.preprocessing = encoder, dict(preprocessing)

    def modules_of(self) -> Sequence[nn.Module]:
        """The networks in it, which move between devices."""
        return [self.encoder]

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Given]) -> Tensor:
        """Embeddings [n, projection], float32; a picture that is there several times is seen once."""
        unique = list({id(one): one for one in pictures}.values())
        parameter = next(self.encoder.parameters())
        seen = [
            self.encoder(self._pixels(one)[None].to(parameter)).image_embeds.float().cpu() for one in unique
        ]
        rows = [next(i for i, other in enumerate(unique) if other is one) for one in pictures]
        return torch.cat(seen)[rows]

    def _pixels(self, picture: Given) -> Tensor:
        """float32 [3, H, W], standardised."""
        if isinstance(picture.value, Tensor):
            raise PerrinError(
                "variation_of is a picture of pixels; its latents say nothing to an image encoder"
            )
        made, told = Image.fromarray(with_channels(picture.value, 3)), self.preprocessing
        if told.get("do_resize", True):
            made = _resized(made, told.get("size", 224), Image.Resampling(told.get("resample", 3)))
        if told.get("do_center_crop", True):
            made = _middle(made, told.get("crop_size", 224))
        values = torch.from_numpy(np.array(made)).movedim(-1, 0).float()
        if told.get("do_rescale", True):
            values = values * float(told.get("rescale_factor", 1 / 255))
        if not told.get("do_normalize", True):
            return values
        mean, std = (torch.tensor(told[name])[:, None, None] for name in ("image_mean", "image_std"))
        return (values - mean) / std


def _resized(picture: Image.Image, size: Any, way: Image.Resampling) -> Image.Image:
    """The picture with its shorter side of `size` pixels, or of a height and a width."""
    edge = size.get("shortest_edge") if isinstance(size, Mapping) else size
    if edge is None:
        return picture.resize((int(size["width"]), int(size["height"])), way)
    width, height = picture.size
    short = min(width, height)
    return picture.resize((int(edge * width / short), int(edge * height / short)), way)


def _middle(picture: Image.Image, size: Any) -> Image.Image:
    """The middle of the picture; black where it is smaller."""
    high, wide = (int(size["height"]), int(size["width"])) if isinstance(size, Mapping) else (size, size)
    left, top = (picture.width - wide) // 2, (picture.height - high) // 2
    return picture.crop((left, top, left + wide, top + high))

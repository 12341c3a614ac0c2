"""One image file to pixels: uint8, `[H, W]` for grey or `[H, W, 3]` for colour.

Turned upright by its EXIF orientation, alpha composited on white, 16-bit grey scaled to 8 bits, palettes and
CMYK to RGB, the first frame of an animation. The whole image is decoded, so a cut file is found out.
"""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from perrin.errors import PerrinError


def decode_file(encoded: bytes) -> np.ndarray:
    """Pixels of an encoded image (PNG, JPEG, WebP, ...).

    Raises:
        PerrinError: with the reason alone ("zero bytes"); whoever knows the name adds it.
    """
    if not encoded:
        raise PerrinError("zero bytes")
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _pixels(image)
    except UnidentifiedImageError as error:
        raise PerrinError("not an image") from error
    except PerrinError:
        raise
    except (
        Exception
    ) as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error, ...
        raise PerrinError(str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def _pixels(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I;16"):
        return ((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8)
    if image.mode in ("I", "F"):
        number = "32-bit integer" if image.mode == "I" else "floating-point"
        raise PerrinError(f"{number} pixels, not 8- or 16-bit")
    if image.has_transparency_data:
        grey = image.mode in ("LA", "La", "L")
        return on_white(np.asarray(image.convert("LA" if grey else "RGBA")))
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return np.asarray(image)


def on_white(pixels: np.ndarray) -> np.ndarray:
    """Composite uint8 `[..., H, W, 2 or 4]` (alpha last) on white: `[..., H, W]` or `[..., H, W, 3]`."""
    colour, alpha = pixels[..., :-1].astype(np.uint32), pixels[..., -1:].astype(np.uint32)
    mixed = ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return mixed[..., 0] if mixed.shape[-1] == 1 else mixed


def channels_of(pixels: np.ndarray) -> int:
    """1 for `[H, W]`, 3 for `[H, W, 3]`."""
    return 1 if pixels.ndim == 2 else int(pixels.shape[-1])


def with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Grey to colour by repetition, colour to grey by luma (ITU-R BT.601); `[H, W]` or `[H, W, 3]`."""
    if channels_of(pixels) == channels:
        return pixels
    mode: Literal["L", "RGB"] = "L" if channels == 1 else "RGB"
    return np.asarray(Image.fromarray(pixels).convert(mode))

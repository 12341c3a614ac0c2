"""Images: a folder, parquet or `.npz` files, or the bundled digits, to states in [-1, 1] and back to PNG.

dataset = Images.open("photos/", broken="skip")
codec = Images.codec.fit(dataset, size=64)
batch = codec.encode([dataset[0], dataset[1]])        # state [2, 3, 64, 64]
"""

from __future__ import annotations

from perrin.kinds.animation import save_animation
from perrin.kinds.images.codec import ImageCodec
from perrin.kinds.images.gallery import read_png
from perrin.kinds.images.opening import open_images
from perrin.kinds.provenance import read_provenance

__all__ = ["ImageCodec", "Images", "open_images", "read_provenance", "save_animation"]


class Images:
    """Images of any size: a folder (sub-folders as classes, or metadata.jsonl), parquet, npz; out as PNG."""

    sources = ("path",)
    codec = ImageCodec
    open = staticmethod(open_images)
    read_saved = staticmethod(read_png)

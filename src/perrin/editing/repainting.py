"""Pictures edited by a model: the file, its mask, and edits of the picture's own size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from perrin.editing.masks import read_hole, sizes
from perrin.editing.pasting import check_inside
from perrin.editing.picture import open_picture
from perrin.errors import PerrinError
from perrin.kinds.images.codec import ImageCodec
from perrin.kinds.images.framing import window
from perrin.kinds.images.gallery import grid, save_images, save_png
from perrin.kinds.images.pasting import pasted, whole_pixels
from perrin.kinds.images.pixels import decode_file, with_channels
from perrin.model import Model
from perrin.samples import Samples
from perrin.systems.latent.codec import LatentCodec
from perrin.systems.latent.lora import file_hash
from perrin.systems.latent.parameters import parameters

OF_FOLDERS = ("prompt", "negative", "true_guidance", "height", "width")
"""What pretrained latent models are told, and others are not."""
TINT = np.array([255, 80, 60])


@dataclass(frozen=True, eq=False)
class Edited:
    """What came of a picture.

    Attributes:
        pictures: uint8 [H, W] or [H, W, 3]: with a mask of the original's size, else of the model's.
        original: as it was read. hole: bool [H, W], what was repainted; None: all.
        samples: in the model's own coordinates and size.
    """

    pictures: list[np.ndarray]
    original: np.ndarray
    hole: np.ndarray | None
    samples: Samples
    notes: list[str]

    @property
    def change_outside(self) -> int | None:
        """The largest change of a pixel outside the mask, of 255; None without a mask."""
        if self.hole is None:
            return None
        apart = [np.abs(one.astype(int) - self.original)[~self.hole] for one in self.pictures]
        return int(np.max(apart))

    def save(self, path: str | Path) -> list[Path]:
        """Write a `.png` (of one edit), or a folder of them with `overview.png`."""
        path = Path(path)
        made = [{**one, **self._outside()} for one in self.samples.provenance]
        if path.suffix.lower() == ".png" and len(self.pictures) > 1:
            raise PerrinError(
                f"{len(self.pictures)} edits do not fit into '{path}'; give a folder, or --samples 1"
            )
        files = save_images(self.pictures, path, made, self.samples.codec.classes, False, parameters)
        if path.suffix.lower() == ".png":
            return files
        return [*files, save_png(self.overview(), path / "overview.png", {"made_by": "edit", "items": made})]

    def overview(self) -> Image.Image:
        """The original, what is to be repainted of it, and the edits, of one size."""
        size = self.original.shape[:2]
        original = with_channels(self.original, 3)
        shown = [original]
        if self.hole is not None:
            tinted = original.copy()
            tinted[self.hole] = (tinted[self.hole] * 0.4 + TINT * 0.6).astype(np.uint8)
            shown.append(tinted)
        edits = [with_channels(one, 3) for one in self.pictures]
        if edits[0].shape[:2] != size:
            high, wide = edits[0].shape[:2]
            shown = [
                np.asarray(Image.fromarray(one).resize((wide, high), Image.Resampling.BICUBIC))
                for one in shown
            ]
        return grid([*shown, *edits], columns=min(len(shown) + len(edits), 6))

    def _outside(self) -> dict[str, Any]:
        return {} if self.hole is None else {"largest_change_outside_the_mask": self.change_outside}


def edit_file(
    model: Model,
    file: str | Path,
    mask: str | Path | None,
    *,
    strength: float | None,
    progress: Callable[[int, int], None] | None,
    **options: Any,
) -> Edited:
    """See `perrin.edit`."""
    codec, edited = model.codec, _of_pixels
    if isinstance(codec, LatentCodec):
        edited = _of_latents
    elif not isinstance(codec, ImageCodec):
        raise PerrinError(
            f"perrin edit is for pictures, and this is a model of {codec.kind}; see Model.edit for others"
        )
    if not Path(file).is_file():
        raise PerrinError(f"no picture '{file}'")
    if mask is None and strength is None:
        raise PerrinError(
            "say what to change: --mask (white is repainted), or --strength to change the whole picture"
        )
    asked = {"strength": strength, **{name: value for name, value in options.items() if value is not None}}
    found = edited(model, Path(file), None if mask is None else Path(mask), {**asked, "progress": progress})
    again = {"edit": asked, "image": named(Path(file))} | (
        {} if mask is None else {"mask": named(Path(mask))}
    )
    for one in found.samples.provenance:
        one |= {"folder": None if model.folder is None else str(model.folder), **again}
    return found


def named(file: Path) -> dict[str, str]:
    """What provenance says of a file: where it is, and what it holds."""
    return {"file": str(file), "hash": file_hash(file)}


def _of_pixels(model: Model, file: Path, mask: Path | None, asked: dict[str, Any]) -> Edited:
    """Of Perrin's own models, which see the middle of the picture as they saw those that they were trained on."""
    codec = model.codec
    assert isinstance(codec, ImageCodec)
    for name in OF_FOLDERS:
        if name in asked:
            raise PerrinError(
                f"--{name.replace('_', '-')} is for pretrained folders in the layout of diffusers"
            )
    form = open_picture(file, codec)
    size, hole = codec.shape[1:], None
    if mask is not None:
        hole = read_hole(mask, form.size, form.where)
        check_inside(hole, size, form.where)
    within = None if hole is None else form.filled(hole)
    state = codec.encode([{"value": form.pixels, "label": None, "name": form.where}]).state[
        0
    ]  # framed as data are
    samples = model.edit(state, mask=within, **asked)
    pictures = samples.decoded
    if hole is not None:
        pictures = [pasted(form.pixels, one, hole) for one in pictures]
    left, top, right, bottom = whole_pixels(window((form.size[0], form.size[1]), size))
    notes = _notes(form.where, form.size, (bottom - top, right - left), size, hole)
    return Edited(pictures, form.pixels, hole, samples, notes)


def _of_latents(model: Model, file: Path, mask: Path | None, asked: dict[str, Any]) -> Edited:
    """Of models that draw pictures of any size; see `systems.latent.viewing` for what they see of this one."""
    try:
        photo = decode_file(file.read_bytes())
    except (PerrinError, OSError) as error:
        raise PerrinError(f"cannot read '{file.name}' as a picture: {error}") from error
    hole = None if mask is None else read_hole(mask, photo.shape[:2], file.name)
    samples = model.edit(photo, mask=hole, **asked)
    wanted, box = samples.provenance[0]["wanted"], samples.provenance[0]["view"]
    drawn, seen = (wanted["height"], wanted["width"]), (box[3] - box[1], box[2] - box[0])
    notes = _notes(file.name, photo.shape[:2], seen, drawn, hole)
    return Edited(samples.decoded, photo, hole, samples, notes)


def _notes(
    where: str, photo: tuple[int, ...], seen: tuple[int, ...], drawn: tuple[int, ...], hole: np.ndarray | None
) -> list[str]:
    """What is to be known of the sizes (H, W) of a photo, of what is seen of it, and of what is drawn."""
    if hole is None:
        one = f"'{where}' is {sizes(photo)} pixels; its edits have the model's {sizes(drawn)}"
        return [] if photo == drawn else [one]
    if seen[0] <= 2 * drawn[0]:
        return []
    return [
        f"'{where}' is {sizes(photo)} pixels and the model draws {sizes(seen)} of them as {sizes(drawn)}: what is "
        "repainted is as coarse as that"
    ]

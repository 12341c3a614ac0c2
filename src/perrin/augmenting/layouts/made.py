"""What a layout is given to write: values in the user's format, their classes, and how each was made."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from perrin.errors import PerrinError
from perrin.kinds.images.pixels import channels_of, with_channels
from perrin.kinds.provenance import png_text
from perrin.saving import cannot_write


@dataclass(frozen=True)
class Made:
    """Synthetic items.

    Attributes:
        values: uint8 pictures [H, W] or [H, W, 3], or arrays of one shape.
        labels: index into `classes`, one each; None for data without labels.
        classes: of the data; provenance: how each item was made.
    """

    values: Sequence[np.ndarray]
    labels: Sequence[int] | None
    classes: Sequence[str] | None
    provenance: Sequence[Mapping[str, Any]]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def names(self) -> list[str] | None:
        """The class of each, by name."""
        if self.labels is None or self.classes is None:
            return None
        return [self.classes[label] for label in self.labels]


class Layout(Protocol):
    """A form that data lie in. `suffix`: of the file that is written, "" for a folder; `form`: its name in messages."""

    @property
    def suffix(self) -> str: ...
    @property
    def form(self) -> str: ...
    def write(self, target: Path, made: Made, with_real: bool) -> list[Path]:
        """Write the items, after the real ones where these are wanted; the files that the items themselves are in."""
        ...


@contextmanager
def filling(target: Path) -> Iterator[Path]:
    """A temporary folder to fill; it becomes `target` when the block ends well and is removed otherwise.

    Raises:
        PerrinError: for any OSError, naming the folder.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        yield part
        os.replace(part, target)  # over an empty folder, or where nothing is
    except OSError as error:
        raise PerrinError(cannot_write(target, error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def png_bytes(value: np.ndarray, provenance: Mapping[str, Any]) -> bytes:
    """A picture as the bytes of a PNG file that says how it was made."""
    held = io.BytesIO()
    Image.fromarray(value).save(held, format="PNG", pnginfo=png_text(provenance))
    return held.getvalue()


def alike(value: np.ndarray, size: tuple[int, int], channels: int) -> np.ndarray:
    """A picture [H, W] or [H, W, 3] brought to (height, width) by bicubic interpolation, and to 1 or 3 channels."""
    if value.shape[:2] != size:
        value = np.asarray(Image.fromarray(value).resize((size[1], size[0]), Image.Resampling.BICUBIC))
    return value if channels_of(value) == channels else with_channels(value, channels)

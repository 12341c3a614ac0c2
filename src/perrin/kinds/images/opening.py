"""A path to a dataset of images, whatever form the images have there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.images.folder import SUFFIXES, FolderFiles, read_folder
from perrin.kinds.images.parquet import ParquetImages, read_parquet
from perrin.kinds.images.pixels import channels_of, decode_file
from perrin.kinds.images.stacks import ImageStack, read_digits, read_npz
from perrin.kinds.images.survey import Broken, Progress, survey
from perrin.kinds.selection import Selection

DIGITS = {
    "name": "Optical Recognition of Handwritten Digits (UCI, bundled with scikit-learn)",
    "licence": "CC BY 4.0",
}


@dataclass(frozen=True)
class ImageFiles:
    """Encoded images as a source: decoded when they are read."""

    encoded: FolderFiles | ParquetImages

    @property
    def labels(self) -> np.ndarray | None:
        """int64 [n], -1 without a label; None: no labels."""
        return self.encoded.labels

    @property
    def classes(self) -> list[str] | None:
        """Class names, index = label."""
        return self.encoded.classes

    def __len__(self) -> int:
        return len(self.encoded)

    def name(self, index: int) -> str:
        """The file's path below the folder, or its row."""
        return self.encoded.name(index)

    def read(self, index: int) -> np.ndarray:
        """Pixels, uint8 `[H, W]` or `[H, W, 3]`."""
        try:
            return decode_file(self.encoded.encoded(index))
        except (PerrinError, OSError) as error:  # it was readable when the folder was opened
            raise PerrinError(f"cannot read image '{self.name(index)}': {error}") from error


@dataclass(frozen=True)
class ImageSelection(Selection):
    """A dataset of images. `all_shapes`: int32 [n, 3], height, width, channels of the source's images."""

    all_shapes: np.ndarray

    @property
    def shapes(self) -> np.ndarray:
        """int32 [n, 3]: height, width and channels of each item, known without reading it again."""
        return self.all_shapes[self.indices]


def open_images(
    path: str | Path = "digits",
    *,
    broken: Broken = "refuse",
    subset: str | None = None,
    labels: bool = True,
    image_column: str = "image",
    label_column: str | None = None,
    progress: Progress | None = None,
) -> ImageSelection:
    """Open images by their path; every image file is decoded once to see that it is whole.

    Args:
        path: a folder (sub-folders are classes, or `metadata.jsonl`), a parquet file or a folder of them, an
            `.npz` file, or "digits", the bundled scikit-learn digits (a folder of that name is "./digits").
        broken: what to do about corrupt, cut or empty image files: "refuse" lists them, "skip" leaves them
            out and lists them in `skipped`.
        subset: "train" or "test" of an `.npz` file with both, or a value of the column `split` of parquet.
        labels: False ignores all labels and the meaning of sub-folders.
        image_column, label_column: columns of parquet files.
        progress: called with (images checked, images in all).

    Raises:
        PerrinError: nothing there, nothing readable, broken images, labels that make no sense.
    """
    # a folder of that name must not take the place of the bundled digits: it is './digits'
    if path == "digits" or (str(path) == "digits" and not Path(path).exists()):
        if subset is not None:
            raise PerrinError(f"subset {subset!r} does not apply to the bundled digits, which are one set")
        return _of_stack(read_digits(labels), Path(path), None, DIGITS)
    path = Path(path)
    if not path.exists():
        raise PerrinError(
            f"no file or folder '{path}'; write a path to images, or 'digits' for the bundled ones"
        )
    if path.suffix.lower() == ".npz":
        return _of_stack(read_npz(path, subset, labels), path, subset, {})
    if path.suffix.lower() == ".parquet" or (path.is_dir() and any(path.glob("*.parquet"))):
        rows = read_parquet(path, image_column, label_column, subset, labels)
        return _of_files(rows, path, subset, broken, progress)
    _check_folder(path, subset)
    return _of_files(read_folder(path, labels), path, subset, broken, progress)


def _check_folder(path: Path, subset: str | None) -> None:
    if not path.is_dir():
        one = path.suffix.lower() in SUFFIXES
        what = "one image; give its folder" if one else "not a kind of file with images in it"
        raise PerrinError(f"'{path}' is {what} (a folder, .parquet, .npz, or 'digits')")
    if subset is not None:
        raise PerrinError(f"subset {subset!r} does not apply to a folder; give '{path / subset}' as the path")


def _of_stack(source: ImageStack, path: Path, subset: str | None, facts: dict[str, str]) -> ImageSelection:
    first = source.read(0)
    shape = np.array([*first.shape[:2], channels_of(first)], np.int32)
    described = {"kind": "images", "path": str(path), "subset": subset, "sha256": source.sha256, **facts}
    everything = np.arange(len(source))
    return ImageSelection(source, everything, described, [], np.broadcast_to(shape, (len(source), 3)))


def _of_files(
    encoded: FolderFiles | ParquetImages,
    path: Path,
    subset: str | None,
    broken: Broken,
    progress: Progress | None,
) -> ImageSelection:
    found = survey(encoded, progress)
    indices, skipped = found.readable(encoded.name, broken, str(path))
    labels = b"" if encoded.labels is None else encoded.labels.tobytes()
    content = hashlib.sha256(f"{found.sha256}{encoded.classes}".encode() + labels).hexdigest()
    described = {
        "kind": "images",
        "path": str(path),
        "subset": subset,
        "sha256": content,
        "unused_files": encoded.unused,
    }
    return ImageSelection(ImageFiles(encoded), indices, described, skipped, found.shapes)

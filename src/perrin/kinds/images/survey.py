"""Every image is decoded once before it is used: which are broken, how large the others are, their hash.

This is what lets a training run of hours promise that no file will fail in its middle, and gives the dataset
a hash of its content rather than of its file times. It runs in threads (decoders release the GIL) and is
remembered in the cache for large sets of files that have not changed since.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds import files
from perrin.kinds.images.pixels import channels_of, decode_file
from perrin.saving import cache_folder, replacing

Broken = Literal["refuse", "skip"]
Progress = Callable[[int, int], None]

REMEMBERED = 2_000  # fewer images than this are decoded again in the time it takes to look them up
_BLOCK, _TASK = 1_024, 32


class Encoded(Protocol):
    """Image files by index, and the files of the file system that they come from."""

    @property
    def files(self) -> Sequence[Path]: ...
    def __len__(self) -> int: ...
    def name(self, index: int) -> str: ...
    def encoded(self, index: int) -> bytes: ...


@dataclass(frozen=True)
class Survey:
    """`shapes` int32 [n, 3]: height, width, channels, zeros where broken; `reasons` for those; `sha256`."""

    shapes: np.ndarray
    reasons: dict[int, str]
    sha256: str

    def readable(
        self, name: Callable[[int], str], broken: Broken, where: str
    ) -> tuple[np.ndarray, list[str]]:
        """(indices of the readable images, names of the others).

        Raises:
            PerrinError: some are broken and `broken="refuse"`, or none is readable.
        """
        if broken not in ("refuse", "skip"):
            raise PerrinError(f"broken: {broken!r} is not known; write 'refuse' or 'skip'")
        listed = [f"{name(i)} ({reason})" for i, reason in self.reasons.items()]
        total = len(self.shapes)
        if len(listed) == total:
            raise PerrinError(f"none of the {total:,} images of '{where}' can be read: {files.few(listed)}")
        if listed and broken == "refuse":
            raise PerrinError(
                f"{len(listed):,} of {total:,} images of '{where}' are broken: {files.few(listed)}; "
                "repair them, or leave them out with broken: skip"
            )
        return np.flatnonzero(self.shapes[:, 0]), [name(i) for i in self.reasons]


def survey(source: Encoded, progress: Progress | None = None) -> Survey:
    """Decode every image of a source, or recall that it was done; `progress(done, total)` as it goes."""
    if len(source) < REMEMBERED:
        return _look(source, progress)
    memory = cache_folder("surveys", files.fingerprint(source.files, "survey 1", len(source)) + ".npz")
    if memory.exists():
        return _recall(memory)
    found = _look(source, progress)
    with replacing(memory) as part, part.open("wb") as out:
        np.savez(
            out, shapes=found.shapes, rest=np.array(json.dumps([list(found.reasons.items()), found.sha256]))
        )
    return found


def _recall(memory: Path) -> Survey:
    with np.load(memory, allow_pickle=False) as held:
        reasons, sha256 = json.loads(str(held["rest"]))
        return Survey(held["shapes"], {int(i): reason for i, reason in reasons}, sha256)


def _look(source: Encoded, progress: Progress | None) -> Survey:
    shapes = np.zeros((len(source), 3), np.int32)
    reasons: dict[int, str] = {}
    digest = hashlib.sha256()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd EXIF data, palettes: what matters is in `reasons`
        for index, (shape, reason, inside) in enumerate(_findings(source)):
            shapes[index] = shape
            if reason is not None:
                reasons[index] = reason
            digest.update(f"{source.name(index)}\0".encode() + inside)
            if progress is not None and (index % _BLOCK == _BLOCK - 1 or index == len(source) - 1):
                progress(index + 1, len(source))
    return Survey(shapes, reasons, digest.hexdigest())


_Finding = tuple[tuple[int, int, int], str | None, bytes]  # shape, reason if broken, hash of the file


def _findings(source: Encoded) -> Iterator[_Finding]:
    def some(start: int) -> list[_Finding]:
        return [_finding(source, index) for index in range(start, min(start + _TASK, len(source)))]

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(source), _BLOCK):  # the futures of a million images would fill the memory
            for found in threads.map(some, range(start, min(start + _BLOCK, len(source)), _TASK)):
                yield from found


def _finding(source: Encoded, index: int) -> _Finding:
    inside = b""
    try:
        encoded = source.encoded(index)
        inside = hashlib.sha256(encoded).digest()
        pixels = decode_file(encoded)
    except (PerrinError, OSError) as error:
        return (0, 0, 0), str(error), inside
    return (pixels.shape[0], pixels.shape[1], channels_of(pixels)), None, inside

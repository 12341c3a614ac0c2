"""The bytes of a file, unpacked where it ends in `.gz`, and the lines of a text."""

from __future__ import annotations

import gzip
import mmap
import zlib
from pathlib import Path

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds import files
from perrin.kinds.text.documents import mapped
from perrin.saving import cache_folder, replacing

_PIECE = 1 << 20


def content(path: Path) -> bytes | mmap.mmap:
    """A file's bytes, memory-mapped; what a large `.gz` holds is kept in the cache.

    Raises:
        PerrinError: no such file, an empty one, or one that is cut short.
    """
    if path.suffix.lower() != ".gz":
        return mapped(path)
    try:
        with gzip.open(path, "rb") as file:
            begun = file.read(files.MEMORY_LIMIT + 1)
            if len(begun) <= files.MEMORY_LIMIT:
                if not begun:
                    raise PerrinError(f"'{path}' is empty")
                return begun
            kept = cache_folder("molecules", files.fingerprint([path]) + ".unpacked")
            if not kept.exists():
                with replacing(kept) as part, part.open("wb") as out:
                    out.write(begun)
                    while piece := file.read(_PIECE):
                        out.write(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise PerrinError(f"cannot read '{path}': {error}") from error
    return mapped(kept)


def line_starts(data: bytes | mmap.mmap) -> np.ndarray:
    """Where each line begins, and where the last one ends, int64 [lines + 1]; a last line break begins none."""
    breaks = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    starts = np.r_[0, breaks + 1]
    return starts if starts[-1] == len(data) else np.r_[starts, len(data)]


def inner_suffix(path: Path) -> str:
    """The suffix that says what a file holds: `.sdf` of `a.sdf.gz`."""
    plain = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return plain.suffix.lower()


def as_number(value: str | float) -> float | None:
    """A number, NaN for a blank; None for anything else."""
    try:
        return float(value) if not isinstance(value, str) or value.strip() else float("nan")
    except (ValueError, TypeError):
        return None

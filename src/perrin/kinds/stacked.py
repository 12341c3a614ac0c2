"""Arrays in `.npy` and `.npz` files: memory-mapped when large, never unpickled.

A `.npy` file is mapped as it is. A member of an `.npz` archive is held in memory up to `MEMORY_LIMIT`; a
larger one is unpacked once into the cache and mapped from there.
"""

from __future__ import annotations

import hashlib
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds import files
from perrin.saving import cache_folder, replacing


def npz_keys(path: Path) -> list[str]:
    """Names of the arrays in an `.npz` file."""
    with _readable(path), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def open_npy(path: Path) -> np.ndarray:
    """The array of an `.npy` file, memory-mapped and read-only."""
    with _readable(path):
        return np.load(path, mmap_mode="r", allow_pickle=False)


def open_npz(path: Path, key: str) -> np.ndarray:
    """One array of an `.npz` file, read-only."""
    with _readable(path), zipfile.ZipFile(path) as archive:
        if archive.getinfo(f"{key}.npy").file_size <= files.MEMORY_LIMIT:
            with archive.open(f"{key}.npy") as member:
                array: np.ndarray = np.lib.format.read_array(member, allow_pickle=False)
            array.flags.writeable = False
            return array
    unpacked = cache_folder("npz", files.fingerprint([path], key) + ".npy")
    if not unpacked.exists():
        with (
            _readable(path),
            replacing(unpacked) as part,
            zipfile.ZipFile(path) as archive,
            archive.open(f"{key}.npy") as member,
            part.open("wb") as out,
        ):
            shutil.copyfileobj(member, out, 1 << 20)
    return open_npy(unpacked)


def digest(*arrays: np.ndarray | None) -> str:
    """sha256 of the arrays' shapes, types and values, read block by block."""
    state = hashlib.sha256()
    for array in arrays:
        if array is None:
            continue
        state.update(f"{array.shape}{array.dtype.str}".encode())
        for block in blocks(array):
            state.update(np.ascontiguousarray(block).tobytes())
    return state.hexdigest()


def blocks(array: np.ndarray, size: int = 1 << 24) -> Iterator[np.ndarray]:
    """Consecutive runs of rows of about `size` bytes each."""
    rows = max(1, size // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except PerrinError:
        raise
    except FileNotFoundError as error:
        raise PerrinError(f"no file '{path}'") from error
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "pickle" in reason.lower() or "Python objects" in reason:  # NumPy says either
            reason = "it holds Python objects (a pickle), which are never loaded; save plain numbers"
        raise PerrinError(f"cannot read '{path}': {reason}") from error

"""Files that are whole or absent, and the cache of what is costly to compute twice.

A file is written under a temporary name beside its own and renamed when complete, so that a full disk or a
kill leaves the old file or none, never half of one.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from perrin.errors import PerrinError

# What is smaller is simply held in memory; what is larger is memory-mapped, through the cache if need be.
MEMORY_LIMIT = 1 << 28


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary neighbour to write to; it becomes `path` when the block ends well and is removed otherwise.

    Raises:
        PerrinError: for any OSError (a full disk, a folder that cannot be written), naming the file.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise PerrinError(f"cannot write '{path}': {error.strerror or error}") from error
    finally:
        _remove(part)


def _remove(part: Path) -> None:
    with suppress(OSError):  # its folder is not one, or has gone: nothing was written
        part.unlink(missing_ok=True)


def cache_folder(*parts: str) -> Path:
    """Where derived files are: `$PERRIN_CACHE`, else `$XDG_CACHE_HOME/perrin`, else `~/.cache/perrin`."""
    own = os.environ.get("PERRIN_CACHE")
    base = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perrin"
    return base.joinpath(*parts)


def fingerprint(files: Iterable[Path], *facts: object) -> str:
    """Key of a cache entry: sha256 of the files' names, sizes and times of change, and of `facts`."""
    digest = hashlib.sha256(repr(facts).encode())
    for file in files:
        stat = file.stat()
        digest.update(f"{file.absolute()}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def few(names: Iterable[str], count: int = 5) -> str:
    """The first few names for a message, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - count:,} more" if len(listed) > count else ""
    return ", ".join(listed[:count]) + more

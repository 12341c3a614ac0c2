"""Names of files in messages, and keys of what is cached because it is costly to compute twice."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

# What is smaller is simply held in memory; what is larger is memory-mapped, through the cache if need be.
MEMORY_LIMIT = 1 << 28


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


def numbers(provenance: Sequence[Mapping[str, Any]]) -> list[int]:
    """What the files of items are numbered by: their index, or their place where several have one, as of many seeds."""
    found = [int(made.get("index", place)) for place, made in enumerate(provenance)]
    return found if len(set(found)) == len(found) else list(range(len(found)))


def item_file(index: int, name: str | None, suffix: str) -> str:
    """The file of one item of a folder: `00012_name.png`, without the characters that some file system refuses."""
    tail = "" if name is None else "_" + re.sub(r"[^\w.+-]+", "-", name).strip("-.")
    return f"{int(index):05d}{tail}{suffix}"

"""Work on many samples, as many at a time as memory holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from perrin.errors import NotEnoughMemory
from perrin.sample.device import out_of_memory

Found = TypeVar("Found")


def in_chunks(n: int, size: int, work: Callable[[slice], Found], of: int = 1) -> list[Found]:
    """What `work` makes of 0 .. n - 1, chunk after chunk; where memory runs out chunks are halved.

    Args:
        size: of the first chunk. of: chunks are multiples of it, as particles of one sample stay together.

    Raises:
        NotEnoughMemory: not even for one.
    """
    found, start = list[Found](), 0
    while start < n:
        rows = slice(start, min(start + size, n))
        try:
            found.append(work(rows))
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if rows.stop - start <= of:
                what = "a single sample" if of == 1 else f"{of} particles"
                raise NotEnoughMemory(f"there is not enough memory for {what} of this model") from error
            size = max(of, (rows.stop - start) // 2 // of * of)
            continue
        start = rows.stop
    return found

"""Arrays: `.npy`, `.npz` and `.csv` files of items of any shape, standardised to states and back.

dataset = Arrays.open("points.csv")
codec = Arrays.codec.fit(dataset)
batch = codec.encode([dataset[0], dataset[1]])        # state [2, D]
"""

from __future__ import annotations

from perrin.kinds.arrays.codec import ArrayCodec
from perrin.kinds.arrays.opening import open_arrays
from perrin.kinds.arrays.saving import read_saved
from perrin.kinds.provenance import read_provenance

__all__ = ["ArrayCodec", "Arrays", "open_arrays", "read_provenance"]


class Arrays:
    """Arrays of any shape, 2-D points included: npy, npz, csv; out in the same formats."""

    sources = ("path", "toy")
    codec = ArrayCodec
    open = staticmethod(open_arrays)
    read_saved = staticmethod(read_saved)

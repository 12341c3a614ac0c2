"""Plain arrays on their way out, with how they were made beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from perrin.kinds.provenance import write_sidecar
from perrin.saving import replacing


def save_array(values: Tensor, path: Path, made: Mapping[str, Any]) -> Path:
    """Write values as float32 `.npy`, and how they were made to the JSON file beside it."""
    with replacing(path) as part, part.open("wb") as out:
        np.save(out, values.numpy().astype(np.float32), allow_pickle=False)
    write_sidecar(path, made)
    return path

"""Decoded states as values that could stand in the data: a state of whole numbers decodes to nearly whole ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perrin.contracts import Codec
from perrin.process.state import single


def finished(codec: Codec, decoded: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Decoded values as the data have them: whole numbers, within the data's range, where these are whole."""
    whole = getattr(codec, "whole", None)
    if whole is None:
        return list(decoded)
    shape = tuple(single(codec.shape))
    least, most = (np.asarray(bound).reshape(shape if len(bound) > 1 else ()) for bound in whole)
    return [np.clip(np.rint(value), least, most) for value in decoded]

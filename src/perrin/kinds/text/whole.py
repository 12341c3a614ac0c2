"""Texts that are one thing each, such as a tune or a molecule: never cut, and read as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from perrin.kinds.text.codec import TextCodec


class WholeTextCodec(TextCodec):
    """A codec of texts whose value is what all their tokens say together, in a spelling of its own."""

    @property
    def augments(self) -> bool:
        """Whether seeds change what `encode` gives: never, since nothing is cropped."""
        return False

    def text(self, tokens: Sequence[int] | np.ndarray | Tensor) -> str:
        """What the tokens say; with some that are not known yet the tokens themselves, those shown as a shade."""
        pieces = self.pieces(tokens)
        row = np.asarray(tokens)
        if (row == self.categories).any():
            return "".join(pieces)
        return self.vocabulary.decode(row[row >= 0])

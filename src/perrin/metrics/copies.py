"""How long a run of tokens a generated text shares with the training text, token by token.

Tokens are written as the characters of a string, since nothing finds a run in a million tokens as fast as a search for
a substring.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perrin.metrics.ngrams import joined

_BETWEEN = "\0"  # no token's character, so no run crosses from one sequence into the next
_MOST = 0x10FFFF - 1


def longest_copies(generated: Sequence[np.ndarray], real: Sequence[np.ndarray]) -> np.ndarray:
    """The length of the longest run of each generated sequence that stands in a real one, int64 [len(generated)].

    Args:
        generated, real: sequences of tokens.

    Raises:
        PerrinError: tokens that are not whole numbers from 0 on.
    """
    known = _BETWEEN.join(_string(sequence) for sequence in real)
    return np.array([_longest(_string(sequence), known) for sequence in generated], np.int64)


def _string(sequence: np.ndarray) -> str:
    row = joined(sequence, _MOST)[0]
    return "".join(map(chr, (row + 1).tolist()))


def _longest(text: str, known: str) -> int:
    best = 0
    for start in range(len(text)):
        # only a longer run than the best one matters
        while start + best < len(text) and text[start : start + best + 1] in known:
            best += 1
    return best

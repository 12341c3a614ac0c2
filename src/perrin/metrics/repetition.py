r"""How varied texts are: their repeated share, distinct n-grams and entropy, which likelihood alone does not see.

A model that says the same again and again is easy to predict, so bits per token are read beside these.

    repeated_n(text) = 1 - |different n-grams of it| / |n-grams of it|       Welleck et al. 2020 (arXiv:1908.04319)
    distinct_n(texts) = |different n-grams of all| / |n-grams of all|       Li et al. 2016 (arXiv:1510.03055)
    entropy(texts) = - sum_w p_w log2 p_w,   p_w the share of token w
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perrin.errors import PerrinError
from perrin.metrics.ngrams import joined


def repeated_share(generated: Sequence[np.ndarray], n: int = 4) -> float:
    """The share of the n-grams of a sequence that stood in it before, the mean over the sequences that have any.

    Raises:
        PerrinError: no sequence of n tokens.
    """
    shares = [1 - len(np.unique(grams, axis=0)) / len(grams) for grams in _each(generated, n)]
    return float(np.mean(shares))


def distinct_share(generated: Sequence[np.ndarray], n: int = 4) -> float:
    """The share of different n-grams among all of all sequences; it falls with their number, so compare equal ones.

    Raises:
        PerrinError: no sequence of n tokens.
    """
    grams = np.concatenate(_each(generated, n))
    return len(np.unique(grams, axis=0)) / len(grams)


def unigram_entropy(generated: Sequence[np.ndarray]) -> float:
    """Bits per token of the tokens' own frequencies; of few tokens too low, by about (K - 1) / (2 N ln 2).

    Raises:
        PerrinError: no tokens.
    """
    row = joined(generated, None)[0]
    if not len(row):
        raise PerrinError("the entropy of no tokens is not defined")
    shares = np.unique(row, return_counts=True)[1] / len(row)
    return float(-(shares * np.log2(shares)).sum()) + 0.0  # no minus zero


def _each(sequences: Sequence[np.ndarray], n: int) -> list[np.ndarray]:
    if n < 1:
        raise PerrinError(f"n = {n} of n-grams must be at least 1")
    found = [np.lib.stride_tricks.sliding_window_view(np.asarray(s), n) for s in sequences if len(s) >= n]
    if not found:
        raise PerrinError(f"no sequence has {n} tokens")
    return found

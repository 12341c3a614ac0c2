"""Texts drawn from n-grams of a codec's own tokens: what a model of tunes or molecules has to beat."""

from __future__ import annotations

import numpy as np

from perrin.contracts import Dataset
from perrin.kinds.text.whole import WholeTextCodec
from perrin.metrics.ngrams import fit

MOST = 20_000  # training texts that are counted: an even choice of more


def ngram_texts(
    codec: WholeTextCodec, train: Dataset, count: int, seed: int = 0, order: int = 5
) -> list[str]:
    """Texts drawn from n-grams of a codec's tokens, as long as training texts are, each begun as those begin."""
    cut, start = codec.cut(train), codec.categories
    opening = np.full(order - 1, start)
    chosen = np.linspace(0, len(cut) - 1, min(MOST, len(cut))).astype(int).tolist()
    rows = (codec.encode([cut[i]]).state[0].numpy() for i in chosen)
    grams = fit([np.r_[opening, row[row >= 0]] for row in rows], order, start + 1)
    lengths = [codec.length((i + 0.5) / count) for i in range(count)]
    generator = np.random.default_rng(seed)
    drawn = np.tile(opening, (count, 1))
    for _ in range(max(lengths)):
        steps = grams.probabilities(drawn[:, drawn.shape[1] - order + 1 :])[:, :start].cumsum(1)
        token = (steps <= generator.random((count, 1)) * steps[:, -1:]).sum(1)
        drawn = np.c_[drawn, token]
    texts = drawn[:, order - 1 :]
    return [codec.text(row[:length]) for row, length in zip(texts, lengths, strict=True)]

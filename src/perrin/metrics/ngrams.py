r"""n-grams of any order with Witten-Bell interpolation: what a text's tokens cost whoever only counts.

    P_n(w | h) = (c(h w) + T(h) P_{n-1}(w | h')) / (c(h) + T(h)),      P_0 = 1 / K

`h` the n - 1 tokens before w, `h'` without the first of them, c how often each was seen in training, T(h) how many
different tokens followed h; of an h that was never seen, P_n = P_{n-1}. At the beginning of a sequence h is what there
is. Float64 throughout. Witten and Bell 1991, method C; Chen and Goodman 1998 (section 2.4).

Counting is sorting: the n-grams are numbered level by level, (number of the first n - 1 tokens) K + (last token), so a
million tokens take seconds and no dictionary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from perrin.errors import PerrinError

Tokens = np.ndarray | Sequence[int]
MISSING = -1
_ABOVE = np.iinfo(np.int64).max


class Level(NamedTuple):
    """The n-grams of one n, sorted by `keys` = (number of the first n - 1 tokens) K + last token, and their `counts`.

    Both have one more entry, above all keys and of count 0: what -1, an n-gram never seen, finds. Of each (n-1)-gram as a
    context: `first` [.. + 1] its first continuation here, `totals` the sum of their counts. A continuation's place in
    `keys` is the number of the n-gram.
    """

    keys: np.ndarray
    counts: np.ndarray
    first: np.ndarray
    totals: np.ndarray


class NGrams:
    """Counts of all n-grams up to `order`; `fit` makes one.

    Attributes:
        order: the largest n.
        categories: K, how many different tokens there may be.
    """

    def __init__(self, levels: list[Level], categories: int) -> None:
        self._levels, self.order, self.categories = levels, len(levels), categories

    def bits(self, tokens: Tokens | Sequence[np.ndarray], order: int | None = None) -> np.ndarray:
        """-log2 P of every token given those before it in its sequence, [N], all sequences in a row.

        Args:
            tokens: one sequence or several.
            order: a smaller n than the fitted one, which is a part of it.
        """
        row, place = joined(tokens, self.categories)
        chance = np.full(len(row), 1.0 / self.categories)
        numbers = np.zeros(len(row), np.int64)  # of the (n-1)-gram that begins at each place
        for n, level in enumerate(self._levels[: self._order(order)], 1):
            starts = np.flatnonzero(place >= n - 1) - (n - 1)  # where an n-gram begins within its sequence
            contexts, words = numbers[starts], row[starts + n - 1]
            grams = self._find(level, contexts, words)
            seen = contexts != MISSING
            ends, contexts, found = starts[seen] + n - 1, contexts[seen], grams[seen]
            counts = level.counts[found]
            kinds = np.diff(level.first)[contexts]
            total = level.totals[contexts]
            known = total > 0
            mixed = (counts + kinds * chance[ends]) / np.maximum(total + kinds, 1)
            chance[ends] = np.where(known, mixed, chance[ends])
            following = np.full(len(row), MISSING)
            following[starts] = grams
            numbers = following
        return -np.log2(chance)

    def probabilities(self, contexts: np.ndarray, order: int | None = None) -> np.ndarray:
        """P(next token | context) [B, K] after contexts [B, m] of any length m, the last token last.

        A context that is shorter than the others is padded with -1 on its left.
        """
        contexts = np.atleast_2d(np.asarray(contexts, np.int64))
        rows = np.arange(len(contexts))
        chance = np.full((len(contexts), self.categories), 1.0 / self.categories)
        for n, level in enumerate(self._levels[: self._order(order)], 1):
            if n - 1 > contexts.shape[1]:
                break
            numbers = self._numbers(contexts[:, contexts.shape[1] - (n - 1) :])
            kept = rows[numbers != MISSING]
            kept = kept[level.totals[numbers[kept]] > 0]
            begin, end = level.first[numbers[kept]], level.first[numbers[kept] + 1]
            kinds, total = end - begin, level.totals[numbers[kept]]
            chance[kept] *= (kinds / (kinds + total))[:, None]
            owner = np.repeat(np.arange(len(kept)), kinds)
            places = np.arange(len(owner)) - np.repeat(np.cumsum(kinds) - kinds, kinds) + begin[owner]
            words = level.keys[places] % self.categories
            chance[kept[owner], words] += level.counts[places] / (kinds + total)[owner]
        return chance

    def most_likely(self, contexts: np.ndarray, order: int | None = None) -> np.ndarray:
        """The most probable next token after each of the contexts [B, m], int64 [B]; of equal ones the first."""
        found: np.ndarray = self.probabilities(contexts, order).argmax(1)
        return found

    def sample(self, count: int, length: int, seed: int = 0, order: int | None = None) -> np.ndarray:
        """`count` sequences of `length` tokens, int64, drawn token by token from the beginning on."""
        generator = np.random.default_rng(seed)
        n = self._order(order)
        drawn = np.full((count, n - 1 + length), MISSING, np.int64)
        for place in range(n - 1, n - 1 + length):
            steps = self.probabilities(drawn[:, place - (n - 1) : place], n).cumsum(1)
            draws = generator.random((count, 1)) * steps[:, -1:]
            drawn[:, place] = (steps <= draws).sum(1)
        return drawn[:, n - 1 :]

    def _order(self, order: int | None) -> int:
        if order is not None and not 1 <= order <= self.order:
            raise PerrinError(f"order {order} of n-grams that were counted up to {self.order}")
        return order or self.order

    def _numbers(self, grams: np.ndarray) -> np.ndarray:
        """The numbers of n-grams [B, n]; -1 for those that were never seen."""
        numbers = np.zeros(len(grams), np.int64)
        for level, words in zip(self._levels, grams.T, strict=False):
            numbers = self._find(level, numbers, words)
        return numbers

    def _find(self, level: Level, contexts: np.ndarray, words: np.ndarray) -> np.ndarray:
        keys = contexts * self.categories + words
        places = np.searchsorted(level.keys, keys)
        there = (contexts != MISSING) & (words != MISSING) & (level.keys[places] == keys)
        return np.where(there, places, MISSING)


def fit(tokens: Tokens | Sequence[np.ndarray], order: int, categories: int | None = None) -> NGrams:
    """Count the n-grams of one sequence or several, n = 1 .. `order`; none crosses from one into the next.

    Args:
        tokens: whole numbers 0 .. K - 1.
        categories: K; default: one more than the largest token.

    Raises:
        PerrinError: no tokens, an order below 1, or tokens outside 0 .. K - 1.
    """
    if order < 1:
        raise PerrinError(f"order {order} of n-grams must be at least 1")
    row, place = joined(tokens, categories)
    if not len(row):
        raise PerrinError("n-grams are counted in at least one token")
    size = categories or int(row.max()) + 1
    levels = list[Level]()
    numbers, known = np.zeros(len(row), np.int64), 1
    for n in range(1, order + 1):
        starts = np.flatnonzero(place >= n - 1) - (n - 1)
        words = row[starts + n - 1]
        keys, inverse, counts = np.unique(
            numbers[starts] * size + words, return_inverse=True, return_counts=True
        )
        owners = keys // size
        first = np.searchsorted(owners, np.arange(known + 1))
        totals = np.bincount(owners, counts, known).astype(np.int64)
        levels.append(Level(np.r_[keys, _ABOVE], np.r_[counts, 0], first, totals))
        numbers = np.full(len(row), MISSING)
        numbers[starts] = inverse
        known = len(keys)
    return NGrams(levels, size)


def ngram_bits(generated: Sequence[np.ndarray], real: Sequence[np.ndarray], order: int = 5) -> float:
    """Bits per token of generated sequences under the n-grams of real ones: low for what the real ones hold often.

    Repetition lowers it too, so it is read beside the entropy and the repeated share of the same sequences.

    Args:
        generated, real: sequences of tokens.
        order: n.

    Raises:
        PerrinError: no tokens, or fewer categories in the real sequences than in the generated ones.
    """
    size = 1 + max(int(joined(part, None)[0].max(initial=-1)) for part in (generated, real))
    return float(fit(real, order, size).bits(generated).mean())


def joined(tokens: Tokens | Sequence[np.ndarray], categories: int | None) -> tuple[np.ndarray, np.ndarray]:
    """All tokens in a row, int64 [N], and the place of each in its own sequence.

    Raises:
        PerrinError: not whole numbers, or outside 0 .. `categories` - 1.
    """
    parts = [np.asarray(part) for part in tokens] if not isinstance(tokens, np.ndarray) else [tokens]
    if parts and all(part.ndim == 0 for part in parts):
        parts = [np.asarray(tokens)]
    parts = [part for part in parts if part.size]
    if any(part.ndim != 1 or part.dtype.kind not in "iu" for part in parts):
        raise PerrinError("tokens are whole numbers, in one sequence [N] or a list of such")
    row = np.concatenate([np.empty(0, np.int64), *parts]).astype(np.int64)
    if len(row) and (row.min() < 0 or (categories is not None and row.max() >= categories)):
        raise PerrinError(
            f"tokens run from {row.min()} to {row.max()}; they are 0 .. {categories or 'K'} - 1"
        )
    place = np.concatenate([np.empty(0, np.int64), *(np.arange(len(part)) for part in parts)])
    return row, place

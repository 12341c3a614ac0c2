"""Real words with a known damage, cut into windows of a model's length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from waveforms import WINDOW, loudness, words

CLIPPED = 0.15
"""Share of a word's samples that clipping takes."""

GAPS = {"gaps of 10 ms": 80, "packets of 20 ms": 160}
EACH, LEAST = 3, 3_600
"""Gaps in every word, which has at least so many samples."""


@dataclass
class Word:
    """A word as it was, and as it is: `unknown` [T] says which samples are damaged; 1 is the damaged word's loudness."""

    name: str
    truth: np.ndarray
    damaged: np.ndarray
    unknown: np.ndarray
    limit: float = np.inf

    @property
    def starts(self) -> list[int]:
        """Of windows: every half window for clipping, one with each gap in its middle for gaps."""
        if np.isfinite(self.limit):
            last = len(self.truth) - WINDOW
            return [*range(0, last, WINDOW // 2), last]
        edges = np.flatnonzero(np.diff(self.unknown.astype(int)))
        return [int((a + 1 + b + 1) // 2) - WINDOW // 2 for a, b in zip(edges[::2], edges[1::2], strict=True)]

    def joined(self, parts: np.ndarray) -> np.ndarray:
        """[..., T] from windows [windows, ..., WINDOW]: a damaged sample comes from the window whose middle is nearest."""
        starts = np.array(self.starts)
        at = np.arange(len(self.truth))
        owner = np.abs(at[:, None] - (starts + WINDOW / 2 - 0.5)).argmin(1)
        found = np.broadcast_to(self.damaged, (*parts.shape[1:-1], len(at))).copy()
        for sample in np.flatnonzero(self.unknown):
            found[..., sample] = parts[owner[sample], ..., sample - starts[owner[sample]]]
        return found


def chosen(count: int, split: str = "test") -> list[tuple[str, np.ndarray]]:
    """Words that are long enough, one of each speaker in turn, of different digits."""
    found = [(name, wave) for name, wave in words(split) if len(wave) >= LEAST]
    speakers = sorted({name.split("_")[1] for name, _ in found})
    kept: list[tuple[str, np.ndarray]] = []
    for k in range(count):
        own = [w for w in found if w[0].split("_")[1] == speakers[k % len(speakers)]]
        kept.append(own[(3 * k) % len(own)])
    return kept


def clipped(name: str, wave: np.ndarray) -> Word:
    """The loudest `CLIPPED` share of the samples is cut off."""
    limit = float(np.quantile(np.abs(wave), 1 - CLIPPED))
    damaged = wave.clip(-limit, limit)
    unit = loudness(damaged)
    return Word(name, wave / unit, damaged / unit, np.abs(wave) >= limit, limit / unit)


def with_gaps(name: str, wave: np.ndarray, length: int, seed: int) -> Word:
    """Three gaps where the word is loud, so far apart that a window holds one; what is lost is zero."""
    rng = np.random.default_rng(seed)
    placed: list[int] = []
    power = np.convolve(np.square(wave), np.ones(length) / length, mode="same")
    for least in (0.5, 0.2, 0.05, 0.0):
        loud = np.flatnonzero(power >= least * loudness(wave) ** 2)
        for centre in rng.permutation(loud).tolist():
            inside = WINDOW // 2 <= centre <= len(wave) - WINDOW // 2
            if len(placed) < EACH and inside and all(abs(centre - p) > WINDOW // 2 + length for p in placed):
                placed.append(centre)
    unknown = np.zeros(len(wave), bool)
    for centre in placed:
        unknown[centre - length // 2 : centre + length // 2] = True
    damaged = np.where(unknown, 0.0, wave)
    unit = loudness(wave[~unknown])
    return Word(name, wave / unit, damaged / unit, unknown)

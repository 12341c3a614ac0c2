"""Speech as arrays: words of one loudness cut into overlapping windows, and the words that no model has seen."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import numpy as np

RATE, WINDOW, HOP = 8_000, 1_024, 384
QUIET = 0.05  # of a word's root mean square: windows below are silence
JITTER = 0.3  # deviation of the logarithm of windows' gains: a damaged word's loudness is known only so well


def folder() -> Path:
    """Where speech_digits lies."""
    if "PERRIN_DATA" not in os.environ:
        raise SystemExit("set PERRIN_DATA to the folder of the sample data (with speech_digits in it)")
    return Path(os.environ["PERRIN_DATA"]) / "speech_digits"


def words(split: str) -> list[tuple[str, np.ndarray]]:
    """(file name, waveform [T] in -1 .. 1) of every word of a split."""
    import soundfile

    with (folder() / "metadata.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    found = []
    for row in rows:
        path = next(p for p in (folder() / row["file"], folder() / "flac" / row["file"]) if p.exists())
        found.append((path.name, soundfile.read(path)[0]))
    return found


def loudness(waveform: np.ndarray) -> float:
    """The root mean square of a word."""
    return float(np.sqrt(np.mean(np.square(waveform))))


def windows(seed: int = 0) -> np.ndarray:
    """[N, 1, WINDOW] float32 of the training words, each word of root mean square 1, each window louder or softer."""
    rng, found = np.random.default_rng(seed), []
    for _, waveform in words("train"):
        scaled = waveform / loudness(waveform)
        for start in range(int(rng.integers(HOP)), len(scaled) - WINDOW + 1, HOP):
            cut = scaled[start : start + WINDOW]
            if loudness(cut) > QUIET:
                found.append(cut * np.exp(JITTER * rng.standard_normal()))
    return np.stack(found)[:, None].astype(np.float32)


if __name__ == "__main__":
    made = windows()
    np.save(sys.argv[1], made)
    print(f"{made.shape} windows, deviation {made.std():.3f}, written to {sys.argv[1]}")

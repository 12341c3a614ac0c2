"""A word before and after, to look at and to listen to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from damage import Word
from waveforms import RATE


def drawn(path: Path, word: Word, samples: np.ndarray, ends: np.ndarray) -> None:
    """The worst damaged 40 ms and their surroundings: truth, damaged, mean with its interval, one sample."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    width = 320
    start = int(np.convolve(word.unknown, np.ones(width), mode="valid").argmax())
    figure, axes = plt.subplots(2, 1, figsize=(11, 6), layout="constrained")
    for axis, part in zip(
        axes, (slice(0, len(word.truth)), slice(max(0, start - 80), start + width + 80)), strict=True
    ):
        at = np.arange(len(word.truth))[part] / RATE * 1e3
        axis.fill_between(
            at, ends[0][part], ends[1][part], color="tab:orange", alpha=0.35, lw=0, label="90 %"
        )
        axis.plot(at, word.truth[part], color="black", lw=1.0, label="truth")
        axis.plot(at, word.damaged[part], color="tab:blue", lw=0.8, label="damaged")
        lost = (
            np.convolve(word.unknown, np.ones(3), mode="same")[part] > 0
        )  # with the neighbours that lines end at
        axis.plot(at, np.where(lost, samples[0][part], np.nan), color="tab:green", lw=0.6, label="one sample")
        axis.plot(at, np.where(lost, samples.mean(0)[part], np.nan), color="tab:red", label="posterior mean")
        axis.set_xlabel("ms")
    axes[0].legend(ncols=5, fontsize=8, loc="upper right")
    axes[0].set_title(word.name)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def written(folder: Path, stem: str, word: Word, samples: np.ndarray) -> None:
    """WAV files of the truth, the damaged word, the posterior mean and one sample, at one loudness."""
    import soundfile

    peak = 1.05 * np.abs(word.truth).max()
    heard = {"truth": word.truth, "damaged": word.damaged, "mean": samples.mean(0), "sample": samples[0]}
    for name, wave in heard.items():
        soundfile.write(folder / f"{stem}-{name}.wav", np.clip(wave / peak, -1, 1), RATE)

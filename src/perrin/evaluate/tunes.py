"""Tunes against real ones: whether they can be read, keep time, and are new; which keys, metres and bars they have.

A tune is good that passes four tests: two readers read it (this package's strict one, and music21), it has at least
eight bars, at least four fifths of them are as long as their metre (`kinds.music.figures`), and it copies no training
tune (`kinds.music.melody`). Ceiling: held-out real tunes. Baseline: 5-grams of the same tokens.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from perrin.contracts import Dataset
from perrin.errors import PerrinError
from perrin.evaluate.case import Case, Judged
from perrin.evaluate.symbol_chains import ngram_texts
from perrin.kinds.music.codec import MusicCodec
from perrin.kinds.music.figures import Figures, figures
from perrin.kinds.music.melody import copies

if TYPE_CHECKING:
    from PIL.Image import Image

BARS = 8
WHOLE = 0.8
ORDER = 5
SHOWN = 8  # tunes of which a report shows piano rolls
SETS = {"": "model", "_ceiling": "real, held out", "_baseline": "5-grams"}
DISTRIBUTIONS = ("metres", "keys", "bar_lengths")

NOTE = (
    "Ceiling: held-out real tunes. Baseline: tunes drawn from 5-grams of the same tokens. A tune passes all tests that "
    f"is read by two readers, has {BARS} bars or more, {WHOLE:.0%} of them as long as their metre, and shares no run of "
    "24 notes, nor of half its own, with any training tune, whatever their keys."
)


@dataclass(frozen=True)
class Judgement:
    """The figures of some tunes, and which of them copy a known one (bool [n])."""

    figures: list[Figures]
    copied: np.ndarray

    @property
    def tests(self) -> dict[str, np.ndarray]:
        """Which tunes pass which test, bool [n] each; `good`: all four."""
        tests = {
            "parses": np.array([found.parses for found in self.figures], bool),
            "bars": np.array([found.bars >= BARS for found in self.figures], bool),
            "whole": np.array([found.share >= WHOLE for found in self.figures], bool),
            "original": ~self.copied,
        }
        return {**tests, "good": np.logical_and.reduce(list(tests.values()))}

    def shares(self) -> dict[str, float]:
        """The share of tunes that pass each test, and the mean share of whole bars."""
        found = {f"{name}_share": float(passed.mean()) for name, passed in self.tests.items()}
        return {**found, "whole_bars": float(np.mean([found.share for found in self.figures]))}

    def distributions(self) -> dict[str, dict[str, float]]:
        """How often each metre and key (of tunes) and each bar length (of bars, in quarter notes) occurs."""
        read = [found for found in self.figures if found.parses]
        counts = {
            "metres": Counter(found.metre for found in read),
            "keys": Counter(found.key for found in read),
            "bar_lengths": Counter(str(length) for found in read for length in found.lengths),
        }
        return {
            name: {key: count / each.total() for key, count in each.most_common()}
            for name, each in counts.items()
        }


def judged(case: Case) -> Judged:
    """The figures of a model of tunes, their distributions, and piano rolls of some."""
    tunes, codec = case.drawn.decoded, case.model.codec
    assert isinstance(codec, MusicCodec)
    found, by_set = tune_figures(tunes, codec, case.data.train, case.test, seed=case.options["seed"])
    laws = distribution_picture({SETS[suffix]: one for suffix, one in by_set.items()})
    pictures = {"Samples": codec.picture(tunes[:SHOWN]), "Metres, keys and bar lengths": laws}
    return Judged(case.drawn, found, ".abc", pictures, {"Samples": tunes[:SHOWN]})


def judge(tunes: Sequence[str], known: Sequence[str]) -> Judgement:
    """The tests of tunes (ABC texts), copies being sought among the known ones.

    Raises:
        PerrinError: no tunes at all, or music21 is not installed.
    """
    if not tunes:
        raise PerrinError("there are no tunes to judge")
    return Judgement([figures(tune) for tune in tunes], copies(tunes, known))


def variation(found: Mapping[str, float], wanted: Mapping[str, float]) -> float:
    """Total variation distance of two distributions, half the sum of |p - q|: 0 the same, 1 nothing in common."""
    return sum(abs(found.get(key, 0.0) - wanted.get(key, 0.0)) for key in {*found, *wanted}) / 2


def tune_figures(
    tunes: Sequence[str], codec: MusicCodec, train: Dataset, test: Dataset, *, seed: int = 0
) -> tuple[dict[str, Any], dict[str, Judgement]]:
    """All figures of sampled tunes beside real ones and n-grams, JSON-able; and the three judgements.

    Args:
        tunes: samples as the codec decodes them; train: what the model learnt from; test: tunes it never met.
        seed: of the n-grams' tunes.

    Returns:
        Of `Judgement.shares` each, also with `_ceiling` and `_baseline`; for each of the distributions of metres,
        keys and bar lengths its `_distance` (total variation) to the training tunes', likewise; the distributions.

    Raises:
        PerrinError: no tunes, or music21 is not installed.
    """
    known = [str(train[i]["value"]) for i in range(len(train))]
    real = [str(test[i]["value"]) for i in range(len(test))]
    judged = {
        "": judge(tunes, known),
        "_ceiling": judge(real, known),
        "_baseline": judge(ngram_texts(codec, train, len(tunes), seed, ORDER), known),
    }
    wanted = Judgement([figures(tune) for tune in known], np.zeros(len(known), bool)).distributions()
    found: dict[str, Any] = {}
    for suffix, judgement in judged.items():
        here = judgement.distributions()
        found |= {f"{name}{suffix}": value for name, value in judgement.shares().items()}
        found |= {f"{name}_distance{suffix}": variation(here[name], wanted[name]) for name in DISTRIBUTIONS}
        found |= {f"{name}{suffix}": here[name] for name in DISTRIBUTIONS}
    found |= {f"{name}_training": wanted[name] for name in DISTRIBUTIONS}
    counts = {"generated": len(tunes), "training": len(known), "test": len(real)}
    said = {"features": "notes and bars", "baseline": f"{ORDER}-grams of the same tokens", "note": NOTE}
    return {**found, "counts": counts, **said}, judged


def distribution_picture(judged: Mapping[str, Judgement], most: int = 8) -> Image:
    """Bars beside each other: how often the most frequent metres, keys and bar lengths occur in each set of tunes."""
    from matplotlib.figure import Figure
    from PIL import Image

    held = {name: judgement.distributions() for name, judgement in judged.items()}
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    for axis, what in zip(figure.subplots(1, len(DISTRIBUTIONS)), DISTRIBUTIONS, strict=True):
        total = sum((Counter(shares[what]) for shares in held.values()), Counter[str]())
        names = [name for name, _ in total.most_common(most)]
        for place, (label, shares) in enumerate(held.items()):
            heights = [shares[what].get(name, 0.0) for name in names]
            axis.bar(np.arange(len(names)) + 0.27 * place, heights, 0.25, label=label)
        axis.set_xticks(np.arange(len(names)) + 0.27, names)
        axis.set_title(what.replace("_", " ") + (" (quarter notes)" if what == "bar_lengths" else ""))
    figure.axes[0].legend()
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    return Image.open(stream)

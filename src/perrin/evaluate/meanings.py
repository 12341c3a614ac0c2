"""What each figure says, in one line: the rows of every table that shows figures, on paper or terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Better = Literal["higher", "lower", "near"]


class Row(NamedTuple):
    """One figure with what makes it readable (None where there is none); `better`: the good direction."""

    name: str
    label: str
    value: float
    baseline: float | None
    ceiling: float | None
    control: float | None
    better: Better
    meaning: str


# name, label, good direction, meaning
_MEANINGS: tuple[tuple[str, str, Better, str], ...] = (
    ("class_accuracy", "Class accuracy", "higher", "share read as the class that was asked for"),
    ("class_accuracy_unguided", "Class accuracy, unguided", "higher", "the same, sampled without guidance"),
    ("precision", "Precision", "higher", "share of samples that lie among the real data"),
    ("recall", "Recall", "higher", "share of the real data that lies among the samples"),
    (
        "density",
        "Density",
        "higher",
        "how deep among the real data samples lie; above the ceiling they crowd",
    ),
    (
        "coverage",
        "Coverage",
        "higher",
        "share of real items with a sample close by; low means missing variety",
    ),
    ("frechet_distance", "Fréchet distance", "lower", "distance between the two laws, taken as Gaussians"),
    ("kid", "KID", "lower", "distance between the two laws, no bias: zero on average for equal ones"),
    (
        "nearest_ratio",
        "Nearest training item",
        "near",
        "median distance over that of unseen real items; below 1 copies",
    ),
    (
        "copy_share",
        "Near copies",
        "near",
        "share closer to a training item than 99 % of unseen real items are",
    ),
    ("bits_per_character", "Bits per character", "lower", "what held-out text costs the model at most"),
    (
        "bigram_bits",
        "  with bigrams",
        "lower",
        "the same text with each character known by the one before it",
    ),
    ("ngram_bits", "  with n-grams", "lower", "the same text with the n-grams that suit it best"),
    ("infill_accuracy", "Infilled token", "higher", "share of single gaps filled with what stood there"),
    ("infill_gap_accuracy", "Infilled gap of 5", "higher", "the same, per token of gaps of five"),
    ("sample_bits", "Bits of samples", "near", "per character, under 5-grams of the training text"),
    ("entropy", "Entropy", "near", "bits per character of how often each occurs in the samples"),
    ("word_share", "Known words", "higher", "share of words that occur in the training text"),
    (
        "repeated_share",
        "Repeated",
        "near",
        "share of runs of 8 characters that stood in the same sample before",
    ),
    (
        "distinct_share",
        "Distinct",
        "near",
        "share of different runs of 8 characters among those of all samples",
    ),
    ("longest_copy", "Longest copy", "near", "characters of a sample's longest run from the training text"),
    ("good_share", "Good tunes", "higher", "share of tunes that pass all of the next four tests"),
    ("parses_share", "  readable", "higher", "by two readers of ABC"),
    ("bars_share", "  long", "higher", "eight bars or more"),
    ("whole_share", "  in time", "higher", "four bars of five as long as the metre"),
    ("original_share", "  new", "near", "copies of no training tune"),
    ("whole_bars", "Whole bars", "higher", "mean share of bars as long as the metre"),
    ("metres_distance", "Metres", "lower", "total variation distance from the training tunes"),
    ("keys_distance", "Keys", "lower", "the same of keys"),
    ("bar_lengths_distance", "Bar lengths", "lower", "the same of the lengths of bars"),
    (
        "sound_share",
        "Sound molecules",
        "higher",
        "valid, in one piece, no electron unpaired, every atom stable",
    ),
    ("atom_stability", "Stable atoms", "higher", "share whose bonds, by their lengths, add up to a valence"),
    ("molecule_stability", "Stable molecules", "higher", "share whose atoms are all stable"),
    ("atom_valence", "Atoms in valence", "higher", "the same by the bonds that came with the molecule"),
    ("molecule_valence", "Molecules in valence", "higher", "share whose atoms all are"),
    ("valid_share", "Valid", "higher", "share that RDKit sanitises"),
    ("connected_share", "  in one piece", "higher", "share that is valid and connected"),
    ("unique_share", "Different", "higher", "different ones among those valid and in one piece"),
    ("novel_share", "New", "near", "share of the different ones that the training set lacks"),
    ("identical_share", "Identical", "near", "share of all that the training set holds"),
    ("nearest_similarity", "Nearest training molecule", "near", "Tanimoto similarity, the median"),
    ("strain_median", "Strain", "lower", "kcal/mol that relaxing by MMFF gives back, the median"),
    ("bond_length_distance", "Bond lengths", "lower", "Wasserstein distance in angstrom, mean over types"),
    ("logp_distance", "logP", "lower", "Wasserstein distance in standard deviations of real molecules"),
    ("qed_distance", "QED", "lower", "the same of drug-likeness"),
    ("sa_distance", "SA score", "lower", "the same of synthetic accessibility"),
    ("tpsa_distance", "Polar surface", "lower", "the same of TPSA"),
    ("weight_distance", "Weight", "lower", "the same"),
    ("heavy_atoms_distance", "Size", "lower", "the same of the number of heavy atoms"),
    ("logp_moved", "logP as asked", "near", "of the distance asked for; control: as large, nothing asked"),
    ("qed_moved", "QED as asked", "near", "the same"),
    ("sa_moved", "SA score as asked", "near", "the same"),
    ("tpsa_moved", "Polar surface as asked", "near", "the same"),
    ("weight_moved", "Weight as asked", "near", "the same"),
    ("steered_stability", "Stable atoms as asked", "higher", "of samples that were asked for a property"),
    (
        "best_rmsd",
        "Best RMSD",
        "lower",
        "angstrom from a reference to its nearest sample, the median over molecules",
    ),
    ("best_rmsd_gain", "  below the baseline", "higher", "by this share"),
    ("cov_r", "References met", "higher", "share with a sample within the threshold"),
    ("mat_r", "  at a distance", "lower", "angstrom to the nearest sample, the mean"),
    ("cov_p", "Samples near one", "higher", "share with a reference within the threshold"),
    ("mat_p", "  at a distance", "lower", "angstrom to the nearest reference, the mean"),
    ("quantile_loss", "Weighted quantile loss", "lower", "levels .1 to .9, relative to what is forecast"),
    ("quantile_gain", "  below the best simple method", "higher", "by this share, windows paired"),
    ("crps", "CRPS", "lower", "over all levels, relative to what is forecast"),
    ("energy_score", "Energy score", "lower", "of windows as a whole, columns divided by their deviation"),
    ("variogram_score", "Variogram score", "lower", "of how the values of a window hang together"),
    ("coverage_80", "In the 80 % interval", "near", "share of true values"),
    ("coverage_50", "In the 50 % interval", "near", "share of true values"),
    (
        "sharpness",
        "Width of the 80 % interval",
        "lower",
        "relative to what is forecast; for the same coverage",
    ),
    ("filter_share", "Pass the filter", "higher", "share that meets all its rules"),
)


def rows(figures: Mapping[str, Any]) -> list[Row]:
    """The rows of the figures that are present and are numbers, in reading order."""

    def number(key: str) -> float | None:
        value = figures.get(key)
        return float(value) if isinstance(value, int | float) else None

    table = []
    for name, label, better, meaning in _MEANINGS:
        value, stem = number(name), name.removesuffix("_distance").removesuffix("_unguided")
        if value is not None:
            stderr = number(f"{name}_stderr")
            note = meaning if stderr is None else f"{meaning}; standard error {stderr:.2g}"
            beside = name if f"{name}_ceiling" in figures else stem
            baseline, ceiling = number(f"{beside}_baseline"), number(f"{beside}_ceiling")
            table.append(Row(name, label, value, baseline, ceiling, number(f"{name}_control"), better, note))
    return table

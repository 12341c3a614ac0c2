"""Arrays -> numbers: how far one set of points, or of sequences of tokens, is from another.

Every measure takes `(generated, real, ...)`, each an array or tensor `[N, ...]` whose trailing dimensions are
flattened, and works in float64; measures of sequences take lists of whole numbers `[L]`. None knows where they come
from: pixels, features, series, letters.
"""

from perrin.metrics.calibration import (
    PitHistogram,
    central_interval,
    interval_coverage,
    pit,
    pit_histogram,
    sharpness,
)
from perrin.metrics.classification import class_accuracy, shuffled_accuracy
from perrin.metrics.copies import longest_copies
from perrin.metrics.ensembles import EnsembleCoverage, ensemble_coverage
from perrin.metrics.frechet import Moments, frechet_distance, frechet_from_moments, moments
from perrin.metrics.kernel import Kid, kid, polynomial_mmd
from perrin.metrics.manifold import Manifold, density_coverage, fidelity_variety, precision_recall
from perrin.metrics.modes import ModeCoverage, mode_coverage
from perrin.metrics.neighbours import nearest_distances
from perrin.metrics.ngrams import NGrams, ngram_bits
from perrin.metrics.over_windows import Estimate, mean_over_windows, relative_to_size
from perrin.metrics.pinball import quantile_loss, weighted_quantile_loss
from perrin.metrics.proper_scores import crps, energy_score, variogram_score
from perrin.metrics.ratios import ratio
from perrin.metrics.repetition import distinct_share, repeated_share, unigram_entropy
from perrin.metrics.transport import Wasserstein, wasserstein

__all__ = [
    "EnsembleCoverage",
    "Estimate",
    "Kid",
    "Manifold",
    "ModeCoverage",
    "Moments",
    "NGrams",
    "PitHistogram",
    "Wasserstein",
    "central_interval",
    "class_accuracy",
    "crps",
    "density_coverage",
    "distinct_share",
    "energy_score",
    "ensemble_coverage",
    "fidelity_variety",
    "frechet_distance",
    "frechet_from_moments",
    "interval_coverage",
    "kid",
    "longest_copies",
    "mean_over_windows",
    "mode_coverage",
    "moments",
    "nearest_distances",
    "ngram_bits",
    "pit",
    "pit_histogram",
    "polynomial_mmd",
    "precision_recall",
    "quantile_loss",
    "ratio",
    "relative_to_size",
    "repeated_share",
    "sharpness",
    "shuffled_accuracy",
    "unigram_entropy",
    "variogram_score",
    "wasserstein",
    "weighted_quantile_loss",
]

"""Arrays -> numbers: how far one set of points, or of sequences of tokens, is from another.

Every measure takes `(generated, real, ...)`, each an array or tensor `[N, ...]` whose trailing dimensions are
flattened, and works in float64; measures of sequences take lists of whole numbers `[L]`. None knows where they come
from: pixels, features, series, letters.
"""

from perrin.metrics.classification import class_accuracy, shuffled_accuracy
from perrin.metrics.copies import longest_copies
from perrin.metrics.frechet import Moments, frechet_distance, frechet_from_moments, moments
from perrin.metrics.kernel import Kid, kid, polynomial_mmd
from perrin.metrics.manifold import Manifold, density_coverage, fidelity_variety, precision_recall
from perrin.metrics.modes import ModeCoverage, mode_coverage
from perrin.metrics.neighbours import nearest_distances
from perrin.metrics.ngrams import NGrams, ngram_bits
from perrin.metrics.repetition import distinct_share, repeated_share, unigram_entropy

__all__ = [
    "Kid",
    "Manifold",
    "ModeCoverage",
    "Moments",
    "NGrams",
    "class_accuracy",
    "density_coverage",
    "distinct_share",
    "fidelity_variety",
    "frechet_distance",
    "frechet_from_moments",
    "kid",
    "longest_copies",
    "mode_coverage",
    "moments",
    "nearest_distances",
    "ngram_bits",
    "polynomial_mmd",
    "precision_recall",
    "repeated_share",
    "shuffled_accuracy",
    "unigram_entropy",
]

"""Arrays -> numbers: how far one set of points is from another.

Every measure takes `(generated, real, ...)`, each an array or tensor `[N, ...]` whose trailing dimensions are
flattened, and works in float64. None knows where the points come from: pixels, features, series.
"""

from perrin.metrics.classification import class_accuracy, shuffled_accuracy
from perrin.metrics.frechet import Moments, frechet_distance, frechet_from_moments, moments
from perrin.metrics.kernel import Kid, kid, polynomial_mmd
from perrin.metrics.manifold import Manifold, density_coverage, fidelity_variety, precision_recall
from perrin.metrics.modes import ModeCoverage, mode_coverage
from perrin.metrics.neighbours import nearest_distances

__all__ = [
    "Kid",
    "Manifold",
    "ModeCoverage",
    "Moments",
    "class_accuracy",
    "density_coverage",
    "fidelity_variety",
    "frechet_distance",
    "frechet_from_moments",
    "kid",
    "mode_coverage",
    "moments",
    "nearest_distances",
    "polynomial_mmd",
    "precision_recall",
    "shuffled_accuracy",
]

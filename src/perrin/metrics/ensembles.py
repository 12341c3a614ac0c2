r"""Whether one set of shapes covers another: coverage and matching from a table of their distances.

    COV-R = |{r : min_g d(g, r) < threshold}| / |R|          MAT-R = mean_r min_g d(g, r)
    COV-P = |{g : min_r d(g, r) < threshold}| / |G|          MAT-P = mean_g min_r d(g, r)

of generated shapes G and reference shapes R. Recall (R) asks whether every reference is met, precision (P) whether every
generated one is near a reference. Xu et al. 2021 (arXiv:2102.10240), Ganea et al. 2021 (arXiv:2106.07802).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from perrin.errors import PerrinError


class EnsembleCoverage(NamedTuple):
    """`cov_r`, `cov_p` in [0, 1], `mat_r`, `mat_p` in the units of the distances."""

    cov_r: float
    mat_r: float
    cov_p: float
    mat_p: float


def ensemble_coverage(distances: np.ndarray, threshold: float) -> EnsembleCoverage:
    """Coverage and matching of references by generated shapes.

    Args:
        distances: [generated, references], as from `evaluate.conformer_coverage.rmsd_table`.
        threshold: below which two shapes are the same, in the units of the distances.
    Raises:
        PerrinError: no shapes, distances that are negative or not finite, or a threshold that is not positive.
    """
    table = np.asarray(distances, np.float64)
    if table.ndim != 2 or not table.size:
        raise PerrinError(
            f"distances of shape {table.shape}: [generated, references] is needed, neither empty"
        )
    if not (np.isfinite(table) & (table >= 0)).all():
        raise PerrinError("distances must be finite and not negative")
    if not threshold > 0:
        raise PerrinError(f"threshold = {threshold} must be > 0")
    nearest, own = table.min(0), table.min(1)
    return EnsembleCoverage(
        float((nearest < threshold).mean()),
        float(nearest.mean()),
        float((own < threshold).mean()),
        float(own.mean()),
    )

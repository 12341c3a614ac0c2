r"""How noisy a measurement is, where nobody says.

Images, signals and volumes are estimated as such; of k-space, whose outer frequencies hold hardly anything but noise, the
outer half of what was measured:    sigma = median |part| / .6745    (Donoho and Johnstone 1994, of wavelets).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from perrin.errors import PerrinError
from perrin.guide.operators import Compressed, KSpace, Mask, Operator, Radon
from perrin.metrics.noise_level import estimate


def estimated(task: str | Operator, operator: Operator, measurement: Any) -> float:
    """The standard deviation of white noise in a measurement, in its units; of complex ones of each part.

    Raises:
        PerrinError: where it cannot be told.
    """
    y = np.asarray(measurement)
    if isinstance(operator, KSpace):
        return _outer(operator, y)
    if isinstance(operator, Radon | Compressed):
        raise PerrinError(
            f"the noise of {operator.name} cannot be told from itself; give its standard deviation"
        )
    if isinstance(operator, Mask) and not bool(operator.keep.all()):
        raise PerrinError(
            "the noise of what has holes cannot be told well; give its standard deviation (0 for clean pictures)"
        )
    return estimate(y, max(1, len(operator.measured) - 1))


def _outer(operator: KSpace, y: np.ndarray) -> float:
    height, width = operator.shape[1:]
    row = torch.linspace(-1, 1, height)[:, None]
    column = torch.linspace(-1, 1, width)[None]
    far = ((torch.maximum(row.abs(), column.abs()) > 0.7) & operator.mask).numpy()
    if far.sum() < 32:
        raise PerrinError(
            "no outer frequencies were measured, which show the noise; give its standard deviation"
        )
    values = y.reshape(-1, height, width)[:, far]
    parts = np.concatenate([values.real.ravel(), values.imag.ravel()])
    return float(np.median(np.abs(parts)) / 0.6745)

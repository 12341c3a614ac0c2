"""A measurement in a model's own coordinates.

values v = offset + gain x of states x;    y = A v + s e    is    (y - A offset) / gain = A x + (s / gain) e
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perrin.contracts import Affine, Codec
from perrin.errors import PerrinError
from perrin.guide.operators import Operator


@dataclass(frozen=True)
class Problem:
    """What was measured of n states.

    Attributes:
        operator: of the states. measurement: [n, *measured], 0 where nothing is measured.
        noise: standard deviation, in the states' units.
        seen: bool [1, *measured], what is measured at all.
    """

    operator: Operator
    measurement: Tensor
    noise: float
    seen: Tensor

    @staticmethod
    def of_values(codec: Codec, operator: Operator, measurement: Any, noise: float = 0.0) -> Problem:
        """The problem of measurements of values, such as pixels or their k-space.

        Args:
            measurement: one, [*measured], or several, [n, *measured]; a grey image may lack its axis of channels.
            noise: its standard deviation, in the same units, of complex measurements of each part.

        Raises:
            PerrinError: measurements that do not fit the operator, NaN, a kind whose states are no plain scale of values.
        """
        offset, gain = scale_of(codec)
        y = _fitting(torch.as_tensor(np.asarray(measurement)), operator)
        if not bool(torch.isfinite(torch.view_as_real(y) if y.is_complex() else y).all()):
            raise PerrinError("the measurement holds NaN or infinity; mark what is missing by a mask")
        if not 0 <= noise < float("inf"):
            raise PerrinError(f"the noise's standard deviation must be 0 or above, not {noise}")
        operator, y = operator.in_states(y, offset, gain)
        seen = measured_entries(operator)
        y = torch.where(seen, y, 0)
        return Problem(operator, y, noise / gain, seen)


def scale_of(codec: Codec) -> tuple[float, float]:
    """(offset, gain) of values v = offset + gain x.

    Raises:
        PerrinError: a kind that has none, such as texts.
    """
    if not isinstance(codec, Affine):
        raise PerrinError(
            f"restoration and editing are of data on one linear scale (images, volumes, arrays), not of {codec.kind}"
        )
    return codec.affine


def _fitting(y: Tensor, operator: Operator) -> Tensor:
    """float64 or complex128, [n, *measured]."""
    y = y.to(torch.complex128 if y.is_complex() else torch.float64)
    wanted = operator.measured
    if tuple(y.shape) == wanted or (1, *y.shape) == wanted:
        y = y.reshape(1, *wanted)
    elif wanted[0] == 1 and y.shape[1:] == wanted[1:]:
        y = y[:, None]
    operator.adjoint(y[:1])  # refuses what does not fit
    return y


def measured_entries(operator: Operator) -> Tensor:
    """bool [1, *measured]: entries of measurements that any state moves."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, *operator.shape, generator=generator, dtype=torch.float64)
    return operator(x) != 0

r"""Compressed sensing: few numbers, each a random mixture of all entries (Romberg 2009, random convolution).

    y = sqrt(n / m) of m random entries of F* (phase F x)

with random phases of a real convolution: orthonormal, as incoherent with any basis as random numbers are, and fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.guide.operators.linear import Operator


class Compressed(Operator):
    """m random mixtures [B, m] of the n entries of a state.

    Args:
        shape: of a state. measurements: m, 1 to n. seed: which mixtures.

    Raises:
        PerrinError: another number of measurements.
    """

    def __init__(self, shape: Sequence[int], measurements: int, seed: int = 0) -> None:
        super().__init__(shape)
        n = math.prod(self.shape)
        if not 1 <= measurements <= n:
            raise PerrinError(f"measurements = {measurements} must be 1 to {n}, the entries of a state")
        generator = torch.Generator().manual_seed(seed)
        turn = 2 * math.pi * torch.rand(n // 2 + 1, generator=generator, dtype=torch.float64)
        phase = torch.polar(torch.ones_like(turn), turn)
        ends = [0, n // 2] if n % 2 == 0 else [0]  # frequencies that must stay real
        phase[ends] = torch.where(turn[ends] < math.pi, 1.0, -1.0).to(phase)
        self.phase, self.n = phase, n
        self.rows = torch.randperm(n, generator=generator)[:measurements].sort().values

    def apply(self, x: Tensor) -> Tensor:
        """The mixtures."""
        mixed = self._convolved(x.flatten(1), self.phase)
        return mixed[:, self.rows.to(x.device)] * math.sqrt(self.n / len(self.rows))

    def transposed(self, y: Tensor) -> Tensor:
        """A* y."""
        mixed = y.new_zeros(len(y), self.n)
        mixed[:, self.rows.to(y.device)] = y * math.sqrt(self.n / len(self.rows))
        return self._convolved(mixed, self.phase.conj()).view(len(y), *self.shape)

    def _convolved(self, x: Tensor, phase: Tensor) -> Tensor:
        kind = torch.complex128 if x.dtype == torch.float64 else torch.complex64
        found: Tensor = torch.fft.irfft(
            torch.fft.rfft(x, norm="ortho") * phase.to(x.device, kind), self.n, norm="ortho"
        )
        return found

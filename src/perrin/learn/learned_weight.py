r"""The learned weight: a small function of the level, trained beside the network and thrown away (Karras et al. 2024).

    loss = base(level) error / exp(u(level)) + u(level)          (arXiv:2312.02696, equation 21)

For a fixed network the best u is log E[base(level) error]: every level then adds the same amount, one, to the loss, and
the network's gradient of a level is divided by the loss there. It is the maximum likelihood of errors whose scale
exp(u) is unknown (Kendall, Gal and Cipolla 2018). u is linear in sines and cosines of the noise clock and zero at
first, so that training begins with the base weight.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perrin.denoise.parameterisation import noise_time
from perrin.errors import PerrinError
from perrin.learn.weighting import Weight, edm
from perrin.nets.embedding import Fourier


class Learned(nn.Module):
    """A loss weight with parameters: called as any weight, `base(level) / exp(u(level))`, and `u` is added to the loss.

    Args:
        base: the weight that u divides; `edm()` by default. It decides nothing in the end, as u takes it out again,
            but how training begins and which loss is logged and validated.
        features: sines and cosines that u is linear in, an even number.

    Raises:
        PerrinError: features that are odd or fewer than 2, or a base that is learned itself.
    """

    def __init__(self, base: Weight | None = None, features: int = 64) -> None:
        super().__init__()
        if features < 2 or features % 2:
            raise PerrinError(f"features = {features} of the learned weight must be an even number >= 2")
        if isinstance(base, Learned):
            raise PerrinError("the base of a learned weight must be a fixed one, such as edm or simple")
        self.base = base or edm()
        self.fourier = Fourier(features)
        self.slopes, self.offset = nn.Parameter(torch.empty(features)), nn.Parameter(torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Back to u = 0."""
        for parameter in (self.slopes, self.offset):
            nn.init.zeros_(parameter)

    def u(self, level: Tensor) -> Tensor:
        """level [B] -> u [B], float32 and differentiable."""
        features = self.fourier(noise_time(level).to(self.slopes.device))
        # no matrix product, whose precision autocast would halve
        found: Tensor = (features * self.slopes).sum(1) + self.offset
        return found

    def forward(self, level: Tensor) -> Tensor:
        """level [B] -> weight [B], float64 and differentiable."""
        return self.base(level) * torch.exp(-self.u(level).double()).to(level.device)


def weighted(weight: Weight, level: Tensor, error: Tensor) -> Tensor:
    """The losses [B] of errors [B] at levels [B] under any weight: a learned one adds its u, or it would fall to zero."""
    value = weight(level).to(error.dtype) * error
    return value + weight.u(level).to(value) if isinstance(weight, Learned) else value


def companion(objective: object) -> Learned | None:
    """What an objective trains beside the network: its learned weight, if it has one."""
    weight = getattr(objective, "weight", None)
    return weight if isinstance(weight, Learned) else None

"""A model whose denoiser is exact: signals (1, D) of a Gaussian with correlated entries, in units of their own."""

import torch
from torch import nn

from perrin.denoise.correlated import Correlated
from perrin.design import Design, Sampling
from perrin.kinds.arrays import Arrays
from perrin.model import Model

D = 8
OFFSET, GAIN = 30.0, 5.0
AT = torch.arange(D, dtype=torch.float64)
COVARIANCE = torch.exp(-(AT[:, None] - AT).abs() / 3)
MEAN = 0.2 * torch.sin(AT)


class Exact(nn.Module):
    """The exact denoiser as a network, so that its evaluations can be counted."""

    def __init__(self):
        super().__init__()
        self.net = Counted()

    def forward(self, x, level, condition=None):
        return self.net(x, level)


class Counted(nn.Module):
    def __init__(self):
        super().__init__()
        self.exact = Correlated(MEAN[None], COVARIANCE)
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x, level):
        return self.exact(x, level)


def exact_model(**sampling):
    codec = Arrays.codec((1, D), None, 1.0, [OFFSET], [GAIN])
    net = {"name": "mlp", "width": 4, "blocks": 1, "shape": [1, D], "classes": None}
    design = Design(net, {"name": "edm"}, {"kind": "arrays", "config": codec.config()})
    schedule = {"name": "edm", "sigma_min": 0.002, "sigma_max": 80.0}
    return Model(design, Exact(), codec, Sampling(**{"steps": 24, "schedule": schedule, **sampling}))


def posterior(matrix, y, noise):
    """Mean and covariance of the states given y = A x + s e, from the closed form."""
    inner = matrix @ COVARIANCE @ matrix.T + noise**2 * torch.eye(len(matrix), dtype=matrix.dtype)
    gain = COVARIANCE @ matrix.T @ torch.linalg.pinv(inner)
    return MEAN + gain @ (y - matrix @ MEAN), COVARIANCE - gain @ matrix @ COVARIANCE

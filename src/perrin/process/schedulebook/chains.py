r"""The chains of DDPM: tables of alphas_cumprod by their published betas.

    linear  beta_t evenly from 1e-4 to 0.02                                     (Ho et al. 2020, section 4)
    cosine  beta_t = min(1 - f(t + 1) / f(t), 0.999),  f(t) = cos^2((t/T + s) / (1 + s) pi/2)
                                                       (Nichol and Dhariwal 2021, equations 16 and 17)

with t = 0 .. T-1 and alphas_cumprod_t = prod_{u <= t} (1 - beta_u). Levels come from the sum of log(1 - beta),
since alphas_cumprod itself is next to one at the clean end and has lost the digits of the noise there.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process.schedulebook.table import Discrete


class Chain(Discrete):
    """A table by its betas, that remembers the options it was made from.

    Args:
        name: its registry name; options: of the builder of that name.
        betas: variances of the forward steps, float64 [T], in (0, 1).
    """

    def __init__(self, name: str, options: dict[str, float], betas: Tensor) -> None:
        self.name, self.options = name, options
        log = torch.cumsum(torch.log1p(-betas), 0)
        self._lay(torch.exp(log), log - torch.log(-torch.expm1(log)))

    def config(self) -> dict[str, object]:
        return {"name": self.name, **self.options}


def ddpm_linear(steps: int = 1000, beta_min: float = 1e-4, beta_max: float = 0.02) -> Chain:
    """DDPM's chain of `steps` linearly rising betas."""
    _check_steps(steps)
    if not 0 < beta_min <= beta_max < 1:
        raise PerrinError(f"betas must satisfy 0 < beta_min <= beta_max < 1, not {beta_min} and {beta_max}")
    betas = torch.linspace(beta_min, beta_max, steps, dtype=torch.float64)
    return Chain("ddpm_linear", {"steps": steps, "beta_min": beta_min, "beta_max": beta_max}, betas)


def ddpm_cosine(steps: int = 1000, offset: float = 0.008, beta_most: float = 0.999) -> Chain:
    """The cosine chain; `offset` keeps the first betas from being too small, `beta_most` caps the last ones."""
    _check_steps(steps)
    if offset < 0:
        raise PerrinError(f"offset = {offset} must be >= 0")
    if not 0 < beta_most < 1:
        raise PerrinError(f"beta_most = {beta_most} must lie between 0 and 1")
    quarter = 0.5 * math.pi / (1 + offset)
    t = torch.arange(steps, dtype=torch.float64)
    before, after = (quarter * ((t + k) / steps + offset) for k in (0, 1))
    # 1 - cos^2(after) / cos^2(before) = sin(after - before) sin(after + before) / cos^2(before): no cancellation
    betas = math.sin(quarter / steps) * torch.sin(before + after) / torch.cos(before) ** 2
    options = {"steps": steps, "offset": offset, "beta_most": beta_most}
    return Chain("ddpm_cosine", options, betas.clamp(max=beta_most))


def _check_steps(steps: int) -> None:
    if steps < 2:
        raise PerrinError(f"steps = {steps} of a chain must be at least 2")

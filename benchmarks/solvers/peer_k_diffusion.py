"""k-diffusion's samplers on an exact denoiser, over its own grids from sigma of timestep 999 to sigma of timestep 0.

Only its sampling module is loaded. The package's other modules, and what they need, are not.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from perrin.process import ddpm_linear

Denoiser = Callable[[Tensor, float], Tensor]
"""(x [B, ...] in unit coordinates, log SNR) -> the posterior mean."""
TABLE = ddpm_linear()
SAMPLERS: dict[str, tuple[str, dict[str, Any], int]] = {  # function, options, evaluations a step
    "Heun": ("sample_heun", {}, 2),
    "DPM-2": ("sample_dpm_2", {}, 2),
    "LMS": ("sample_lms", {}, 1),
    "DPM++ 2M": ("sample_dpmpp_2m", {}, 1),
    "DPM++ 2S": ("sample_dpmpp_2s_ancestral", {"eta": 0.0}, 2),
}
GRIDS = ("karras", "exponential", "time")


@functools.cache
def load() -> ModuleType:
    """k-diffusion's sampling module, with stand-ins for what the rest of the package needs."""
    spec = importlib.util.find_spec("k_diffusion")  # finds it without running its __init__
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError("k-diffusion is not in the peers' environment")
    for name in ("torchdiffeq", "torchsde", "k_diffusion", "k_diffusion.utils"):
        sys.modules[name] = ModuleType(name)
    sys.modules["torchdiffeq"].odeint = None  # type: ignore[attr-defined]
    sys.modules["k_diffusion"].__path__ = list(spec.submodule_search_locations)
    utils = sys.modules["k_diffusion.utils"]
    utils.append_dims = lambda v, dims: v[(...,) + (None,) * (dims - v.ndim)]  # type: ignore[attr-defined]
    sys.modules["k_diffusion"].utils = utils  # type: ignore[attr-defined]
    return importlib.import_module("k_diffusion.sampling")


def grid_of(sampling: ModuleType, grid: str, steps: int) -> Tensor:
    """Its own grids over the range of the table."""
    low, high = (math.exp(-0.5 * float(TABLE.level(t))) for t in (0.0, 999.0))
    if grid == "karras":
        return sampling.get_sigmas_karras(steps, low, high).double()
    if grid == "exponential":
        return sampling.get_sigmas_exponential(steps, low, high).double()
    times = torch.linspace(999, 0, steps, dtype=torch.float64)  # DiscreteSchedule.get_sigmas
    return sampling.append_zero(torch.exp(-0.5 * TABLE.level(times)))


def sampler(name: str, grid: str, evaluations: int) -> Callable[[Tensor, Denoiser], Tensor] | None:
    """A sampler (noise, denoiser) -> states of that many evaluations or the next fewer, None where it has none."""
    function, options, each = SAMPLERS[name]
    steps = (evaluations + each - 1) // each  # the last step, to zero, evaluates once
    if steps < 2:
        return None
    sampling = load()
    sigmas = grid_of(sampling, grid, steps)

    def sample(z: Tensor, denoiser: Denoiser) -> Tensor:
        def denoised(y: Tensor, sigma: Tensor) -> Tensor:
            rho = float(sigma[0])
            return denoiser(y / math.sqrt(1 + rho**2), -2 * math.log(rho))

        start = z * math.sqrt(1 + float(sigmas[0]) ** 2)
        found: Tensor = getattr(sampling, function)(denoised, start, sigmas, disable=True, **options)
        return found

    return sample


def contenders() -> list[tuple[str, str]]:
    """(sampler, grid) of all."""
    return [(name, grid) for name in SAMPLERS for grid in GRIDS]

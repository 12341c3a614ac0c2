"""diffusers' schedulers on an exact denoiser.

1,000 linear betas, epsilon prediction, trailing spacing or another grid of its own. The network is told its level by
the timestep alone, which a scheduler may have rounded. Every run starts from noise of unit variance in unit
coordinates and is meant to start at timestep 999; "leading" spacing starts later, as its users' runs do.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import diffusers
import torch
from torch import Tensor

from perrin.process import ddpm_linear

Denoiser = Callable[[Tensor, float], Tensor]
"""(x [B, ...] in unit coordinates, log SNR) -> the posterior mean."""
BETAS = {"num_train_timesteps": 1000, "beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
TABLE = ddpm_linear()
GRIDS: dict[str, dict[str, Any]] = {
    "trailing": {"timestep_spacing": "trailing"},
    "linspace": {"timestep_spacing": "linspace"},
    "leading": {"timestep_spacing": "leading"},
    "karras": {"timestep_spacing": "trailing", "use_karras_sigmas": True},
    "exponential": {"timestep_spacing": "trailing", "use_exponential_sigmas": True},
    "lu": {"timestep_spacing": "trailing", "use_lu_lambdas": True},
}
PLAIN = ("trailing", "linspace", "leading")
ALL = (*PLAIN, "karras", "exponential")
SCHEDULERS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "DDIM": ("DDIMScheduler", {"clip_sample": False}, PLAIN),
    "Euler": ("EulerDiscreteScheduler", {}, ALL),
    "Heun": ("HeunDiscreteScheduler", {}, ALL),
    "KDPM2": ("KDPM2DiscreteScheduler", {}, ALL),
    "LMS": ("LMSDiscreteScheduler", {}, ALL),
    "PNDM": ("PNDMScheduler", {"skip_prk_steps": True, "set_alpha_to_one": True}, PLAIN),
    "DEIS 2": ("DEISMultistepScheduler", {"solver_order": 2}, ALL),
    "DEIS 3": ("DEISMultistepScheduler", {"solver_order": 3}, ALL),
    "DPM-Solver++ 2M": ("DPMSolverMultistepScheduler", {"solver_order": 2}, (*ALL, "lu")),
    "DPM-Solver++ 3M": ("DPMSolverMultistepScheduler", {"solver_order": 3}, (*ALL, "lu")),
    "DPM-Solver++ 2S": ("DPMSolverSinglestepScheduler", {"lower_order_final": True}, ALL),
    "UniPC 2": ("UniPCMultistepScheduler", {"solver_order": 2}, ALL),
    "UniPC 3": ("UniPCMultistepScheduler", {"solver_order": 3}, ALL),
}


def scheduler(name: str, grid: str) -> Any:
    """A scheduler of diffusers with that grid."""
    kind, options, _ = SCHEDULERS[name]
    cls = getattr(diffusers, kind)
    given = {**BETAS, **options, **GRIDS[grid]}
    if "timestep_spacing" not in inspect.signature(cls.__init__).parameters:  # of the single-step solver
        del given["timestep_spacing"]
    return cls(**given)


def sampler(name: str, grid: str, evaluations: int) -> Callable[[Tensor, Denoiser], Tensor] | None:
    """A sampler (noise, denoiser) -> states of that many evaluations or the next fewer, None where it has none."""
    made = scheduler(name, grid)
    for steps in range(evaluations, 0, -1):
        made.set_timesteps(steps)
        if len(made.timesteps) <= evaluations:
            return functools.partial(walk, name, grid, steps)
    return None


def walk(name: str, grid: str, steps: int, z: Tensor, denoiser: Denoiser) -> Tensor:
    """A pipeline's loop; z [B, ...] has unit variance in unit coordinates."""
    made = scheduler(name, grid)
    made.set_timesteps(steps)
    exploding = float(made.init_noise_sigma) > 2  # x = clean + sigma noise
    x = z * math.sqrt(1 + float(made.sigmas.max()) ** 2) if exploding else z
    for time in made.timesteps:
        level = float(TABLE.level(float(time)))
        alpha, sigma = (float(f(torch.tensor(float(time)))) for f in (TABLE.alpha, TABLE.sigma))
        scaled = made.scale_model_input(x, time)
        noise = (scaled - alpha * denoiser(scaled, level)) / sigma
        x = made.step(noise, time, x).prev_sample
    return x


def contenders() -> list[tuple[str, str]]:
    """(scheduler, grid) of all."""
    return [(name, grid) for name, (_, _, grids) in SCHEDULERS.items() for grid in grids]

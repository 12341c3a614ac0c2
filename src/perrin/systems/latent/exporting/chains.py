r"""The chain of steps of a Perrin model as the configuration of a scheduler of diffusers, and the other way round.

A Perrin network is told the time of its parameterisation's schedule. Only a table of steps (`discrete`, `ddpm_linear`,
`ddpm_cosine`) has the integer steps that diffusers tells; any other clock would be another network.

    beta_t = 1 - alphas_cumprod_t / alphas_cumprod_{t-1}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from perrin.errors import PerrinError
from perrin.process.schedulebook.chains import ddpm_linear
from perrin.process.schedulebook.table import Discrete
from perrin.registry import schedules
from perrin.systems.ddpm import betas
from perrin.systems.latent.noise_tables import PREDICTIONS, Trained

TYPES = {ours: theirs for theirs, ours in PREDICTIONS.items()}


def scheduler_options(parameterisation: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a DDIMScheduler for the network of a model with this parameterisation.

    Raises:
        PerrinError: an output that diffusers has no name for, or a clock that is no chain of steps.
    """
    name, schedule = parameterisation["name"], parameterisation.get("schedule")
    if name not in TYPES:
        raise PerrinError(
            f"parameterisation {name!r} cannot be exported: networks of diffusers' pipelines predict "
            f"{', '.join(TYPES)}; train with parameterisation: {{name: noise, schedule: ddpm_linear}}"
        )
    chain = None if schedule is None else schedules.build(schedule)
    if not isinstance(chain, Discrete):
        said = "has none" if schedule is None else f"is {schedule['name']!r}, in continuous time"
        raise PerrinError(
            f"parameterisation.schedule {said}: the network is told another time than the steps 0 .. 999 that diffusers "
            "tells, and cannot be exported; train with parameterisation: {name: noise, schedule: ddpm_linear}"
        )
    return {
        "num_train_timesteps": len(chain.levels),
        "trained_betas": betas(chain).tolist(),
        "prediction_type": TYPES[name],
        "clip_sample": False,
        "set_alpha_to_one": True,  # the last step leads to the clean state
        "timestep_spacing": "trailing",
    }


def chain_of(trained: Trained, where: str) -> dict[str, Any]:
    """The schedule of a folder's network, by its name where it has one.

    Raises:
        PerrinError: a flow, whose time is no step.
    """
    found = schedules.build(trained.schedule)
    if not isinstance(found, Discrete):
        raise PerrinError(f"{where} is a flow and has no chain of steps; it cannot be imported")
    known = ddpm_linear()
    if len(found.levels) == len(known.levels) and torch.allclose(
        found.alphas_cumprod, known.alphas_cumprod, rtol=1e-9, atol=0
    ):
        return {"name": "ddpm_linear"}
    return trained.schedule

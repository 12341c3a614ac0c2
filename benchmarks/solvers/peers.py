"""The worker that runs the peers on an exact denoiser, in the peers' environment.

    python peers.py                  lists every sampler and grid, as JSON
    python peers.py jobs.json        runs jobs: each leaves an .npz of final states and the evaluations it counted

A job file names the target (`means` and `std` of its Gaussians, .npz), the starting noise (.npz) and the samplers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import peer_diffusers
import peer_k_diffusion
import torch
from torch import Tensor

from perrin.denoise import exact

CHUNK = 64
LIBRARIES: dict[str, Any] = {"diffusers": peer_diffusers, "k-diffusion": peer_k_diffusion}


class Counted:
    """The exact denoiser, counting its evaluations."""

    def __init__(self, means: Tensor, std: float) -> None:
        self.denoiser, self.calls = exact.Mixture(means, std), 0

    def __call__(self, x: Tensor, level: float) -> Tensor:
        self.calls += 1
        return self.denoiser(x, torch.full((len(x),), level, dtype=torch.float64)).mean


def contenders() -> list[dict[str, str]]:
    """Every library, sampler and grid."""
    return [
        {"library": library, "sampler": sampler, "grid": grid}
        for library, module in LIBRARIES.items()
        for sampler, grid in module.contenders()
    ]


@torch.no_grad()
def work(jobs: dict[str, Any]) -> None:
    """Run the jobs of a file."""
    with np.load(jobs["target"]) as held:
        means, std = torch.from_numpy(held["means"]), float(held["std"])
    with np.load(jobs["start"]) as held:
        start = torch.from_numpy(held["start"])
    for job in jobs["jobs"]:
        sample = LIBRARIES[job["library"]].sampler(job["sampler"], job["grid"], job["evaluations"])
        if sample is None:
            continue
        denoiser, parts = Counted(means, std), []
        for noise in start.split(CHUNK):
            denoiser.calls = 0
            parts.append(sample(noise, denoiser))
        np.savez(job["out"], states=torch.cat(parts).double().numpy(), calls=denoiser.calls)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) == 1:
        print(json.dumps(contenders()))
    else:
        work(json.loads(Path(sys.argv[1]).read_text()))

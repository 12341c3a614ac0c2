"""What one step of a sampler costs beside the network: a network that hands back its input at no cost.

Perrin: the whole of `run` on a plan, divided by its evaluations. diffusers: `scale_model_input` and `step`, over the
timesteps; `set_timesteps` is left out, as `make_plan` is. One thread, CPU-seconds, interleaved repeats.

    python overhead.py [--repeats 60] [--steps 20]       (in the peers' environment; prints JSON)
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
from torch import Tensor

from perrin.denoise import Prediction
from perrin.process import vp
from perrin.sample import make_plan, run

SHAPES = ((1, 3, 8, 8), (16, 3, 32, 32))
PAIRS: dict[str, Any] = {
    "ddim": DDIMScheduler,
    "dpmpp_2m": DPMSolverMultistepScheduler,
    "unipc_2": UniPCMultistepScheduler,
}


def free(x: Tensor, level: Tensor, condition: Any = None) -> Prediction:
    """A denoiser at no cost."""
    return Prediction(x)


def ours(plan: Any, x: Tensor) -> float:
    """CPU-seconds a step of Perrin's loop."""
    start = time.process_time()
    run(plan, free, seeds=range(len(x)), start=x)
    return (time.process_time() - start) / plan.nfe


@torch.no_grad()
def theirs(scheduler: Any, x: Tensor, steps: int) -> float:
    """CPU-seconds a step of the loop that diffusers documents."""
    scheduler.set_timesteps(steps)
    start = time.process_time()
    for t in scheduler.timesteps:
        output = scheduler.scale_model_input(x, t)
        x = scheduler.step(output, t, x, return_dict=False)[0]
    return (time.process_time() - start) / steps


def measure(repeats: int, steps: int) -> list[dict[str, Any]]:
    """Least and median microseconds a step, of both, for every pair and shape."""
    rows = []
    for shape in SHAPES:
        x = torch.randn(shape)
        for rule, kind in PAIRS.items():
            plan, scheduler = make_plan(rule, vp(), steps=steps), kind(timestep_spacing="trailing")
            pairs = [(ours(plan, x), theirs(scheduler, x, steps)) for _ in range(repeats)]
            found = {
                name: {"least": 1e6 * min(times), "median": 1e6 * statistics.median(times)}
                for name, times in zip(("perrin", "diffusers"), zip(*pairs, strict=True), strict=True)
            }
            rows.append({"rule": rule, "peer": kind.__name__, "shape": list(shape), **found})
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(measure(given.repeats, given.steps)))

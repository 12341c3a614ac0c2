r"""The exact denoisers on which solvers are measured, and the error of a plan on them.

    digits    the 1,797 8 x 8 digits of scikit-learn in [-1, 1], each blurred by N(0, 0.1^2): 64 entries, sharp
    mixture   40 Gaussians of standard deviation 0.6 around N(0, 0.6^2) centres in 64 dimensions: smooth

Both under `vp()`, the VP schedule with linear beta from 0.1 to 20: the limit of diffusers' table of 1,000 linear betas,
whose levels it meets to 0.1. The error of a seed is the root mean square distance, over the 64 entries, from the
exact probability-flow solution that starts at the same noise and at the plan's own first level.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from perrin.denoise import exact
from perrin.denoise.prediction import Denoiser
from perrin.process import vp
from perrin.process.schedule import Schedule
from perrin.sample import Plan, make_plan, run
from perrin.sample.noise import normals, seed_of, seed_tensor

UNSEEN = range(1_000_000, 1_004_096)
"""The seeds of the published tables; no plan is fitted or chosen on them."""
CHOOSING = range(2_000_000, 2_000_256)
"""Seeds on which a solver's best grid is chosen."""
FITTING = range(3_000_000, 3_000_128)
"""Seeds of the trajectories to which a grid is fitted."""
CHUNK = 64
"""Seeds at a time: the weights of 1,797 points then stay in the processor's cache."""
REFERENCE_STEPS, LAST_LEVEL = 240, 18.0


@dataclass(frozen=True)
class Target:
    """A denoiser that is exactly right, with the exact solutions of its probability flow.

    Attributes:
        name: of the target; denoiser: the posterior mean; shape: of a state.
        schedule: lays the grids; folder: keeps the references, None to keep none.
    """

    name: str
    denoiser: Denoiser
    shape: tuple[int, ...]
    schedule: Schedule = field(default_factory=vp)
    folder: Path | None = None

    def start(self, seeds: Sequence[int]) -> Tensor:
        """The N(0, I) from which `perrin.sample.run` starts these seeds, float64 [B, *shape]."""
        keys = seed_tensor([seed_of(key, "", "start") for key in seeds])
        return normals(keys, self.shape, torch.float64)

    def reference(
        self, seeds: Sequence[int], level: float | None = None, steps: int = REFERENCE_STEPS
    ) -> Tensor:
        """The exact solution from `start` at that level (the schedule's noisy end by default), float64 [B, *shape]."""
        level = float(self.schedule.level(self.schedule.times[1])) if level is None else level
        kept = None if self.folder is None else self.folder / f"{self._key(seeds, level, steps)}.npz"
        if kept is not None and kept.exists():
            with np.load(kept) as found:
                return torch.from_numpy(found["state"])
        grid = [*np.linspace(level, LAST_LEVEL, steps).tolist(), float("inf")]
        state = solve(make_plan("dpmpp_3m", grid=grid), self, seeds)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            fresh = kept.with_suffix(f".{os.getpid()}.npz")
            np.savez(fresh, state=state.numpy())
            fresh.rename(kept)
        return state

    def _key(self, seeds: Sequence[int], level: float, steps: int) -> str:
        named = hashlib.sha256(",".join(map(str, seeds)).encode()).hexdigest()[:12]
        return f"reference_{self.name}_{level:.6f}_{steps}_{named}"


def digits(folder: Path | None = None) -> Target:
    """All of scikit-learn's digits, blurred by a standard deviation of 0.1; states (1, 8, 8)."""
    from sklearn.datasets import load_digits

    points = torch.tensor(load_digits().images, dtype=torch.float64)[:, None] / 8 - 1
    return Target("digits", exact.Empirical(points, 0.1), (1, 8, 8), folder=folder)


def mixture(folder: Path | None = None) -> Target:
    """Forty Gaussians in 64 dimensions; states (64,)."""
    centres = 0.6 * normals(seed_tensor([40]), (40, 64), torch.float64)[0]
    return Target("mixture", exact.Mixture(centres, 0.6), (64,), folder=folder)


TARGETS = {"digits": digits, "mixture": mixture}


def solve(plan: Plan, target: Target, seeds: Sequence[int]) -> Tensor:
    """The plan's samples, float64 [B, *shape]."""
    chunks = [seeds[i : i + CHUNK] for i in range(0, len(seeds), CHUNK)]
    starts = [target.start(chunk) for chunk in chunks]
    parts = [run(plan, target.denoiser, seeds=c, start=x) for c, x in zip(chunks, starts, strict=True)]
    return torch.cat([part for part in parts if isinstance(part, Tensor)])


def distances(states: Tensor, target: Target, seeds: Sequence[int], level: float) -> Tensor:
    """Root mean square distance of each state to the exact solution from that level, [B]."""
    gap = states.to(torch.float64) - target.reference(seeds, level)
    return gap.flatten(1).square().mean(1).sqrt()


def errors(plan: Plan, target: Target, seeds: Sequence[int] = UNSEEN) -> Tensor:
    """The error of every seed under a plan, float64 [B]."""
    return distances(solve(plan, target, seeds), target, seeds, plan.levels[0])


def summary(found: Tensor, draws: int = 1000) -> dict[str, tuple[float, float, float]]:
    """Median and root mean square of errors [B], each as (value, low, high) of a 95 % bootstrap interval."""
    values = found.detach().numpy().astype(np.float64)
    picks = np.random.default_rng(0).integers(0, len(values), (draws, len(values)))
    again = values[picks]
    figures = {
        "median": (float(np.median(values)), np.median(again, 1)),
        "rms": (float(np.sqrt((values**2).mean())), np.sqrt((again**2).mean(1))),
    }
    return {n: (v, *np.quantile(b, [0.025, 0.975]).tolist()) for n, (v, b) in figures.items()}

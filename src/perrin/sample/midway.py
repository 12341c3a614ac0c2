"""A run that begins in the middle: clean states as they are at the first level of a plan, x = alpha clean + sigma noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perrin.process import levels
from perrin.process.state import single
from perrin.sample.noise import Key
from perrin.sample.plan import Plan
from perrin.sample.running import prior


def noised(clean: Tensor, plan: Plan, keys: Sequence[Key]) -> Tensor:
    """States [B, *shape] for `run(start=...)`: each with the noise that a run of its key would begin with.

    Args:
        clean: [B, *shape], or [1, *shape] for all of them.
    """
    noise = single(prior(keys, clean.shape[1:], clean.dtype, clean.device))
    level = torch.tensor(plan.levels[0], dtype=torch.float64)
    return float(levels.alpha(level)) * clean + float(levels.sigma(level)) * noise

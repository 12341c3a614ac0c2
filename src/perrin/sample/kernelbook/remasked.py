r"""Remasking (Wang et al. 2025, "ReMDM"): known tokens may become masks again, so that mistakes can be mended.

    a known token  becomes a mask with probability s = min(cap, (1 - a') / a)
    a mask         becomes known with probability (a' - (1 - s) a) / (1 - a)

which leaves the marginal at every level what it is without remasking: only the path is another. Tokens that were given
at the start stay.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.sample.kernel import Jump, kernel


@kernel("remasking", processes=("masked",), exact=True)
def remasking(step: Jump, *, cap: float = 0.04) -> Tensor:
    """Ancestral steps in which known tokens may be drawn again."""
    if not 0 <= cap <= 1:
        raise PerrinError(f"cap = {cap} is a probability, between 0 and 1")
    a, lost, after = step.share(step.noisy), step.lost(step.noisy), step.lost(step.cleaner)
    s = torch.minimum(torch.full_like(a, cap), after / a.clamp(min=1e-300))
    # by what is lost: near the clean end a difference of shares has no digits left
    becomes = (lost - after + s * a) / lost
    u = step.uniform(0)
    forgotten = ~step.held & (step.x != step.process.classes) & (u < s)
    found = step.reveal(step.waiting & (u < becomes), step.uniform(1))
    return torch.where(forgotten, step.process.classes, found)

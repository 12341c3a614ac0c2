r"""Copies: items that lie much nearer to one real item than to those around it.

    r(x) = |x - t_1| / mean_{j = 2..k+1} |x - t_j|,    t_1, t_2, ... the real items in the order of their distance to x

A distance alone takes smooth pictures for copies, since they are near to everything; the ratio does not (Carlini et al.
2023, arXiv:2301.13188, section 4.2). A copy has r near 0. Held-out items say how small r gets by chance.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.metrics import nearest_distances

NEIGHBOURS = 20


def nearness(states: Tensor, real: Tensor, *, among: bool = False) -> tuple[Tensor, Tensor]:
    """r of each state, and which real one is the nearest.

    Args:
        states: [N, *shape]; real: [M, *shape], each once, M >= 3.
        among: whether states may be among the real ones: then such a one is not compared with itself.

    Returns:
        r: float64 [N] in [0, 1], 0 for an exact copy; indices: int64 [N].

    Raises:
        PerrinError: fewer than three real items.
    """
    if len(real) < 3:
        raise PerrinError(
            f"{len(real)} real items are too few to tell copies by; give at least 3, or copies = 0"
        )
    distances, indices = nearest_distances(states, real, min(NEIGHBOURS + 1 + among, len(real)))
    if among:
        self_first = distances[:, :1] == 0
        distances = torch.where(self_first, distances.roll(-1, 1), distances)[:, :-1]
    around = distances[:, 1:].mean(1)
    ratio = torch.where(around > 0, distances[:, 0] / around.clamp_min(1e-300), 0.0)
    return ratio, indices[:, 0]

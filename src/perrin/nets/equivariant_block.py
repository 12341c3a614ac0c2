r"""The parts of the equivariant network: a block, the radial functions of a distance, and the memory of an answer.

A block works on atoms h [A, width] at a guess of their positions [A, 3] and on pairs e [E, pair_width]; its equations
are in `egnn.py`. The time and the conditions modulate the atoms, norm(h) (1 + scale) + shift, so that no pair has to be
told them again.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from perrin.nets.attention import layer_norm, modulated
from perrin.nets.embedding import Condition, present_rows
from perrin.nets.pairs import Pairs
from perrin.nets.residual_mlp import zero_linear

NEIGHBOURS = 4.0
"""What sums over neighbours are divided by, about the root of how many an atom of a small molecule has."""


class EquivariantBlock(nn.Module):
    """One exchange of messages over all pairs; at first atoms stay what they are and there is no force."""

    def __init__(self, width: int, pair_width: int, radial: int) -> None:
        super().__init__()
        self.norm = layer_norm(width, affine=False)
        self.modulation = zero_linear(width, 2 * width)
        self.ends = nn.Linear(width, pair_width)
        self.distance = nn.Linear(radial, pair_width, bias=False)
        self.message = nn.Linear(pair_width, pair_width)
        self.value = nn.Linear(width, pair_width)
        self.force = zero_linear(pair_width, 1)
        self.enter = nn.Linear(width + pair_width, 2 * width)
        self.leave = zero_linear(2 * width, width)

    def forward(
        self, h: Tensor, e: Tensor, guess: Tensor, embedding: Tensor, radial: Radial, pairs: Pairs
    ) -> tuple[Tensor, Tensor, Tensor]:
        """h [A, width], e [E, pair_width], guess [A, 3], embedding [B, width] -> h, e, and the forces on atoms [A, 3]."""
        shift, scale = pairs.of_item(self.modulation(embedding)).chunk(2, dim=1)
        n = modulated(self.norm(h), shift, scale)
        apart = pairs.difference(guess)
        d = distance(apart)
        m = e + pairs.sum(self.ends(n)) + self.distance(radial(d))
        m = silu(self.message(silu(m)))
        force = pairs.total(apart * (self.force(m) / (d + 1)))
        gathered = pairs.gathered(m, self.value(n)) / NEIGHBOURS
        h = h + self.leave(silu(self.enter(torch.cat([n, gathered], 1))))
        return h, e + m, force


def distance(apart: Tensor) -> Tensor:
    """|apart| [E, 1] of [E, 3], with a gradient where two atoms coincide."""
    return (apart.square().sum(1, keepdim=True) + 1e-8).sqrt()


class Radial(nn.Module):
    """d [E, 1] -> exp(-n^2 (exp(-0.6 d) - c)^2 / 2) for n centres c in [0, 1] (Unke and Meuwly 2019, arXiv:1902.08408).

    Equal steps in exp(-d) are small steps where bonds are, and few are spent on distances that say little.
    """

    centres: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(0, 1, count), persistent=False)

    def forward(self, d: Tensor) -> Tensor:
        return torch.exp(-0.5 * (len(self.centres) * (torch.exp(-0.6 * d) - self.centres)).square())


class Recall(nn.Module):
    """The network's own last answer, added to what atoms and pairs start with; nothing where none is given."""

    def __init__(self, radial: int, categories: int, width: int, pair_width: int) -> None:
        super().__init__()
        self.distance = zero_linear(radial, pair_width)
        self.atoms = zero_linear(categories, width)

    def forward(
        self, h: Tensor, e: Tensor, pairs: Pairs, radial: Radial, condition: Condition
    ) -> tuple[Tensor, Tensor]:
        """h, e with the answer in `condition`, items of NaN without one."""
        if "previous.positions" not in condition:
            return h, e
        position, told = present_rows(condition["previous.positions"])
        near = radial(distance(pairs.difference(pairs.atoms(position))))
        of_pair = told[:, 0].index_select(0, pairs.item.index_select(0, pairs.i))
        probability = pairs.atoms(present_rows(condition["previous.atoms"])[0])
        h = h + pairs.of_item(told[:, 0]) * self.atoms(probability.to(h.dtype))
        return h, e + of_pair * self.distance(near)

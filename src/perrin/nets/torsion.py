r"""The network of torsional diffusion: a molecule at given torsion angles -> one number for each torsion.

The structure is built from a reference and its torsions (`turning.py`), and everything is read off its distances, which
see clashes and contacts whatever the torsions that make them:

    h_a  atoms: their kinds, messages along bonds, then messages of all pairs told the distance
    g_ab = g(h_a, h_b, distance), symmetric: in each of a few channels a force on a along the line from b
    torque_m = u_m . sum over atoms a that bond m moves of (x_a - x_j) x sum_b g_ab (x_a - x_b) / (1 + |x_a - x_b|)
    wave_m^n = Im sum over neighbours a of k, b of j:  c(h_a) c(h_b) e^{i n (phi_a - phi_b)}   around bond m, n = 1, 2, 3
    out_m = sum over torques and waves of coefficient(h, time, |torque|, Re wave) * (torque or wave)

A pair of atoms on one side of a bond pulls in no direction about it, so a torque is the derivative of an energy of
distances; waves are the textbook potentials of single torsions. Both turn their sign in a mirror, the coefficients
do not: the output is a pseudoscalar, and rigid motions do not change it. The task is that of Jing et al. 2022
("Torsional diffusion", arXiv:2206.01729), whose network convolves spherical harmonics around each bond.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from perrin.errors import PerrinError
from perrin.nets.embedding import Condition, Embedding
from perrin.nets.pairs import Pairs
from perrin.nets.residual_mlp import zero_linear
from perrin.nets.torsion_readings import Forces, Waves
from perrin.nets.turning import picked, turned

ELEMENTS = 119  # atomic numbers, and 0 for what is absent
ORDERS = 5  # no bond, single, double, triple, aromatic
HOPS = 8  # bonds between two atoms; more count as so many
REACH = 10.0  # angstrom, of the distances that are told apart
_SMALL = 1e-6  # angstrom^2: two atoms in one place have a distance with a slope


class TorsionNet(nn.Module):
    """A network for the torsions of molecules of any size.

    Args:
        shape: {"torsions": (M,)}, the usual number of torsions; more and fewer are accepted.
        classes, categories, states, properties: what it would be told of other kinds; it takes none.
        features: numbers that an atom has beside its element.
        width: of atoms; pairs: of pairs of atoms; bonded: layers along bonds; blocks: layers of all pairs.
        radial: Gaussians over distances; channels: forces, and waves of each frequency.

    The condition, whose leading axis is the batch, is the molecule: `atoms` int64 [B, N] atomic numbers, 0 absent;
    `features` [B, N, features]; `bonds` int64 [B, N, N], 4 for aromatic; `positions` [B, N, 3] of a reference in
    angstrom, at any torsions; `quadruples` int64 [B, M, 4], -1 absent; `moves` bool [B, M, N] the atoms that turn.

    Raises:
        PerrinError: sizes below 1, or states of other leaves.
    """

    takes_leaves = True

    def __init__(
        self,
        shape: Mapping[str, Sequence[int]],
        *,
        classes: int | None = None,
        categories: Mapping[str, int] | None = None,
        states: Mapping[str, int] | None = None,
        properties: int = 0,
        features: int = 14,
        width: int = 64,
        pairs: int = 64,
        bonded: int = 3,
        blocks: int = 3,
        radial: int = 24,
        channels: int = 8,
    ) -> None:
        super().__init__()
        if min(features, width, pairs, bonded, blocks, radial, channels) < 1:
            raise PerrinError("torsion network: every size must be at least 1")
        if set(shape) != {"torsions"} or classes or categories or states or properties:
            raise PerrinError(
                "torsion network: states are {torsions: [M]}, without classes, tokens and properties"
            )
        self.elements = nn.Embedding(ELEMENTS, width)
        self.features = nn.Linear(features, width)
        self.bonded = nn.ModuleList(Bonded(width) for _ in range(bonded))
        self.embedding = Embedding(width)
        self.distances = Distances(pairs, radial)
        self.blocks = nn.ModuleList(Messages(width, pairs) for _ in range(blocks))
        self.forces, self.waves = Forces(width, pairs, channels), Waves(width, channels)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        odd = channels * (1 + len(self.waves.frequencies))
        self.even = nn.Linear(2 * width + odd, 2 * width)
        self.told = nn.Linear(width, 2 * width)
        self.coefficients = zero_linear(2 * width, odd)

    def forward(self, x: Any, time: Tensor, condition: Condition | None = None) -> Any:
        """Torsions [B, M] in radians, or {"torsions": ...}; time [B] of order one -> the same form, [B, M]."""
        if condition is None:
            raise PerrinError("torsion network: no molecule; its graph is the condition")
        plain = isinstance(x, Tensor)
        with torch.autocast(time.device.type, enabled=False):  # positions and torques need every digit
            out = self._torsions(x if plain else x["torsions"], time, condition)
        return out if plain else {"torsions": out}

    def _torsions(self, torsions: Tensor, time: Tensor, condition: Condition) -> Tensor:
        quadruples, moves = condition["quadruples"], condition["moves"]
        pairs, weight = Pairs(condition["atoms"] > 0), self.features.weight
        embedding = self.embedding(time, None)
        h = self.elements(pairs.atoms(condition["atoms"]))
        h = h + self.features(pairs.atoms(condition["features"]).to(weight.dtype))
        orders, steps = (packed(value) for value in (condition["bonds"], hops(condition["bonds"])))
        orders, steps = pairs.pairs(orders), pairs.pairs(steps)
        for layer in self.bonded:
            h = layer(h, pairs, orders)
        x = pairs.atoms(turned(condition["positions"].to(weight.dtype), torsions, quadruples, moves))
        line = pairs.difference(x)
        distance = (line.square().sum(1) + _SMALL).sqrt()
        told = self.distances(distance, orders, steps)
        for block in self.blocks:
            h = block(h, pairs, told, embedding)
        h = self.norm(h)
        torque = self.forces(h, pairs, told, x, line / (1 + distance)[:, None], quadruples, moves)
        h, x = pairs.padded(h), pairs.padded(x)
        real, imaginary = self.waves(h, x, quadruples, condition["bonds"])
        ends = picked(h, quadruples[:, :, 1:3])
        even = torch.cat([ends.sum(2), ends.prod(2), torch.log1p(torque.square()), real], 2)
        hidden = functional.silu(self.even(even) + self.told(embedding)[:, None])
        odd = torch.cat([torque * torch.rsqrt(1 + torque.square()), imaginary], 2)
        out: Tensor = (self.coefficients(hidden) * odd).sum(2)
        return out  # zero where a torsion is absent: without an axis there are no torques and waves


class Bonded(nn.Module):
    """h_a + MLP(h_a, sum over the bonded b of W_order h_b): one step along the bonds."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.send = nn.Linear(width, (ORDERS - 1) * width, bias=False)
        self.mix = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, h: Tensor, pairs: Pairs, orders: Tensor) -> Tensor:
        """h [A, width], orders int64 [E] -> [A, width]."""
        y = self.norm(h)
        sent = self.send(y).reshape(len(h) * (ORDERS - 1), -1)
        bonds = orders.nonzero()[:, 0]
        i, j, kind = pairs.i[bonds], pairs.j[bonds], orders[bonds] - 1
        heard = torch.zeros_like(y).index_add(0, i, sent[j * (ORDERS - 1) + kind])
        heard = heard.index_add(0, j, sent[i * (ORDERS - 1) + kind])
        made: Tensor = h + self.mix(torch.cat([y, heard], 1))
        return made


class Distances(nn.Module):
    """Pairs by their distance, as linear Gaussians of it, the bonds between them and the order of their bond."""

    centres: Tensor

    def __init__(self, pairs: int, radial: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(0.5, REACH, radial), persistent=False)
        self.radial = nn.Linear(radial, pairs)
        self.hops, self.orders = nn.Embedding(HOPS + 1, pairs), nn.Embedding(ORDERS, pairs)

    def forward(self, distance: Tensor, orders: Tensor, steps: Tensor) -> Tensor:
        """Distances [E] in angstrom, orders and steps int64 [E] -> [E, pairs]."""
        step = REACH / len(self.centres)
        waves = torch.exp(-0.5 * ((distance[:, None] - self.centres) / step).square())
        made: Tensor = self.radial(waves) + self.hops(steps) + self.orders(orders)
        return made


class Messages(nn.Module):
    """h_a + sum_b of what a pair says, then an MLP: messages between all atoms (Satorras et al. 2021).

    What a pair says, both of it hear: half the work, and atoms know who they are themselves.
    """

    def __init__(self, width: int, pairs: int) -> None:
        super().__init__()
        self.norm, self.last = nn.LayerNorm(width), nn.LayerNorm(width)
        self.atoms, self.pair = nn.Linear(width, pairs), nn.Linear(pairs, pairs, bias=False)
        self.heard, self.told = nn.Linear(pairs, width), nn.Linear(width, width)
        self.mix = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, h: Tensor, pairs: Pairs, pair: Tensor, embedding: Tensor) -> Tensor:
        """h [A, width], pair [E, pairs], embedding [B, width] -> [A, width]."""
        y = self.norm(h + pairs.of_item(self.told(embedding)))
        said = functional.silu(pairs.sum(self.atoms(y)) + self.pair(pair))
        heard = said.new_zeros(len(h), said.shape[1]).index_add(0, pairs.i, said).index_add(0, pairs.j, said)
        h = h + self.heard(heard * 0.2)
        made: Tensor = h + self.mix(self.last(h))
        return made


def packed(value: Tensor) -> Tensor:
    """The lower triangle of a symmetric [B, N, N], row by row: [B, N (N - 1) / 2]."""
    i, j = torch.tril_indices(value.shape[1], value.shape[1], -1, device=value.device)
    return value[:, i, j]


def hops(bonds: Tensor) -> Tensor:
    """The number of bonds on the shortest way between two atoms, int64 [B, N, N], at most `HOPS`."""
    near = (bonds > 0).to(torch.float32)
    reached = torch.eye(bonds.shape[1], device=bonds.device).expand_as(near)
    found = torch.full_like(bonds, HOPS)
    for count in range(HOPS):
        found = torch.where((reached > 0) & (found == HOPS), count, found)
        reached = (reached + reached @ near).clamp(max=1)
    return found

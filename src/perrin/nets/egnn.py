r"""The E(3)-equivariant graph network over all pairs of atoms of a molecule, for positions, atoms, charges and bonds.

With h_i of an atom, e_ij of a pair and f_i the output so far, zero at first, each block does

    y_i  = x_i + s f_i                              where the clean atoms are by now
    m_ij = MLP(e_ij + a(h_i) + a(h_j) + R(|y_i - y_j|))        one message for both directions
    e_ij <- e_ij + m_ij
    f_i  <- f_i + sum_j (y_i - y_j) / (|y_i - y_j| + 1) c(m_ij)     equal and opposite on i and j
    h_i  <- h_i + MLP(h_i, sum_j m_ij v(h_j))

Positions enter through differences and distances alone, so that the output turns, mirrors and permutes with the input
(Satorras et al. 2021, arXiv:2102.09844; for diffusion Hoogeboom et al. 2022, arXiv:2203.17003). Three departures.
Messages are symmetric, as the forces of any energy of the distances are, and so is every score of molecules without a
preferred frame: no net force, no torque. That halves the work (`pairs.py`). A pair has a state of its own: bonds are
read off it. And s = sigma / sqrt(1 + sigma^2), with sigma = exp(4 time + b) the noise that the time tells: the output of a
preconditioned network is of order one whatever the noise, so that positions moved by all of it would leave the molecule
where the noise is small, while y is the guess that the answer stands for, and each block improves on it. After 2,000
steps on QM7 the loss of positions was .582; .623 with positions moved by all of f, and .619 where all blocks see x alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from perrin.errors import PerrinError
from perrin.nets.attention import layer_norm
from perrin.nets.embedding import Condition, Embedding
from perrin.nets.equivariant_block import EquivariantBlock, Radial, Recall, distance
from perrin.nets.pairs import Pairs
from perrin.nets.residual_mlp import zero_linear

State = Mapping[str, Tensor]


class EGNN(nn.Module):
    """An equivariant graph network for molecules of any sizes.

    Args:
        shape: leaf -> shape, such as {"positions": (N, 3), "atoms": (N,)}, and optionally "charges" (N,) and "bonds"
            (N (N - 1) / 2,), the lower triangle row by row; larger and smaller molecules are accepted.
        categories: leaf -> number of logits, of every leaf but the positions.
        states: leaf -> how many values may come in: the categories and whatever else a process makes of them (a mask).
        properties: K of the condition `"vector"` float [B, K]; each entry may be NaN, not given.
        classes: number of classes of the condition `"label"`, or None.
        width: size of an atom's state; pair_width: of a pair's; blocks: their number.
        radial: number of radial functions of a distance, close together where bonds are.
        recall: take its own last answer as a hint, the conditions `"previous.positions"` [B, N, 3] and `"previous.atoms"`
            [B, N, K] (probabilities), items of NaN without one ("self-conditioning", Chen et al. 2022, arXiv:2208.04202).

    A further condition `"observed"`, bool [B, N], tells which atoms are given. An atom of -1 is not there.

    Raises:
        PerrinError: leaves that are no molecule, or options that do not match.
    """

    takes_leaves = True

    def __init__(
        self,
        shape: Mapping[str, Sequence[int]],
        *,
        categories: Mapping[str, int],
        states: Mapping[str, int],
        properties: int = 0,
        classes: int | None = None,
        width: int = 64,
        pair_width: int = 64,
        blocks: int = 4,
        radial: int = 32,
        recall: bool = False,
    ) -> None:
        super().__init__()
        _check(shape, categories, states)
        self.of_atoms = [leaf for leaf in ("atoms", "charges") if leaf in shape]
        self.entries = nn.ModuleDict({leaf: nn.Embedding(states[leaf], width) for leaf in self.of_atoms})
        self.exits = nn.ModuleDict({leaf: zero_linear(width, categories[leaf]) for leaf in self.of_atoms})
        self.observed = nn.Embedding(2, width)
        self.radial = Radial(radial)
        self.distance = nn.Linear(radial, pair_width, bias=False)
        self.bonds = "bonds" in shape
        if self.bonds:
            self.entries["bonds"] = nn.Embedding(states["bonds"], pair_width)
            self.exits["bonds"] = zero_linear(pair_width, categories["bonds"])
        self.takes_previous = recall
        self.recall = Recall(radial, categories["atoms"], width, pair_width) if recall else None
        self.properties = properties
        self.embedding = Embedding(width, classes, 2 * properties)
        self.blocks = nn.ModuleList(EquivariantBlock(width, pair_width, radial) for _ in range(blocks))
        self.noise = nn.Parameter(torch.zeros(()))
        self.norm, self.pair_norm = layer_norm(width), layer_norm(pair_width) if self.bonds else None

    def forward(self, x: State, time: Tensor, condition: Condition | None = None) -> dict[str, Tensor]:
        """One answer for every leaf.

        Args:
            x: positions [B, N, 3] of order one; atoms, charges int64 [B, N], bonds int64 [B, N (N - 1) / 2].
            time: [B], log(sigma / alpha) / 4; condition: see the class, and `"vector"`, `"label"`.

        Returns:
            positions [B, N, 3], zero where no atom is and adding up to zero over a molecule; logits [B, ...,
            categories] of the other leaves, zero where nothing is.
        """
        condition = condition or {}
        pairs = Pairs(x["atoms"] >= 0)
        position = pairs.atoms(x["positions"])
        observed = condition.get("observed", torch.zeros_like(pairs.present))
        h = self.observed(pairs.atoms(observed).long())
        for leaf in self.of_atoms:
            h = h + self.entries[leaf](pairs.atoms(x[leaf]).clamp(min=0))
        e = self.distance(self.radial(distance(pairs.difference(position))))
        if self.bonds:
            e = e + self.entries["bonds"](pairs.pairs(x["bonds"]).clamp(min=0))
        if self.recall is not None:
            h, e = self.recall(h, e, pairs, self.radial, condition)
        embedding = self.embedding(time, self._told(condition, x["positions"]))
        share = pairs.of_item(self._share(time).to(position.dtype))
        answer = torch.zeros_like(position)
        for block in self.blocks:
            h, e, force = block(h, e, position + share * answer, embedding, self.radial, pairs)
            answer = answer + force
        h = self.norm(h)
        found = {leaf: pairs.padded(self.exits[leaf](h)) for leaf in self.of_atoms}
        if self.pair_norm is not None:
            found["bonds"] = pairs.padded_pairs(self.exits["bonds"](self.pair_norm(e)))
        return {"positions": pairs.padded(answer), **found}

    def _share(self, time: Tensor) -> Tensor:
        """s [B, 1] of the equations."""
        ratio = torch.exp(4 * time + self.noise)[:, None]
        return ratio / torch.sqrt(1 + ratio**2)

    def _told(self, condition: Condition, like: Tensor) -> Condition:
        """The global conditions, of the properties those that are given beside a 1, the others as two zeros."""
        if not self.properties:
            return condition
        absent = like.new_full((len(like), self.properties), torch.nan)
        vector = condition.get("vector", absent).to(like.dtype)
        given = ~vector.isnan()
        told = torch.cat([torch.where(given, vector, 0.0), given.to(like.dtype)], 1)
        return {**condition, "vector": told}


def _check(
    shape: Mapping[str, Sequence[int]], categories: Mapping[str, int], states: Mapping[str, int]
) -> None:
    known = {"positions", "atoms", "charges", "bonds"}
    if not {"positions", "atoms"} <= set(shape) <= known:
        raise PerrinError(
            f"egnn: leaves {', '.join(sorted(shape)) or 'of no name'} are no molecule; positions and atoms are needed, "
            "charges and bonds may be there"
        )
    for leaf in sorted(set(shape) - {"positions"}):
        if leaf not in categories or leaf not in states or not 1 <= categories[leaf] <= states[leaf]:
            raise PerrinError(
                f"egnn: {leaf} needs its number of categories, and of states at least that; given are categories "
                f"{dict(categories)} and states {dict(states)}"
            )

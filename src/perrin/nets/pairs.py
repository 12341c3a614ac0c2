"""Molecules of different sizes as one list of atoms and one of pairs: nothing is computed for what is not there.

Of a batch [B, N] only the atoms that exist are kept, one after another, and every pair i > j of atoms of a molecule
once. A quantity of a pair that does not depend on its order (a distance, a bond, a force up to its sign) is then
computed once, which is half the work of a list of edges and, on molecules of 15 atoms padded to 23, a fifth of that of
a dense [N, N].
"""

from __future__ import annotations

import torch
from torch import Tensor


class Pairs:
    """Where the atoms of a batch stand in the packed lists.

    Args:
        present: bool [B, N], the atoms that exist.

    Attributes:
        present: as given.
        item: int64 [A], the molecule of an atom.
        i, j: int64 [E], the two atoms of a pair, as places in the list of A atoms.
    """

    def __init__(self, present: Tensor) -> None:
        self.present = present
        count = present.shape[1]
        self._atoms = present.flatten().nonzero()[:, 0]
        self.item = self._atoms.div(max(count, 1), rounding_mode="floor")
        place = present.flatten().cumsum(0) - 1
        i, j = torch.tril_indices(count, count, -1, device=present.device)
        molecule, pair = (present[:, i] & present[:, j]).nonzero(as_tuple=True)
        self._size, self._pairs = len(i), molecule * len(i) + pair
        self.i, self.j = place[molecule * count + i[pair]], place[molecule * count + j[pair]]

    def atoms(self, value: Tensor) -> Tensor:
        """[B, N, ...] -> [A, ...]."""
        return value.flatten(0, 1).index_select(0, self._atoms)

    def pairs(self, value: Tensor) -> Tensor:
        """[B, N (N - 1) / 2, ...], the lower triangle row by row, -> [E, ...]."""
        return value.flatten(0, 1).index_select(0, self._pairs)

    def padded(self, value: Tensor) -> Tensor:
        """[A, ...] -> [B, N, ...], zero where there is no atom."""
        empty = value.new_zeros(self.present.numel(), *value.shape[1:])
        return empty.index_copy(0, self._atoms, value).reshape(*self.present.shape, *value.shape[1:])

    def padded_pairs(self, value: Tensor) -> Tensor:
        """[E, ...] -> [B, N (N - 1) / 2, ...], zero where there is no pair."""
        count = len(self.present)
        empty = value.new_zeros(count * self._size, *value.shape[1:])
        return empty.index_copy(0, self._pairs, value).reshape(count, self._size, *value.shape[1:])

    def of_item(self, value: Tensor) -> Tensor:
        """What is told to a molecule, [B, ...], told to each of its atoms, [A, ...]."""
        return value.index_select(0, self.item)

    def difference(self, value: Tensor) -> Tensor:
        """[A, ...] -> value_i - value_j [E, ...]."""
        return value.index_select(0, self.i) - value.index_select(0, self.j)

    def sum(self, value: Tensor) -> Tensor:
        """[A, ...] -> value_i + value_j [E, ...]."""
        return value.index_select(0, self.i) + value.index_select(0, self.j)

    def gathered(self, message: Tensor, value: Tensor) -> Tensor:
        """sum_j message_ij value_j: [E, K], [A, K] -> [A, K]."""
        to_i, to_j = message * value.index_select(0, self.j), message * value.index_select(0, self.i)
        return torch.zeros_like(value).index_add(0, self.i, to_i).index_add(0, self.j, to_j)

    def total(self, force: Tensor) -> Tensor:
        """sum_j force_ij, where force_ji = -force_ij: [E, K] -> [A, K]."""
        empty = force.new_zeros(len(self.item), force.shape[1])
        return empty.index_add(0, self.i, force).index_add(0, self.j, force, alpha=-1)

"""Graphs and reference positions of many molecules as tensors of one size: what a torsional network is told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from perrin.kinds.conformers.graph import FEATURES, Graph

NAMES = ("atoms", "features", "bonds", "positions", "quadruples", "moves")


def padded(
    graphs: Sequence[Graph], positions: Sequence[np.ndarray], atoms: int, torsions: int
) -> dict[str, Tensor]:
    """The condition of `nets.torsion.TorsionNet` for molecules of at most N = `atoms` atoms and M = `torsions`.

    Args:
        positions: of each molecule [n, 3] in angstrom.
    """
    count = len(graphs)
    made: dict[str, np.ndarray] = {
        "atoms": np.zeros((count, atoms), np.int64),
        "features": np.zeros((count, atoms, len(FEATURES)), np.float32),
        "bonds": np.zeros((count, atoms, atoms), np.int64),
        "positions": np.zeros((count, atoms, 3), np.float32),
        "quadruples": np.full((count, torsions, 4), -1, np.int64),
        "moves": np.zeros((count, torsions, atoms), bool),
    }
    for row, (graph, places) in enumerate(zip(graphs, positions, strict=True)):
        n, m = len(graph.numbers), len(graph.quadruples)
        made["atoms"][row, :n] = graph.numbers
        made["features"][row, :n] = graph.features
        made["bonds"][row, :n, :n] = graph.bonds
        made["positions"][row, :n] = places - places.mean(0)
        made["quadruples"][row, :m] = graph.quadruples
        made["moves"][row, :m, :n] = graph.moves
    return {name: torch.from_numpy(value) for name, value in made.items()}

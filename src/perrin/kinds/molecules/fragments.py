"""Connected pieces of molecules for a model to grow from: frameworks, ring systems and random pieces.

A model that is to complete a scaffold is trained on molecules of which such a piece is given. Pieces are of heavy
atoms alone: hydrogens of a piece would say where nothing may be attached. The framework is what is left when chains
are taken off (Bemis and Murcko 1996, doi:10.1021/jm9602928).
"""

from __future__ import annotations

import numpy as np


def random_piece(bonded: np.ndarray, heavy: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A piece of a molecule, bool [n]: its framework, one of its ring systems, or a connected set, equally likely.

    Args:
        bonded: bool [n, n]; heavy: bool [n], the atoms to choose from.
    """
    graph = bonded & heavy[:, None] & heavy
    choices = pieces(graph)
    at = int(generator.integers(len(choices) + 1))
    return choices[at] if at < len(choices) else _connected(graph, heavy, generator)


def pieces(graph: np.ndarray) -> list[np.ndarray]:
    """The framework, and the ring systems where they are others than that; nothing of a molecule without rings."""
    framework = _pruned(graph)
    if not framework.any():
        return []
    ringed = _without_bridges(graph & framework[:, None] & framework)
    systems = [part for part in _components(ringed) if part.sum() > 1]
    return [framework, *(part for part in systems if not np.array_equal(part, framework))]


def _pruned(graph: np.ndarray) -> np.ndarray:
    """Atoms that are left when those with one neighbour are taken off again and again."""
    kept = np.ones(len(graph), bool)
    while True:
        fewer = kept & ((graph & kept[:, None] & kept).sum(1) > 1)
        if np.array_equal(fewer, kept):
            return kept
        kept = fewer


def _without_bridges(graph: np.ndarray) -> np.ndarray:
    """The graph without the bonds that are in no ring: those whose ends part when they are cut."""
    found = graph.copy()
    for i, j in np.argwhere(np.triu(graph)):
        cut = graph.copy()
        cut[i, j] = cut[j, i] = False
        if not _reached(cut, int(i))[j]:
            found[i, j] = found[j, i] = False
    return found


def _reached(graph: np.ndarray, start: int) -> np.ndarray:
    reached = np.zeros(len(graph), bool)
    edge = reached.copy()
    edge[start] = True
    while edge.any():
        reached |= edge
        edge = graph[edge].any(0) & ~reached
    return reached


def _components(graph: np.ndarray) -> list[np.ndarray]:
    left, found = graph.any(1), []
    while left.any():
        part = _reached(graph, int(left.argmax()))
        found.append(part)
        left &= ~part
    return found


def _connected(graph: np.ndarray, heavy: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Grown from a random atom by random neighbours, to a random size below the whole."""
    atoms = np.flatnonzero(heavy)
    piece = np.zeros(len(heavy), bool)
    if not len(atoms):
        return piece
    piece[generator.choice(atoms)] = True
    for _ in range(int(generator.integers(max(1, len(atoms) - 1)))):
        around = np.flatnonzero(graph[piece].any(0) & ~piece)
        if not len(around):
            break
        piece[generator.choice(around)] = True
    return piece

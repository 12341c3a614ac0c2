r"""Molecules by their torsions: dihedral angles of quadruples of atoms, and positions with those angles set.

The dihedral angle of i-j-k-l, with u the direction of the bond j-k, is that from i to l around u,

    tau = atan2(u . (n1 x n2), n1 . n2),   n1 = (j - i) x u,   n2 = u x (l - k)

in (-pi, pi], positive clockwise as one looks from j to k (IUPAC). Setting it turns the atoms on the side of l as one
body about the bond: lengths, angles and the other torsions stay, so that the order of the bonds does not matter.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SMALL = 1e-6


def dihedrals(positions: Tensor, quadruples: Tensor) -> Tensor:
    """The dihedral angles of quadruples of atoms.

    Args:
        positions: [B, N, 3]; quadruples: int64 [B, M, 4], of an absent torsion -1.

    Returns:
        [B, M] radians, 0 for an absent one.
    """
    i, j, k, end = picked(positions, quadruples).unbind(2)
    u = unit(k - j)
    first, second = torch.linalg.cross(j - i, u), torch.linalg.cross(u, end - k)
    across = (u * torch.linalg.cross(first, second)).sum(2)
    present = quadruples[:, :, 0] >= 0
    along = torch.where(present, (first * second).sum(2), 1.0)
    return torch.where(present, torch.atan2(across, along), 0.0)


def turned(positions: Tensor, torsions: Tensor, quadruples: Tensor, moves: Tensor) -> Tensor:
    """The positions at which the dihedral angles are `torsions`; the first atoms of quadruples give the frame.

    Args:
        positions: [B, N, 3] of a reference; torsions: [B, M] radians; quadruples: int64 [B, M, 4].
        moves: bool [B, M, N], the atoms on the side of a quadruple's last.

    Returns:
        [B, N, 3], of the dtype of `positions`.
    """
    turns = torsions.to(positions.dtype) - dihedrals(positions, quadruples)
    turns = turns * (quadruples[:, :, 0] >= 0)
    for m in range(quadruples.shape[1]):
        j, k = picked(positions, quadruples[:, m : m + 1, 1:3]).unbind(2)
        turn = turned_about(positions - k, unit(k - j), turns[:, m, None, None])
        positions = torch.where(moves[:, m, :, None], turn + k, positions)
    return positions


def turned_about(x: Tensor, u: Tensor, angle: Tensor) -> Tensor:
    """Rodrigues' rotation of x [..., 3] about the unit vectors u by angles [..., 1]."""
    cos, sin = angle.cos(), angle.sin()
    made: Tensor = (
        x * cos
        + torch.linalg.cross(u.expand_as(x), x) * sin
        + u * ((u * x).sum(-1, keepdim=True) * (1 - cos))
    )
    return made


def picked(positions: Tensor, atoms: Tensor) -> Tensor:
    """Positions [B, N, 3] of atoms int64 [B, M, K] as [B, M, K, 3]; of -1 those of atom 0."""
    batch, count, size = atoms.shape
    index = atoms.clamp(min=0).reshape(batch, count * size, 1).expand(-1, -1, positions.shape[2])
    return positions.gather(1, index).reshape(batch, count, size, positions.shape[2])


def unit(v: Tensor) -> Tensor:
    """v [..., 3] at length one; a zero stays one, differentiably."""
    return v / (v.square().sum(-1, keepdim=True) + _SMALL**2).sqrt()

r"""What turns its sign in a mirror: torques of forces along distances, and waves of the dihedral angles around a bond."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from perrin.nets.pairs import Pairs
from perrin.nets.turning import picked, unit

_SMALL = 1e-4  # angstrom^2: an atom on the axis has no angle around it


class Forces(nn.Module):
    """Forces along the lines between atoms, symmetric in each pair, and their torques about bonds.

    Args:
        width: of atoms; pairs: of pairs; channels: how many forces each pair has.
    """

    def __init__(self, width: int, pairs: int, channels: int) -> None:
        super().__init__()
        self.atoms, self.pairs = nn.Linear(width, pairs), nn.Linear(pairs, pairs, bias=False)
        self.sizes = nn.Linear(pairs, channels)

    def forward(
        self,
        h: Tensor,
        pairs: Pairs,
        pair: Tensor,
        x: Tensor,
        line: Tensor,
        quadruples: Tensor,
        moves: Tensor,
    ) -> Tensor:
        """h [A, width], pair [E, pairs], x [A, 3], line [E, 3] along the pairs -> torques [B, M, channels]."""
        size = self.sizes(functional.silu(pairs.sum(self.atoms(h)) + self.pairs(pair)))
        pull = (size[:, :, None] * line[:, None]).flatten(1)
        force = pairs.total(pull).reshape(len(h), -1, 3)
        arm = torch.linalg.cross(x[:, None].expand_as(force), force)
        # each atom's force acts at its own distance from the bond's axis
        turning = torch.einsum("bmn,bncd->bmcd", moves.to(x.dtype), pairs.padded(torch.cat([force, arm], 2)))
        force, arm = turning[..., :3], turning[..., 3:]
        j, k = picked(pairs.padded(x), quadruples[:, :, 1:3]).unbind(2)
        torque = arm - torch.linalg.cross(j[:, :, None].expand_as(force), force)
        made: Tensor = (torque * unit(k - j)[:, :, None]).sum(3)
        return made


class Waves(nn.Module):
    """Products of what stands at the two ends of a bond, as waves of the dihedral angles between them."""

    frequencies = (1, 2, 3)

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.weights = nn.Linear(width, channels * len(self.frequencies))

    def forward(self, h: Tensor, x: Tensor, quadruples: Tensor, bonds: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary parts [B, M, 3 channels]: even and odd in a mirror."""
        i, j, k, _ = picked(x, quadruples).unbind(2)
        u = unit(k - j)
        across = unit((i - j) - u * ((i - j) * u).sum(2, keepdim=True))
        up = torch.linalg.cross(u, across)
        arms = x[:, None] - j[:, :, None]
        angle = torch.stack([(arms * across[:, :, None]).sum(3), (arms * up[:, :, None]).sum(3)], 3)
        angle = angle * torch.rsqrt(angle.square().sum(3, keepdim=True) + _SMALL)
        one = torch.view_as_complex(angle.contiguous())
        at_j, at_k = _neighbours(bonds, quadruples, 1, 2), _neighbours(bonds, quadruples, 2, 1)
        weights = self.weights(h).chunk(len(self.frequencies), 2)
        parts = []
        for n, c in zip(self.frequencies, weights, strict=True):
            wave = torch.view_as_real(one**n)
            here = torch.view_as_complex(
                torch.einsum("bmnr,bnc->bmcr", wave * at_j[..., None], c).contiguous()
            )
            there = torch.view_as_complex(
                torch.einsum("bmnr,bnc->bmcr", wave * at_k[..., None], c).contiguous()
            )
            parts.append(there * here.conj())
        made = torch.cat(parts, 2)
        return made.real, made.imag


def _neighbours(bonds: Tensor, quadruples: Tensor, at: int, but: int) -> Tensor:
    """Which atoms are bonded to atom `at` of a quadruple and are not atom `but`: [B, M, N] of 0 and 1."""
    place = quadruples.clamp(min=0)
    index = place[:, :, at, None].expand(-1, -1, bonds.shape[2])
    near = bonds.gather(1, index) > 0
    other = functional.one_hot(place[:, :, but], bonds.shape[2]).bool()
    return (near & ~other).to(torch.float32)

r"""Noise as a function of its name: (key, leaf, stream, interval, visit), never of call order or batch size.

A 64-bit hash of the name seeds a counter; SplitMix64's finaliser (Steele, Lea and Flood 2014) turns the
counter into bits, and the Box-Muller transform bits into normals. It is plain integer arithmetic on tensors:
the same numbers on every device (up to the last bit of log and cos), for a batch at once, without generator
objects.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Key: TypeAlias = int | tuple[int, int]
"""What identifies a sample: a seed, or (seed, index)."""

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


def seed_of(key: Key, leaf: str = "", stream: str = "path", *numbers: float) -> int:
    """A signed 64-bit seed for one draw; `numbers` are the interval's ends and the visit, or any others.

    Numbers are rounded to 1e-6: a level that another machine computes with another last bit names the same noise.
    """
    parts = key if isinstance(key, tuple) else (key,)
    text = f"{':'.join(str(int(p)) for p in parts)}|{leaf}|{stream}|".encode()
    # + 0.0 gives -0.0 and 0.0 one name
    packed = struct.pack(f"<{len(numbers)}d", *(round(float(n), 6) + 0.0 for n in numbers))
    return int.from_bytes(hashlib.blake2b(text + packed, digest_size=8).digest(), "little", signed=True)


def bits(seeds: Tensor, count: int) -> Tensor:
    """int64 [B, count] of random bits, a function of each seed (int64 [B]) alone."""
    counter = torch.arange(1, count + 1, dtype=torch.int64, device=seeds.device) * _GOLDEN
    z = seeds[:, None] + counter
    # the masks make the arithmetic shift of signed integers a logical one
    z = (z ^ ((z >> 30) & (2**34 - 1))) * _MIX_1
    z = (z ^ ((z >> 27) & (2**37 - 1))) * _MIX_2
    return z ^ ((z >> 31) & (2**33 - 1))


def uniforms(seeds: Tensor, count: int) -> Tensor:
    """float64 [B, count], uniform in the open interval (0, 1)."""
    return ((bits(seeds, count) >> 11) & (2**53 - 1)).to(torch.float64).add_(0.5).mul_(2.0**-53)


def normals(seeds: Tensor, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normals [B, *shape], a function of each seed (int64 [B]) alone.

    The i-th number is a function of (seed, i): a longer first axis leaves the numbers before it as they are, so that
    padding changes nothing.
    """
    count = math.prod(shape)
    u = uniforms(seeds, count + count % 2).reshape(len(seeds), -1, 2)
    radius, angle = torch.sqrt(-2 * torch.log(u[..., 0])), 2 * math.pi * u[..., 1]
    z = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], -1).flatten(1)[:, :count]
    return z.reshape(len(seeds), *shape).to(dtype)


def seed_tensor(seeds: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Signed 64-bit seeds as the tensor that `bits`, `uniforms` and `normals` take."""
    return torch.tensor(seeds, dtype=torch.int64, device=device)

"""One process or many: what `torchrun` tells us, and the engine it starts (gloo on CPUs, nccl on GPUs)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from perrin.errors import PerrinError


@dataclass(frozen=True)
class Group:
    """This process among the others."""

    rank: int = 0
    world: int = 1
    device: str = "cpu"

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """The mean over processes."""
        if self.world > 1:
            dist.all_reduce(value)
            value = value / self.world
        return value

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.world == 1:
            return flag
        value = torch.tensor([float(flag)], device=self.device)
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return bool(value.item())

    def wait(self) -> None:
        """Until every process has come here."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def group(device: str, batch: int) -> Iterator[Group]:
    """The group of this process; joins the others where torchrun started it.

    Raises:
        PerrinError: a global batch that cannot be shared equally.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Group(device=device)
        return
    if batch % world:
        raise PerrinError(
            f"batch = {batch} cannot be shared equally by {world} processes; choose a multiple of {world}"
        )
    if device.startswith("cuda"):
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Group(dist.get_rank(), world, device)
    finally:
        dist.destroy_process_group()

"""FSDP2 beside DDP: every process keeps its share of weights, gradients, moments and averages (Zhao et al. 2023).

A network's blocks (the members of its module lists) are gathered one at a time when they are needed. What is sharded
is a DTensor; files hold whole tensors, so that a run may be resumed by any number of processes, sharded or not.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def shard(net: nn.Module, device: str) -> None:
    """Share the parameters of a network, the same in every process, among the processes; in place."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    # networks end in a view, which its users here never write into
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(torch.device(device).type, (dist.get_world_size(),))
    blocks = [m for part in net.modules() if isinstance(part, nn.ModuleList) for m in part]
    for block in reversed(blocks):  # the inner before the outer
        if any(True for _ in block.parameters()):
            fully_shard(block, mesh=mesh)
    fully_shard(net, mesh=mesh)


def whole(tree: Any) -> Any:
    """Dictionaries and lists with the whole tensors of what is sharded. All processes must call it together."""
    if isinstance(tree, dict):
        return {key: whole(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [whole(value) for value in tree]
    return tree.full_tensor() if _is_sharded(tree) else tree


def placed(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, the same in every process, shared out as `like` is; itself where `like` is whole."""
    if not _is_sharded(like) or value.shape != like.shape:
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def _is_sharded(value: Any) -> bool:
    if not (dist.is_available() and dist.is_initialized()):  # the import below takes a second
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(value, DTensor)
